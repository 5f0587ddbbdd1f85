//! Clients that encrypt: with and without certificates, in one piece and in many, and those that speak something else.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use weald_server::{Config, Frame, Server};

use crate::client::{Served, show};

type Encrypted = StreamOwned<ClientConnection, TcpStream>;

fn file(name: &str) -> String {
    format!("{}/tests/tls/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// A port that was free a moment ago.
fn free_port() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port().to_string()
}

/// A server for clients that encrypt, and where it is.
fn served(settings: &[(&str, &str)]) -> (Served, SocketAddr) {
    let port = free_port();
    let (cert, key, ca) = (file("server.pem"), file("server.key"), file("ca.pem"));
    let mut all = vec![
        ("tls-port", port.as_str()),
        ("tls-cert-file", &cert),
        ("tls-key-file", &key),
        ("tls-ca-cert-file", &ca),
        ("port", "0"),
        ("bind", "127.0.0.1"),
    ];
    all.extend(settings);
    let served = Served::with(&all);
    (served, format!("127.0.0.1:{port}").parse().expect("an address"))
}

fn connect(address: SocketAddr, with_certificate: bool) -> Encrypted {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(file("ca.pem")).expect("a certificate"))
        .expect("it can be believed");
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots);
    let config = if with_certificate {
        let chain = vec![CertificateDer::from_pem_file(file("client.pem")).expect("a certificate")];
        let key = PrivateKeyDer::from_pem_file(file("client.key")).expect("a key");
        builder
            .with_client_auth_cert(chain, key)
            .expect("they belong together")
    } else {
        builder.with_no_client_auth()
    };
    let name = ServerName::try_from("localhost").expect("a name");
    let connection = ClientConnection::new(Arc::new(config), name).expect("a client");
    let stream = TcpStream::connect(address).expect("it accepts");
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .expect("a timeout");
    StreamOwned::new(connection, stream)
}

/// The next frame; `None` at the end, however it comes.
fn next(stream: &mut Encrypted, input: &mut Vec<u8>) -> Option<Frame> {
    loop {
        if let Some((frame, len)) = Frame::read(input).expect("frames") {
            input.drain(..len);
            return Some(frame);
        }
        let mut buffer = [0; 16 << 10];
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return None,
            Ok(n) => input.extend_from_slice(&buffer[..n]),
        }
    }
}

#[test]
fn commands_and_replies_of_every_size_go_through() {
    let (served, address) = served(&[("tls-auth-clients", "no")]);
    let (mut stream, mut input) = (connect(address, false), Vec::new());
    for len in [0, 1, 100, 16 << 10, 70_000, 3 << 20] {
        let value = vec![b'v'; len];
        let head = format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${len}\r\n");
        let request = [head.as_bytes(), &value, b"\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\n"].concat();
        stream.write_all(&request).expect("it is taken");
        assert_eq!(
            next(&mut stream, &mut input).as_ref().map(show).as_deref(),
            Some("+OK")
        );
        assert_eq!(next(&mut stream, &mut input), Some(Frame::Bulk(value)), "{len}");
    }
    // Many requests at once, and a goodbye after the last.
    stream
        .write_all(&b"PING\r\n".repeat(10_000))
        .expect("they are taken");
    for i in 0..10_000 {
        assert_eq!(
            next(&mut stream, &mut input).as_ref().map(show).as_deref(),
            Some("+PONG"),
            "{i}"
        );
    }
    stream.write_all(b"QUIT\r\n").expect("it is taken");
    assert_eq!(
        next(&mut stream, &mut input).as_ref().map(show).as_deref(),
        Some("+OK")
    );
    assert_eq!(next(&mut stream, &mut input), None);
    drop(served);
}

#[test]
fn a_reply_that_is_read_late_comes_whole() {
    let (_served, address) = served(&[("tls-auth-clients", "no")]);
    let (mut stream, mut input) = (connect(address, false), Vec::new());
    let value = vec![b'v'; 8 << 20];
    let head = format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${}\r\n", value.len());
    stream
        .write_all(&[head.as_bytes(), &value, b"\r\nGET k\r\nPING\r\n"].concat())
        .expect("it is taken");
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(
        next(&mut stream, &mut input).as_ref().map(show).as_deref(),
        Some("+OK")
    );
    assert_eq!(next(&mut stream, &mut input), Some(Frame::Bulk(value)));
    assert_eq!(
        next(&mut stream, &mut input).as_ref().map(show).as_deref(),
        Some("+PONG")
    );
}

#[test]
fn a_certificate_is_asked_for_as_the_settings_say() {
    // (the setting, whether a client with one and a client without are served)
    for (mode, with, without) in [("yes", true, false), ("optional", true, true), ("no", true, true)] {
        let (_served, address) = served(&[("tls-auth-clients", mode)]);
        for (has_one, expected) in [(true, with), (false, without)] {
            let (mut stream, mut input) = (connect(address, has_one), Vec::new());
            let asked = stream.write_all(b"PING\r\n");
            let answered = asked.is_ok() && next(&mut stream, &mut input).is_some();
            assert_eq!(answered, expected, "{mode}, with a certificate: {has_one}");
        }
    }
}

#[test]
fn who_speaks_something_else_or_nothing_is_dismissed_and_harms_nobody() {
    let (_served, address) = served(&[("tls-auth-clients", "no"), ("auth-timeout", "1"), ("hz", "50")]);
    let mut plain = TcpStream::connect(address).expect("it accepts");
    plain.write_all(b"PING\r\nPING\r\n").expect("it is sent");
    let mut rest = Vec::new();
    // An alert may come; what comes is no reply.
    let _ = plain.read_to_end(&mut rest);
    assert!(!rest.starts_with(b"+"), "{rest:?}");
    let mut silent = TcpStream::connect(address).expect("it accepts");
    silent
        .set_read_timeout(Some(Duration::from_secs(20)))
        .expect("a timeout");
    let begin = Instant::now();
    silent.read_to_end(&mut Vec::new()).expect("it is dismissed");
    assert!(begin.elapsed() < Duration::from_secs(20));
    let (mut stream, mut input) = (connect(address, false), Vec::new());
    stream.write_all(b"PING\r\n").expect("it is taken");
    assert!(next(&mut stream, &mut input).is_some());
}

#[test]
fn http_is_encrypted_as_well_where_it_is_asked_for() {
    let (served, _) = served(&[
        ("tls-auth-clients", "no"),
        ("http", "yes"),
        ("http-port", "0"),
        ("http-tls", "yes"),
    ]);
    let address = served.http.expect("HTTP is served");
    let mut stream = connect(address, false);
    stream
        .write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .expect("it is taken");
    let mut answer = String::new();
    stream
        .read_to_string(&mut answer)
        .expect("it ends with a goodbye");
    assert!(
        answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("ready\n"),
        "{answer}"
    );
}

#[test]
fn what_is_missing_or_wrong_is_said_at_the_start() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().to_str().expect("letters");
    let (cert, key, ca) = (file("server.pem"), file("server.key"), file("ca.pem"));
    let other_key = file("client.key");
    // (settings, a part of what is said)
    for (settings, said) in [
        (vec![], "TLS needs tls-cert-file"),
        (vec![("tls-cert-file", cert.as_str())], "TLS needs tls-key-file"),
        (
            vec![("tls-cert-file", &cert), ("tls-key-file", &key)],
            "TLS needs tls-ca-cert-file",
        ),
        (
            vec![("tls-cert-file", "/nowhere"), ("tls-key-file", &key)],
            "/nowhere",
        ),
        (
            vec![
                ("tls-cert-file", &key),
                ("tls-key-file", &key),
                ("tls-auth-clients", "no"),
            ],
            "there is no certificate in it",
        ),
        (
            vec![
                ("tls-cert-file", &cert),
                ("tls-key-file", &other_key),
                ("tls-ca-cert-file", &ca),
            ],
            "server.pem: ",
        ),
    ] {
        let mut config = Config::default();
        let port = free_port();
        for (name, value) in [("dir", path), ("port", "0"), ("http", "no"), ("tls-port", &port)] {
            config.set(name, value).expect("a setting");
        }
        for (name, value) in settings {
            config.set(name, value).expect("a setting");
        }
        let refused = Server::bind(config).err().expect("it is refused").to_string();
        assert!(refused.contains(said), "{said}: {refused}");
    }
}

#[test]
fn a_public_address_needs_a_password_and_encryption() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().to_str().expect("letters");
    let (cert, key) = (file("server.pem"), file("server.key"));
    let tls_port = free_port();
    let plain_port = free_port();
    // (port, port with TLS, password, what is missing)
    for (port, tls, password, missing) in [
        ("0", tls_port.as_str(), "secret", None),
        ("0", &tls_port, "", Some("has no password")),
        (&plain_port, "0", "secret", Some("is not encrypted")),
        (&plain_port, &tls_port, "secret", Some("is not encrypted")),
        (&plain_port, "0", "", Some("has no password and is not encrypted")),
    ] {
        let mut config = Config::default();
        for (name, value) in [
            ("dir", path),
            ("bind", "0.0.0.0"),
            ("http", "no"),
            ("port", port),
            ("tls-port", tls),
            ("tls-cert-file", &cert),
            ("tls-key-file", &key),
            ("tls-auth-clients", "no"),
            ("requirepass", password),
        ] {
            config.set(name, value).expect("a setting");
        }
        let refused = Server::bind(config).err().map(|e| e.to_string());
        match missing {
            None => assert_eq!(refused, None),
            Some(missing) => {
                let refused = refused.expect("it is refused");
                assert!(
                    refused.contains(&format!("the connection {missing}: ")),
                    "{refused}"
                );
            }
        }
    }
}

/// The certificate that a server shows.
fn certificate_at(address: SocketAddr) -> Vec<u8> {
    let mut stream = connect(address, false);
    let Encrypted { conn, sock } = &mut stream;
    while conn.is_handshaking() {
        conn.complete_io(sock).expect("they agree");
    }
    conn.peer_certificates().expect("it shows one")[0].to_vec()
}

fn certificate_in(name: &str) -> Vec<u8> {
    CertificateDer::from_pem_file(file(name))
        .expect("a certificate")
        .to_vec()
}

/// Waits until a server shows a certificate, as it reads them when it comes to it.
fn comes_to_show(address: SocketAddr, name: &str) {
    let begin = Instant::now();
    while certificate_at(address) != certificate_in(name) {
        assert!(begin.elapsed() < Duration::from_secs(20), "{name}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn certificates_are_read_again_and_nobody_is_disconnected() {
    let dir = tempfile::tempdir().expect("a directory");
    let place = |name: &str| dir.path().join(name).to_str().expect("letters").to_owned();
    let (cert, key) = (place("cert"), place("key"));
    let put = |from: &str| {
        std::fs::copy(file(&format!("{from}.pem")), &cert).expect("it is copied");
        std::fs::copy(file(&format!("{from}.key")), &key).expect("it is copied");
    };
    put("server");
    let settings = [
        ("tls-auth-clients", "no"),
        ("tls-cert-file", cert.as_str()),
        ("tls-key-file", key.as_str()),
        ("http", "yes"),
        ("http-port", "0"),
        ("http-bind", "127.0.0.1"),
        ("http-tls", "yes"),
    ];
    let (served, address) = served(&settings);
    let http = served.http.expect("it serves HTTP");
    let (mut early, mut input) = (connect(address, false), Vec::new());
    let mut ping = || {
        early.write_all(b"PING\r\n").expect("it is taken");
        next(&mut early, &mut input).as_ref().map(show)
    };
    assert_eq!(ping().as_deref(), Some("+PONG"));
    put("client");
    assert_eq!(
        certificate_at(address),
        certificate_in("server.pem"),
        "nobody has said that there is another"
    );
    served.handle.renew_certificates();
    comes_to_show(address, "client.pem");
    assert_eq!(certificate_at(http), certificate_in("client.pem"));
    assert_eq!(ping().as_deref(), Some("+PONG"));
    // One that can't be used changes nothing.
    std::fs::write(&cert, "no certificate").expect("it is written");
    served.handle.renew_certificates();
    assert_eq!(ping().as_deref(), Some("+PONG"));
    assert_eq!(certificate_at(address), certificate_in("client.pem"));
    put("server");
    served.handle.renew_certificates();
    comes_to_show(address, "server.pem");
    assert_eq!(ping().as_deref(), Some("+PONG"));
    // CONFIG SET reads them too, and refuses those that can't be used.
    let set = |name: &str, path: &str| {
        let answer = served.handle.run(&["CONFIG", "SET", name, path]);
        show(&answer.expect("it answers"))
    };
    let refused = set("tls-cert-file", "/nowhere");
    assert!(
        refused.starts_with("-ERR CONFIG SET failed (possibly related to argument 'tls-cert-file')"),
        "{refused}"
    );
    assert!(
        set("tls-cert-file", &file("client.pem")).starts_with("-ERR"),
        "the key is another's"
    );
    assert_eq!(certificate_at(address), certificate_in("server.pem"));
    put("client");
    assert_eq!(set("tls-cert-file", &cert), "+OK");
    assert_eq!(certificate_at(address), certificate_in("client.pem"));
    assert_eq!(ping().as_deref(), Some("+PONG"));
}
