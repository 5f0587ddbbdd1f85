//! The target `requests`: any bytes mean the same requests in one piece and in two, wherever they are cut, and any reply is read or refused.

use weald_resp::{Frame, Limits, ProtocolError, RequestParser, Step};

type Requests = Vec<Vec<Vec<u8>>>;

pub(crate) fn run(data: &[u8]) {
    let limits = Limits {
        args_max: 64,
        bulk_max: 1 << 16,
        request_max: 1 << 17,
        unauthenticated: data.first().is_some_and(|byte| byte % 2 == 1),
    };
    let whole = read(data, data.len(), &limits);
    // Each cut would be quadratic; those near the beginning find most.
    for cut in 0..data.len().min(128) {
        assert_eq!(read(data, cut, &limits), whole, "cut at {cut}");
    }
    if let Ok(Some((_, len))) = Frame::read(data) {
        assert!(len <= data.len());
    }
}

/// The requests in `data`, of which the first `cut` bytes come first.
fn read(data: &[u8], cut: usize, limits: &Limits) -> (Requests, Option<ProtocolError>) {
    let (mut parser, mut requests, mut at) = (RequestParser::new(), Vec::new(), 0);
    for end in [cut, data.len()] {
        loop {
            let there = &data[at..end.max(at)];
            match parser.next(there, limits) {
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
