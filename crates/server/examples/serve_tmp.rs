fn main() {
    let mut config = weald_server::Config::default();
    let mut args = std::env::args().skip(1);
    while let (Some(name), Some(value)) = (args.next(), args.next()) {
        config
            .set(name.trim_start_matches("--"), &value)
            .expect("setting");
    }
    let server = weald_server::Server::bind(config).expect("bind");
    println!("{:?}", server.places());
    server.run().expect("run");
}
