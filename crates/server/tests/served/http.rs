//! HTTP over real sockets: requests of all kinds, and what is none.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use weald_server::Frame;

use crate::client::{Served, show};

fn served(settings: &[(&str, &str)]) -> Served {
    let mut all = vec![("http", "yes"), ("http-port", "0")];
    all.extend(settings);
    Served::with(&all)
}

fn connect(served: &Served) -> TcpStream {
    let stream = TcpStream::connect(served.http.expect("HTTP is served")).expect("it accepts");
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .expect("a timeout");
    stream
}

/// An answer: status, head, body.
struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn read(stream: &mut TcpStream) -> Option<Answer> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            if stream.read(&mut byte).expect("it answers") == 0 {
                return None;
            }
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).expect("a head is text");
        let len = head
            .lines()
            .find_map(|line| line.strip_prefix("Content-Length: "))
            .map_or(0, |len| len.parse().expect("a length"));
        let mut body = vec![0; len];
        stream.read_exact(&mut body).expect("the body is there");
        let status = head[9..12].parse().expect("a status");
        Some(Answer { status, head, body })
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("it is text")
    }
}

fn send(served: &Served, method: &str, target: &str, headers: &str, body: &[u8]) -> Answer {
    let mut stream = connect(served);
    let head = format!(
        "{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n",
        body.len()
    );
    stream
        .write_all(&[head.as_bytes(), body].concat())
        .expect("it is sent");
    Answer::read(&mut stream).expect("it is answered")
}

fn get(served: &Served, target: &str) -> Answer {
    send(served, "GET", target, "", b"")
}

#[test]
fn probes_metrics_and_the_dashboard_are_served() {
    let served = served(&[]);
    assert_eq!(get(&served, "/healthz").text(), "ok\n");
    assert_eq!(get(&served, "/readyz").text(), "ready\n");
    served.handle.run(&["SET", "a", "1"]).expect("it runs");
    let metrics = get(&served, "/metrics");
    assert!(metrics.head.contains("application/openmetrics-text"));
    let text = metrics.text();
    for expected in [
        "# TYPE weald_commands counter\n",
        "weald_commands_total ",
        "# UNIT weald_file_bytes bytes\n",
        "weald_keys{db=\"0\"} 1\n",
        "weald_command_duration_seconds_bucket{le=\"+Inf\"} ",
        "weald_command_duration_seconds_sum ",
        "weald_command_duration_seconds_count ",
    ] {
        assert!(text.contains(expected), "{expected} in {text}");
    }
    assert!(text.ends_with("# EOF\n"));
    for file in ["/", "/dashboard.css", "/dashboard.js", "/chart.js", "/icon.svg"] {
        let answer = get(&served, file);
        assert_eq!(answer.status, 200, "{file}");
        assert!(!answer.body.is_empty(), "{file}");
        assert!(
            answer
                .head
                .contains("Content-Security-Policy: default-src 'none'")
        );
        assert!(
            !answer
                .text()
                .replace("http://www.w3.org/2000/svg", "")
                .contains("http"),
            "{file} has no outside address"
        );
    }
    assert_eq!(get(&served, "/nothing").status, 404);
    assert_eq!(get(&served, "/api/v1/nothing").status, 404);
}

#[test]
fn a_node_tells_of_its_replica_and_the_memory_before_it() {
    let served = Served::node(&[("http", "yes"), ("http-port", "0"), ("cluster-hot-bytes", "2mb")]);
    let mut client = served.client();
    for _ in 0..5 {
        client.check("GET first", "1");
    }
    client.check("GET none", "null");
    let number = |text: &str, name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|rest| rest.strip_prefix(' '))
            .and_then(|value| value.parse::<u64>().ok())
            .unwrap_or_else(|| panic!("no {name} in {text}"))
    };
    let began = Instant::now();
    // It is looked at now and then.
    let text = loop {
        let answer = get(&served, "/metrics");
        let text = answer.text().to_owned();
        if text.contains("weald_hot_tier_hits_total") && number(&text, "weald_hot_tier_hits_total") >= 5 {
            break text;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "{text}");
        std::thread::sleep(Duration::from_millis(50));
    };
    assert_eq!(number(&text, "weald_hot_tier_budget_bytes"), 2 << 20);
    assert!(number(&text, "weald_hot_tier_bytes") > 0);
    assert!(number(&text, "weald_replica_entries") >= 1);
    assert!(number(&text, "weald_replica_reads_total") >= 1);
    assert!(number(&text, "weald_replica_changes_total") >= 1);
}

#[test]
fn keys_are_listed_read_written_and_deleted() {
    let served = served(&[]);
    assert_eq!(
        send(&served, "PUT", "/api/v1/keys/a%2F%00%22", "", b"<\"\xff>").status,
        200
    );
    let raw = get(&served, "/api/v1/keys/a%2F%00%22?raw");
    assert_eq!(raw.body, b"<\"\xff>");
    assert_eq!(
        get(&served, "/api/v1/keys/a%2F%00%22").text(),
        r#"{"key":"a/\u0000\"","type":"string","ttl_ms":null,"encoding":"raw","length":4,"value":{"base64":"PCL/Pg=="}}"#
            .replace("\"encoding\":\"raw\"", "\"encoding\":\"embstr\"")
    );
    assert_eq!(
        send(&served, "PUT", "/api/v1/keys/b?if=present", "", b"1").status,
        409
    );
    assert_eq!(
        send(&served, "PUT", "/api/v1/keys/b?ttl_ms=100000&if=absent", "", b"1").status,
        200
    );
    for command in [
        &["HSET", "h", "f", "<v>"][..],
        &["RPUSH", "l", "x", "y", "z"],
        &["SADD", "s", "m"],
        &["ZADD", "z", "1.5", "m"],
    ] {
        served.handle.run(command).expect("it runs");
    }
    for (target, expected) in [
        ("h", r#""value":[["f","\u003cv\u003e"]]"#),
        ("l?offset=1&count=1", r#""length":3,"value":["y"]"#),
        ("s", r#""cursor":"0","value":["m"]"#),
        ("z", r#"1.5"#),
    ] {
        let answer = get(&served, &format!("/api/v1/keys/{target}"));
        assert!(
            answer.text().contains(expected),
            "{expected} in {}",
            answer.text()
        );
    }
    let list = get(&served, "/api/v1/keys?pattern=%5Bbh%5D&count=100");
    assert!(list.text().contains(r#""cursor":"0""#), "{}", list.text());
    assert!(list.text().contains(r#"{"key":"h","type":"hash","ttl_ms":null}"#));
    assert!(list.text().contains(r#"{"key":"b","type":"string","ttl_ms":"#));
    assert!(
        !get(&served, "/api/v1/keys?type=list&count=100")
            .text()
            .contains("string")
    );
    assert_eq!(get(&served, "/api/v1/keys/b?db=1").status, 404);
    assert_eq!(get(&served, "/api/v1/keys/h?raw").status, 409);
    assert_eq!(send(&served, "DELETE", "/api/v1/keys/b", "", b"").status, 200);
    assert_eq!(send(&served, "DELETE", "/api/v1/keys/b", "", b"").status, 404);
    let refused = send(&served, "PATCH", "/api/v1/keys/b", "", b"");
    assert_eq!(refused.status, 405);
    assert!(refused.head.contains("Allow: GET, HEAD, PUT, DELETE"));
    for bad in ["?count=x", "?cursor=x", "?db=99"] {
        assert_eq!(get(&served, &format!("/api/v1/keys{bad}")).status, 400, "{bad}");
    }
}

#[test]
fn buckets_trees_and_proofs_have_routes() {
    let served = served(&[]);
    let put = |target: &str, body: &[u8]| {
        let answer = send(&served, "PUT", target, "", body);
        assert_eq!(answer.status, 200, "{target}: {}", answer.text());
    };
    put("/api/v1/buckets?path=a/b", b"");
    put("/api/v1/buckets/entry?path=a/b&key=k", b"v");
    assert_eq!(
        get(&served, "/api/v1/buckets?path=a").text(),
        r#"{"result":["b"]}"#
    );
    assert_eq!(
        get(&served, "/api/v1/buckets/entry?path=a/b&key=k").text(),
        r#"{"result":"v"}"#
    );
    assert_eq!(
        get(&served, "/api/v1/buckets/entries?path=a/b&prefix=k&count=5&rev").text(),
        r#"{"entries":[["k","v"]]}"#
    );
    assert_eq!(get(&served, "/api/v1/buckets/entry?path=a/b&key=x").status, 404);
    assert_eq!(get(&served, "/api/v1/buckets/entry?path=a/b").status, 400);
    assert_eq!(
        send(&served, "DELETE", "/api/v1/buckets/entry?path=a/b&key=k", "", b"").status,
        200
    );
    assert_eq!(
        send(&served, "DELETE", "/api/v1/buckets?path=a", "", b"").status,
        200
    );

    put("/api/v1/trees?path=t&kind=sum", b"");
    put("/api/v1/trees/entry?path=t&key=n&sum=5", b"");
    put("/api/v1/trees/entry?path=&key=i", b"item");
    assert_eq!(
        get(&served, "/api/v1/trees/entry?path=t&key=n").text(),
        r#"{"result":5}"#
    );
    assert_eq!(
        get(&served, "/api/v1/trees/query?path=t&limit=10").text(),
        r#"{"entries":[["n",5]]}"#
    );
    assert_eq!(
        get(&served, "/api/v1/trees/query?path=t&totals").text(),
        r#"{"result":[1,"5"]}"#
    );
    let root = get(&served, "/api/v1/trees/root");
    let root = root
        .text()
        .trim_start_matches(r#"{"result":"#)
        .trim_end_matches('}');
    let proof = get(&served, "/api/v1/trees/prove?path=t&key=n");
    assert!(
        proof
            .text()
            .starts_with(&format!(r#"{{"root":{root},"proof_base64":""#))
    );
    assert_eq!(
        send(&served, "DELETE", "/api/v1/trees/entry?path=t&key=n", "", b"").status,
        200
    );
    assert_eq!(
        send(&served, "DELETE", "/api/v1/trees?path=t", "", b"").status,
        200
    );
}

#[test]
fn routes_stay_where_commands_have_other_names() {
    let renamed = [
        ("rename-command", "WEALD.BUCKET \"\""),
        ("rename-command", "GET fetch"),
        ("rename-command", "WEALD.LOCAL own"),
    ];
    let served = served(&renamed);
    let mut client = served.client();
    client.check("SET k v", "+OK");
    assert_eq!(get(&served, "/api/v1/keys/k?raw").text(), "v");
    // What a route calls is not called by a client therefore.
    assert!(show(&client.run("GET k")).starts_with("-ERR unknown command"));
    client.check("FETCH k", "v");
    assert_eq!(
        send(&served, "PUT", "/api/v1/buckets?path=a", "", b"").status,
        200
    );
    assert!(show(&client.run("WEALD.BUCKET LIST a")).starts_with("-ERR unknown command"));

    let node = Served::node(&renamed);
    let copy = show(&node.client().run("OWN first"));
    assert!(copy.contains("present"), "{copy}");
}

#[test]
fn the_server_tells_of_itself() {
    let served = served(&[("slowlog-log-slower-than", "0")]);
    served.handle.run(&["SET", "slow", "<b>"]).expect("it runs");
    assert!(
        get(&served, "/api/v1/slowlog")
            .text()
            .contains(r#""arguments":["SET","slow","\u003cb\u003e"]"#)
    );
    assert!(
        get(&served, "/api/v1/clients")
            .text()
            .contains(r#""cmd":"client|list""#)
    );
    let stats = get(&served, "/api/v1/stats");
    for expected in ["\"latency_us\":[", "\"weald_file_bytes\":", "\"commands\":"] {
        assert!(stats.text().contains(expected), "{expected} in {}", stats.text());
    }
    assert_eq!(get(&served, "/api/v1/checkpoint").status, 405);
    assert!(
        send(&served, "POST", "/api/v1/checkpoint", "", b"")
            .text()
            .contains("\"pages\":")
    );
}

#[test]
fn users_have_the_permissions_that_they_have_elsewhere() {
    let served = served(&[("requirepass", "secret")]);
    served
        .handle
        .run(&[
            "ACL",
            "SETUSER",
            "reader",
            "on",
            ">word",
            "~*",
            "+get",
            "+type",
            "+pttl",
            "+object|encoding",
            "+strlen",
            "+getrange",
        ])
        .expect("it runs");
    served.handle.run(&["SET", "k", "v"]).expect("it runs");
    let none = get(&served, "/api/v1/keys/k");
    assert_eq!(none.status, 401);
    assert!(none.head.contains("WWW-Authenticate: Basic"));
    assert_eq!(get(&served, "/metrics").status, 401);
    assert_eq!(get(&served, "/healthz").status, 200);
    let auth = |method: &str, authorization: &str| {
        let headers = format!("Authorization: {authorization}\r\n");
        send(&served, method, "/api/v1/keys/k", &headers, b"").status
    };
    // default:secret, reader:word, default:wrong
    assert_eq!(auth("GET", "Basic ZGVmYXVsdDpzZWNyZXQ="), 200);
    assert_eq!(auth("GET", "Bearer secret"), 200);
    assert_eq!(auth("GET", "Bearer reader:word"), 200);
    assert_eq!(auth("DELETE", "Bearer reader:word"), 403);
    assert_eq!(auth("GET", "Basic ZGVmYXVsdDp3cm9uZw=="), 401);
    assert_eq!(auth("GET", "Bearer wrong"), 401);
    assert_eq!(auth("GET", "Basic ???"), 401);
    assert_eq!(auth("GET", "Nonsense"), 401);
    assert_eq!(
        served.handle.run(&["GET", "k"]).expect("it runs"),
        Frame::Bulk(b"v".to_vec())
    );
}

#[test]
fn pages_of_others_and_names_of_others_are_refused() {
    let served = served(&[("http-hosts", "db.example")]);
    let ask = |method: &str, host: &str, headers: &str| {
        let mut stream = connect(&served);
        let request =
            format!("{method} /api/v1/keys/k HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).expect("it is sent");
        Answer::read(&mut stream).expect("it is answered").status
    };
    assert_eq!(ask("PUT", "evil.example", ""), 421);
    assert_eq!(ask("GET", "evil.example:8379", ""), 421);
    assert_eq!(ask("PUT", "localhost", "Origin: http://evil.example\r\n"), 403);
    assert_eq!(ask("PUT", "localhost", "Origin: null\r\n"), 403);
    assert_eq!(
        ask("DELETE", "127.0.0.1:1", "Origin: http://127.0.0.1:2\r\n"),
        403
    );
    assert_eq!(ask("PUT", "localhost", "Sec-Fetch-Site: cross-site\r\n"), 403);
    assert_eq!(ask("GET", "localhost", ""), 404);
    assert_eq!(
        ask(
            "PUT",
            "db.example:80",
            "Origin: http://db.example:80\r\nSec-Fetch-Site: same-origin\r\n"
        ),
        200
    );
}

#[test]
fn a_connection_serves_many_requests_also_at_once() {
    let served = served(&[]);
    let mut stream = connect(&served);
    stream
        .write_all(
            b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nHEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        )
        .expect("it is sent");
    assert_eq!(Answer::read(&mut stream).expect("it is answered").text(), "ok\n");
    // HEAD has the length and not the body.
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("it answers");
        head.push(byte[0]);
    }
    assert!(String::from_utf8_lossy(&head).contains("Connection: keep-alive"));
    for byte in b"PUT /api/v1/keys/k HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nv" {
        stream.write_all(&[*byte]).expect("it is sent");
    }
    assert_eq!(Answer::read(&mut stream).expect("it is answered").status, 200);
    stream
        .write_all(b"GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n")
        .expect("it is sent");
    assert_eq!(Answer::read(&mut stream).expect("it is answered").status, 200);
    assert!(Answer::read(&mut stream).is_none(), "HTTP/1.0 ends");
}

#[test]
fn what_is_no_request_is_refused_and_others_go_on() {
    let served = served(&[]);
    for (bytes, status) in [
        (b"\x16\x03\x01\x02\x00 tls \r\n\r\n".to_vec(), 400),
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), 400),
        ([&b"GET /"[..], &[b'a'; 20_000]].concat(), 431),
        (
            b"PUT /api/v1/keys/k HTTP/1.1\r\nHost: localhost\r\nContent-Length: 8388609\r\n\r\n".to_vec(),
            413,
        ),
        (
            b"PUT /api/v1/keys/k HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec(),
            411,
        ),
    ] {
        let mut stream = connect(&served);
        stream.write_all(&bytes).expect("it is sent");
        assert_eq!(Answer::read(&mut stream).expect("it is answered").status, status);
        assert!(Answer::read(&mut stream).is_none(), "it ends");
    }
    assert_eq!(get(&served, "/healthz").status, 200);
}

#[test]
fn too_many_connections_are_refused_and_slow_ones_end() {
    let served = served(&[]);
    let mut slow = connect(&served);
    slow.write_all(b"GET / HT").expect("it is sent");
    let begun = Instant::now();
    let mut held: Vec<TcpStream> = (0..63).map(|_| connect(&served)).collect();
    let mut refused = connect(&served);
    assert_eq!(Answer::read(&mut refused).expect("it is answered").status, 503);
    held.clear();
    assert_eq!(Answer::read(&mut slow).expect("it is answered").status, 408);
    assert!(begun.elapsed() < Duration::from_secs(25));
    assert_eq!(get(&served, "/healthz").status, 200);
}

#[test]
fn it_ends_with_connections_open_and_a_taken_port_is_said() {
    let served = served(&[]);
    let mut open = connect(&served);
    open.write_all(b"GET").expect("it is sent");
    let port = served.http.expect("HTTP is served").port().to_string();
    let auto = Served::with(&[("http", "auto"), ("http-port", &port)]);
    assert!(auto.http.is_none());
    let begun = Instant::now();
    served.end();
    assert!(begun.elapsed() < Duration::from_secs(5));
}
