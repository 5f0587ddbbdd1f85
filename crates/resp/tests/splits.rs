//! However the bytes of requests arrive, the requests are the same.

use proptest::prelude::*;
use weald_resp::{Frame, Limits, Protocol, ProtocolError, Reply, RequestParser, Step};

type Requests = Vec<Vec<Vec<u8>>>;

/// Reads `input`, of which a first part is there, then more, up to each of `ends`.
fn read(input: &[u8], ends: &[usize]) -> (Requests, Option<ProtocolError>) {
    let (mut parser, mut requests, mut at) = (RequestParser::new(), Vec::new(), 0);
    for end in ends.iter().copied().chain([input.len()]) {
        loop {
            let there = &input[at..end.max(at)];
            match parser.next(there, &Limits::default()) {
                Ok(Step::Incomplete) => break,
                Ok(Step::Request { consumed }) => {
                    requests.push(parser.args(there).map(<[u8]>::to_vec).collect());
                    at += consumed;
                }
                Err(e) => return (requests, Some(e)),
            }
        }
    }
    (requests, None)
}

fn encode(requests: &Requests) -> Vec<u8> {
    let mut reply = Reply::new(Protocol::Resp2);
    for request in requests {
        reply.array(request.len());
        request.iter().for_each(|arg| reply.bulk(arg));
    }
    reply.into_bytes()
}

proptest! {
    #[test]
    fn requests_survive_every_split(
        requests in prop::collection::vec(prop::collection::vec(prop::collection::vec(any::<u8>(), 0..12), 1..4), 0..4),
    ) {
        let input = encode(&requests);
        for split in 0..=input.len() {
            prop_assert_eq!(read(&input, &[split]), (requests.clone(), None));
        }
        let every: Vec<usize> = (0..input.len()).collect();
        prop_assert_eq!(read(&input, &every), (requests, None));
    }

    #[test]
    fn any_bytes_mean_the_same_in_one_piece_and_in_many(
        input in prop::collection::vec(
            prop_oneof![Just(b'*'), Just(b'$'), Just(b'\r'), Just(b'\n'), Just(b'"'), b'0'..=b'3', any::<u8>()],
            0..40,
        ),
    ) {
        let whole = read(&input, &[]);
        let every: Vec<usize> = (0..input.len()).collect();
        prop_assert_eq!(read(&input, &every), whole);
    }

    #[test]
    fn any_bytes_are_a_frame_or_none(input in prop::collection::vec(any::<u8>(), 0..64)) {
        if let Ok(Some((_, len))) = Frame::read(&input) {
            prop_assert!(len <= input.len());
        }
    }
}
