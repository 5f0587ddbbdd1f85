//! Requests and replies.

use crate::client::{Served, show};

#[test]
fn replies_come_in_the_order_of_the_requests() {
    let served = Served::new();
    let mut client = served.client();
    let mut bytes = Vec::new();
    for i in 0..1000 {
        bytes.extend_from_slice(format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$4\r\n{i:04}\r\n").as_bytes());
        bytes.extend_from_slice(b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\nPING\r\n");
    }
    client.send_bytes(&bytes);
    for i in 0..1000 {
        client.expect("+OK");
        client.expect(&format!("{i:04}"));
        client.expect("+PONG");
    }
}

#[test]
fn a_request_may_come_in_single_bytes() {
    let served = Served::new();
    let mut client = served.client();
    for byte in b"*2\r\n$4\r\nECHO\r\n$5\r\nhe\r\no\r\nECHO \"a b\"\r\n" {
        client.send_bytes(&[*byte]);
    }
    client.expect("he\r\no");
    client.expect("a b");
}

#[test]
fn large_values_pass_in_both_directions() {
    let served = Served::new();
    let mut client = served.client();
    let value: Vec<u8> = (0..3_000_000u32).map(|i| (i * 7 % 251) as u8).collect();
    client.send_args(&[b"SET", b"large", &value]);
    client.expect("+OK");
    client.send("GET large");
    assert_eq!(client.read().as_bytes(), Some(&value[..]));
}

#[test]
fn hello_chooses_the_protocol() {
    let served = Served::new();
    let mut client = served.client();
    client.check("HELLO 4", "-NOPROTO unsupported protocol version");
    client.check(
        "HELLO x",
        "-ERR Protocol version is not an integer or out of range",
    );
    let hello = show(&client.run("HELLO 3 SETNAME me"));
    assert!(
        hello.starts_with("{server=redis version=7.2.4 proto=:3 id="),
        "{hello}"
    );
    client.check("CLIENT GETNAME", "me");
    client.check("GET nothing", "null");
    client.check("CONFIG GET maxclients", "{maxclients=10000}");
    client.check("RESET", "+RESET");
    client.check("CONFIG GET maxclients", "[maxclients 10000]");
}

#[test]
fn what_is_no_request_is_answered_and_ends_the_connection() {
    let served = Served::new();
    for (bytes, expected) in [
        (&b"*1\r\nx"[..], "-ERR Protocol error: expected '$', got 'x'"),
        (b"*99999999\r\n", "-ERR Protocol error: invalid multibulk length"),
        (b"*1\r\n$-5\r\n", "-ERR Protocol error: invalid bulk length"),
        (
            b"GET \"a\r\n",
            "-ERR Protocol error: unbalanced quotes in request",
        ),
    ] {
        let mut client = served.client();
        client.send_bytes(bytes);
        client.expect(expected);
        assert_eq!(client.next(), None);
    }
    served.client().check("PING", "+PONG");
}

#[test]
fn unknown_commands_and_wrong_numbers_are_told_as_redis_does() {
    let served = Served::new();
    let mut client = served.client();
    client.check(
        "nothing a b",
        "-ERR unknown command 'nothing', with args beginning with: 'a' 'b' ",
    );
    client.check(
        "XADD a * b c",
        "-ERR unknown command 'XADD': Weald has no streams yet",
    );
    client.check("GET", "-ERR wrong number of arguments for 'get' command");
    client.check("CLIENT", "-ERR wrong number of arguments for 'client' command");
    client.check(
        "CLIENT nothing",
        "-ERR unknown subcommand 'nothing'. Try CLIENT HELP.",
    );
    client.check(
        "CLIENT GETNAME a",
        "-ERR wrong number of arguments for 'client|getname' command",
    );
    client.check("SELECT 16", "-ERR DB index is out of range");
}

#[test]
fn a_text_of_a_client_stays_in_its_line() {
    let served = Served::new();
    let mut client = served.client();
    client.send_args(&[b"x\r\n+OK\r\n", b"\r\n-ERR y"]);
    client.expect("-ERR unknown command 'x  +OK  ', with args beginning with: '  -ERR y' ");
    client.expect_nothing();
}

#[test]
fn replies_can_be_turned_off() {
    let served = Served::new();
    let mut client = served.client();
    client.send("CLIENT REPLY OFF");
    client.send("SET a 1");
    client.send("CLIENT REPLY ON");
    client.expect("+OK");
    client.send("CLIENT REPLY SKIP");
    client.send("SET a 2");
    client.check("GET a", "2");
}

#[test]
fn quit_is_answered_and_ends_the_connection() {
    let served = Served::new();
    let mut client = served.client();
    client.send_bytes(b"QUIT\r\nPING\r\n");
    client.expect("+OK");
    assert_eq!(client.next(), None);
}

#[test]
fn a_thread_of_the_process_runs_commands_too() {
    let served = Served::new();
    let run = |args: &[&str]| show(&served.handle.run(args).expect("it runs"));
    assert_eq!(run(&["SET", "a", "1"]), "+OK");
    assert_eq!(run(&["INCR", "a"]), ":2");
    assert_eq!(run(&["BLPOP", "nothing", "0"]), "null");
    served.client().check("GET a", "2");
    assert!(served.handle.stats().commands.get() >= 4);
}

#[test]
fn a_request_of_many_arguments_in_many_pieces_is_one() {
    let served = Served::new();
    let mut client = served.client();
    let mut args: Vec<Vec<u8>> = vec![b"MSET".to_vec()];
    for i in 0..10_000 {
        args.extend([format!("key:{i}").into_bytes(), b"v".to_vec()]);
    }
    let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
    client.send_args(&args);
    client.expect("+OK");
    client.check("DBSIZE", ":10000");
}
