//! Messages between nodes: bytes are refused, or are the one encoding of what they mean.

use weald_cluster_proto::Message;

pub(crate) fn run(data: &[u8]) {
    check(data);
    // Past the magic number, which chance does not find.
    check(&[b"Wdm\x01", data].concat());
}

fn check(bytes: &[u8]) {
    if let Ok(message) = Message::decode(bytes) {
        assert_eq!(message.encode(), bytes);
    }
}
