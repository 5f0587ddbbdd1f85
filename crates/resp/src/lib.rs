//! The frames of the Redis protocol, RESP2 and RESP3, without any I/O.
//!
//! - [`RequestParser`] reads what clients send: arrays of bulk strings, or lines. It goes on where it stopped when more bytes are there, and lends
//!   the arguments from the input.
//! - [`Reply`] writes what they get, in the protocol that they asked for: what RESP2 has no type for is written as what Redis writes then.
//! - [`Frame`] is a reply read back, for whoever is the client.
//!
//! Nothing here allocates by a length that was announced: memory follows the bytes received. Whatever the input is, the answer is a request, a frame, "more is
//! needed", or a [`ProtocolError`].
//!
//! ```
//! use weald_resp::{Limits, Protocol, Reply, RequestParser, Step};
//!
//! let input = b"*2\r\n$4\r\nECHO\r\n$2\r\nhi\r\n";
//! let mut parser = RequestParser::new();
//! assert_eq!(parser.next(&input[..10], &Limits::default())?, Step::Incomplete);
//! assert_eq!(parser.next(input, &Limits::default())?, Step::Request { consumed: input.len() });
//! assert!(parser.args(input).eq([&b"ECHO"[..], b"hi"]));
//!
//! let mut reply = Reply::new(Protocol::Resp2);
//! reply.map(1);
//! reply.bulk(b"hi");
//! reply.double(0.5);
//! assert_eq!(reply.bytes(), b"*2\r\n$2\r\nhi\r\n$3\r\n0.5\r\n");
//! # Ok::<(), weald_resp::ProtocolError>(())
//! ```

#![forbid(unsafe_code)]

mod error;
mod frame;
mod inline;
mod limits;
mod number;
mod reply;
mod request;

pub use error::ProtocolError;
pub use frame::Frame;
pub use inline::split_line;
pub use limits::Limits;
pub use number::{format_double, parse_i64};
pub use reply::{Mark, Protocol, Reply};
pub use request::{RequestParser, Step};
