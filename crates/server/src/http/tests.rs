//! HTTP before and after there are data, and once there are none any more.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::channel;

use mio::{Poll, Waker};

use crate::config::Config;
use crate::handle::Handle;
use crate::http::Http;

fn status(address: SocketAddr, target: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("it accepts");
    let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("it is sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it is answered");
    let body = answer.split("\r\n\r\n").nth(1).unwrap_or_default();
    format!("{} {}", &answer[9..12], body.trim_end())
}

#[test]
fn while_the_data_are_opened_only_the_process_is_healthy() {
    let mut config = Config::default();
    config.set("http", "yes").expect("a word");
    config.set("http-port", "0").expect("a port");
    let poll = Poll::new().expect("sockets can be watched");
    let waker = Waker::new(poll.registry(), crate::net::WAKER).expect("sockets can be watched");
    let (sender, messages) = channel();
    let handle = Handle::new(sender, Arc::new(waker), Arc::default());
    let http = Http::bind(&config, None)
        .expect("it may listen")
        .expect("it is asked for")
        .ok()
        .expect("the port is free");
    let serving = http.serve(handle.clone()).expect("it serves");
    let address = serving.address();
    assert_eq!(status(address, "/healthz"), "200 ok");
    assert_eq!(status(address, "/readyz"), "503 the data are being opened");
    for target in ["/metrics", "/api/v1/keys"] {
        assert!(status(address, target).starts_with("503 "), "{target}");
    }
    // With data that nobody serves any more.
    handle.serves();
    drop(messages);
    assert_eq!(status(address, "/readyz"), "503 the server has ended");
    assert_eq!(status(address, "/healthz"), "200 ok");
}
