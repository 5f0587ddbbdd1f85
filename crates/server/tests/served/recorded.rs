//! Commands on all types with the replies that redis-server 7.0.15 gave to them: a line for each, and a line for its reply.
//!
//! Bytes that are no plain letters are `%` and two digits, a `%` alone is an empty argument. A reply that begins with `~` has its elements, or pairs, in
//! no certain order. Where 7.2 writes numbers with fewer digits than 7.0, those of 7.2 stand there.

use weald_server::Frame;

use crate::client::Served;

fn unescaped(word: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = word.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        if *first != b'%' {
            out.push(*first);
        } else if after.len() >= 2 {
            let digits = std::str::from_utf8(&after[..2]).expect("digits");
            out.push(u8::from_str_radix(digits, 16).expect("digits"));
            rest = &after[2..];
        }
    }
    out
}

fn escaped(bytes: &[u8]) -> String {
    let mut out = String::new();
    for byte in bytes {
        if (33..127).contains(byte) && !b"\\\"%".contains(byte) {
            out.push(char::from(*byte));
        } else {
            out.push_str(&format!("%{byte:02x}"));
        }
    }
    out
}

fn written(frame: &Frame) -> String {
    match frame {
        Frame::Simple(text) => format!("+{}", escaped(text.as_bytes())),
        Frame::Error(text) => format!("-{}", escaped(text.as_bytes())),
        Frame::Integer(number) => format!(":{number}"),
        Frame::Bulk(bytes) => format!("\"{}\"", escaped(bytes)),
        Frame::Null => "_".to_owned(),
        Frame::Array(elements) => {
            let elements: Vec<String> = elements.iter().map(written).collect();
            format!("[{}]", elements.join(" "))
        }
        other => panic!("RESP2 has no {other:?}"),
    }
}

/// An array whose order does not matter.
fn sorted(command: &str, frame: &Frame) -> String {
    let Frame::Array(elements) = frame else {
        return written(frame);
    };
    let elements = match (command.ends_with("SCAN"), elements.as_slice()) {
        (true, [_, Frame::Array(elements)]) => elements,
        _ => elements,
    };
    let mut elements: Vec<String> = if ["HGETALL", "HSCAN", "ZSCAN"].contains(&command) {
        elements
            .chunks(2)
            .map(|pair| format!("{}={}", written(&pair[0]), written(&pair[1])))
            .collect()
    } else {
        elements.iter().map(written).collect()
    };
    elements.sort();
    format!("~[{}]", elements.join(" "))
}

#[test]
fn replies_are_those_of_redis() {
    let served = Served::new();
    let mut client = served.client();
    let lines: Vec<&str> = include_str!("redis-7.txt").lines().collect();
    let mut checked = 0;
    for pair in lines.chunks(2) {
        let [line, expected] = *pair else {
            panic!("{} has no reply", pair[0]);
        };
        let args: Vec<Vec<u8>> = line.split(' ').map(unescaped).collect();
        let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
        client.send_args(&args);
        let reply = client.read();
        let command = line.split(' ').next().unwrap_or_default();
        let found = if expected.starts_with('~') {
            sorted(command, &reply)
        } else {
            written(&reply)
        };
        assert_eq!(found, expected, "command {checked}: {line}");
        checked += 1;
    }
    assert!(checked > 1500, "only {checked} commands");
}
