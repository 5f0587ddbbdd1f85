//! Messages: bytes that never change, and bytes that are wrong.
//!
//! `golden/messages.txt` has one message of every kind, as version 1 of the encoding has it. It only ever grows.

use std::collections::BTreeMap;

use weald_cluster_proto::{
    Accepted, Announcement, Body, Bytes, CopyId, DecodeError, Entry, Layout, Member, MemberStatus, Message,
    NodeId, Origin, Partition, Past, Quorums, Rank, ReadItem, Record, Refusal, Register, RequestId, Update,
    Verdict, Version, WIRE_VERSION, WriteItem, Written,
};

fn version(stamp: u64) -> Version {
    Version {
        stamp,
        node: NodeId(3),
    }
}

fn bytes(text: &str) -> Bytes {
    text.as_bytes().into()
}

fn announcement() -> Announcement {
    Announcement {
        cluster: 9,
        node: NodeId(3),
        copy: CopyId(4),
        boot: 5,
        run: 6,
        denied: 7,
        leaving: false,
        address: bytes("there"),
        signature: bytes("signed"),
    }
}

fn updates() -> Vec<Update> {
    vec![Update {
        announcement: announcement(),
        status: MemberStatus::Suspect,
        by: NodeId(8),
    }]
}

fn layout() -> Box<Layout> {
    let member = Member {
        copy: CopyId(4),
        weight: 2,
        zone: 1,
        address: bytes("there"),
    };
    let members = BTreeMap::from([(NodeId(3), member.clone()), (NodeId(4), member)]);
    Box::new(Layout::initial(1, Quorums::balanced(2), members).unwrap())
}

fn entry() -> Entry {
    let record = Record {
        version: version(70),
        expires_ms: Some(80),
        value: Some(bytes("value")),
    };
    let past = Past {
        floor: version(50),
        versions: vec![version(60), version(70)],
    };
    let register = Register {
        promised: version(90),
        accepted: version(85),
        past,
    };
    Entry {
        record,
        register: Some(register),
    }
}

const REQUEST: RequestId = RequestId(11);
const PARTITION: Partition = Partition(1);

fn key() -> Bytes {
    bytes("key")
}

fn ballot() -> Version {
    version(90)
}

fn rank() -> Rank {
    Rank {
        accepted: version(85),
        version: version(70),
    }
}

fn entries() -> Vec<(Bytes, Entry)> {
    vec![(key(), entry())]
}

fn written() -> Vec<(u16, Written)> {
    vec![
        (0, Written::Applied),
        (1, Written::Superseded { by: rank() }),
        (2, Written::IsRegister),
        (3, Written::TooOld),
        (4, Written::Ahead),
        (5, Written::Failed),
    ]
}

/// Who is there.
fn membership() -> Vec<Body> {
    vec![
        Body::Ping {
            seq: 1,
            wall_ms: 2,
            updates: updates(),
        },
        Body::Pong {
            seq: 1,
            wall_ms: 2,
            updates: Vec::new(),
        },
        Body::PingRequest {
            seq: 1,
            target: NodeId(2),
            updates: Vec::new(),
        },
        Body::PingFailed {
            seq: 1,
            target: NodeId(2),
        },
        Body::Hello {
            announcement: announcement(),
            ceiling: 3,
        },
        Body::HelloAnswer {
            boot: 1,
            verdict: Verdict::Outdated,
            wall_ms: 2,
            members: updates(),
        },
        Body::Join {
            announcement: announcement(),
            weight: 1,
            zone: 2,
        },
    ]
}

/// Who owns what.
fn layouts() -> Vec<Body> {
    vec![
        Body::LayoutFetch,
        Body::LayoutIs { layout: layout() },
        Body::LayoutPrepare {
            version: 2,
            ballot: ballot(),
        },
        Body::LayoutPromise {
            version: 2,
            ballot: ballot(),
            accepted: Some(Accepted {
                ballot: ballot(),
                layout: layout(),
            }),
        },
        Body::LayoutAccept {
            ballot: ballot(),
            layout: layout(),
        },
        Body::LayoutAccepted {
            version: 2,
            ballot: ballot(),
        },
        Body::LayoutOutbid {
            version: 2,
            promised: ballot(),
        },
        Body::LayoutProgress { caught_up: true },
    ]
}

/// Reads and writes.
fn requests() -> Vec<Body> {
    vec![
        Body::Write {
            request: REQUEST,
            origin: Origin::Hint,
            durable: true,
            items: vec![WriteItem {
                index: 1,
                key: key(),
                entry: entry(),
            }],
        },
        Body::WriteDone {
            request: REQUEST,
            items: written(),
        },
        Body::Read {
            request: REQUEST,
            whole: true,
            keys: vec![(0, key())],
        },
        Body::ReadDone {
            request: REQUEST,
            items: vec![ReadItem {
                index: 0,
                rank: rank(),
                register: true,
                entry: Some(entry()),
            }],
        },
        Body::Refused {
            request: REQUEST,
            reason: Refusal::NotOwner,
        },
        Body::Scan {
            request: REQUEST,
            start: key(),
            end: None,
            limit: 10,
        },
        Body::ScanDone {
            request: REQUEST,
            entries: entries(),
            upto: Some(key()),
        },
    ]
}

/// Ballots.
fn registers() -> Vec<Body> {
    vec![
        Body::Prepare {
            request: REQUEST,
            key: key(),
            ballot: ballot(),
        },
        Body::Promise {
            request: REQUEST,
            entry: entry(),
        },
        Body::Accept {
            request: REQUEST,
            key: key(),
            ballot: ballot(),
            record: entry().record,
            past: Past::default(),
        },
        Body::AcceptDone { request: REQUEST },
        Body::Outbid {
            request: REQUEST,
            promised: ballot(),
        },
    ]
}

/// What moves, and what is compared.
fn repair() -> Vec<Body> {
    vec![
        Body::Pull {
            request: REQUEST,
            partition: PARTITION,
            after: Some(key()),
        },
        Body::Pulled {
            request: REQUEST,
            entries: entries(),
            done: false,
        },
        Body::Compare {
            request: REQUEST,
            partition: PARTITION,
            root: 1 << 100,
        },
        Body::Differ {
            request: REQUEST,
            leaves: vec![1, 2],
            boot: 3,
            ring: 4,
        },
        Body::Exchange {
            request: REQUEST,
            partition: PARTITION,
            leaves: vec![1, 2],
            after: None,
            upto: Some(key()),
            summaries: vec![(key(), rank())],
        },
        Body::Exchanged {
            request: REQUEST,
            newer: entries(),
            wanted: vec![key()],
            upto: None,
            done: true,
        },
        Body::Changes {
            request: REQUEST,
            boot: 1,
            since: 2,
        },
        Body::ChangesDone {
            request: REQUEST,
            boot: 1,
            upto: 2,
            complete: true,
            entries: entries(),
        },
    ]
}

/// What is settled.
fn marks() -> Vec<Body> {
    vec![
        Body::Seal {
            request: REQUEST,
            partition: PARTITION,
            mark: ballot(),
        },
        Body::Settle {
            request: REQUEST,
            partition: PARTITION,
            mark: ballot(),
        },
        Body::MarkDone { request: REQUEST },
        Body::Forget {
            request: REQUEST,
            partition: PARTITION,
            mark: ballot(),
        },
        Body::AskMarks {
            request: REQUEST,
            partitions: vec![PARTITION, Partition(2)],
        },
        Body::MarksAre {
            request: REQUEST,
            marks: vec![(PARTITION, ballot())],
        },
    ]
}

/// One of each kind.
fn samples() -> Vec<Body> {
    [
        membership(),
        layouts(),
        requests(),
        registers(),
        repair(),
        marks(),
    ]
    .concat()
}

fn message(body: Body) -> Message {
    Message {
        cluster: 9,
        from: NodeId(3),
        copy: CopyId(4),
        layout: 5,
        stamp: 6,
        body,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn every_kind_of_message_has_the_bytes_that_it_always_had() {
    let encoded: Vec<String> = samples()
        .into_iter()
        .map(|body| hex(&message(body).encode()))
        .collect();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/messages.txt");
    if std::env::var_os("WEALD_BLESS").is_some() {
        std::fs::write(path, encoded.join("\n") + "\n").unwrap();
    }
    let golden = std::fs::read_to_string(path).unwrap();
    assert_eq!(encoded, golden.lines().collect::<Vec<_>>());
}

#[test]
fn what_is_encoded_comes_back_and_nothing_shorter_or_longer() {
    for body in samples() {
        let message = message(body);
        let bytes = message.encode();
        assert_eq!(Message::decode(&bytes), Ok(message));
        for cut in 0..bytes.len() {
            assert!(Message::decode(&bytes[..cut]).is_err());
        }
        assert!(Message::decode(&[&bytes[..], &[0]].concat()).is_err());
    }
}

#[test]
fn any_changed_byte_is_refused_or_means_something_else_in_the_same_number_of_bytes() {
    for body in samples() {
        let bytes = message(body).encode();
        for at in 0..bytes.len() {
            for flip in [1, 0x80, 0xff] {
                let mut changed = bytes.clone();
                changed[at] ^= flip;
                if let Ok(message) = Message::decode(&changed) {
                    assert_eq!(message.encode(), changed);
                }
            }
        }
    }
}

#[test]
fn a_kind_of_a_later_build_is_let_pass_and_another_version_is_refused() {
    let mut bytes = message(Body::LayoutFetch).encode();
    bytes.truncate(bytes.len() - 1);
    let later = [&bytes[..], b"\xc8whatever it says"].concat();
    let decoded = Message::decode(&later).unwrap();
    let fields = Bytes::from(&b"whatever it says"[..]);
    assert_eq!(decoded, message(Body::Unknown { tag: 200, fields }));
    assert_eq!(decoded.encode(), later);
    bytes.push(10);
    assert!(Message::decode(&bytes).is_ok());
    bytes[3] = WIRE_VERSION + 1;
    assert_eq!(Message::decode(&bytes), Err(DecodeError::Version));
}
