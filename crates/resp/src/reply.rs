//! What clients get.

use std::io::Write;

use crate::number::format_double;

/// The protocol that a client speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// The first one, which clients speak that have not asked for another.
    #[default]
    Resp2,
    /// The one with maps, sets, doubles and pushes.
    Resp3,
}

impl Protocol {
    /// Its number, as in `HELLO 3`.
    pub fn number(self) -> i64 {
        match self {
            Protocol::Resp2 => 2,
            Protocol::Resp3 => 3,
        }
    }
}

/// A place in a reply, for a header that is known only afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark(usize);

/// Replies, one after the other.
///
/// Whoever writes an array, map, set or push announces how many elements follow, and writes these.
#[derive(Debug, Default)]
pub struct Reply {
    out: Vec<u8>,
    protocol: Protocol,
}

impl Reply {
    /// No reply yet.
    pub fn new(protocol: Protocol) -> Reply {
        Reply {
            out: Vec::new(),
            protocol,
        }
    }

    /// Goes on at the end of `out`.
    pub fn onto(out: Vec<u8>, protocol: Protocol) -> Reply {
        Reply { out, protocol }
    }

    /// What was written.
    pub fn bytes(&self) -> &[u8] {
        &self.out
    }

    /// How many bytes were written.
    pub fn len(&self) -> usize {
        self.out.len()
    }

    /// Whether nothing was.
    pub fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    /// What was written, given away.
    pub fn into_bytes(self) -> Vec<u8> {
        self.out
    }

    /// The protocol.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Whether the client speaks RESP3.
    pub fn is_resp3(&self) -> bool {
        self.protocol == Protocol::Resp3
    }

    /// From now on the client speaks this.
    pub fn set_protocol(&mut self, protocol: Protocol) {
        self.protocol = protocol;
    }

    /// Forgets what was written after the first `len` bytes.
    pub fn truncate(&mut self, len: usize) {
        self.out.truncate(len);
    }

    /// Bytes that are frames already.
    pub fn raw(&mut self, frames: &[u8]) {
        self.out.extend_from_slice(frames);
    }

    /// Puts `frames` before what was written since `mark`.
    pub fn raw_at(&mut self, mark: Mark, frames: &[u8]) {
        self.out.splice(mark.0..mark.0, frames.iter().copied());
    }

    /// `+OK`.
    pub fn ok(&mut self) {
        self.out.extend_from_slice(b"+OK\r\n");
    }

    /// A short text of our own.
    pub fn simple(&mut self, text: &str) {
        self.line(b'+', text.as_bytes());
    }

    /// An error: a code in capitals and a sentence. Line ends in it become blanks, so that it can't be taken for more than one reply.
    pub fn error(&mut self, text: &str) {
        self.line(b'-', text.as_bytes());
    }

    /// An integer.
    pub fn integer(&mut self, value: i64) {
        match value {
            0 => self.out.extend_from_slice(b":0\r\n"),
            1 => self.out.extend_from_slice(b":1\r\n"),
            value => self.header(b':', value),
        }
    }

    /// Bytes.
    pub fn bulk(&mut self, bytes: &[u8]) {
        self.out.reserve(bytes.len() + 16);
        self.header(b'$', bytes.len() as i64);
        self.out.extend_from_slice(bytes);
        self.out.extend_from_slice(b"\r\n");
    }

    /// Bytes, or null.
    pub fn bulk_or_null(&mut self, bytes: Option<&[u8]>) {
        match bytes {
            Some(bytes) => self.bulk(bytes),
            None => self.null(),
        }
    }

    /// An integer as bytes.
    pub fn bulk_integer(&mut self, value: i64) {
        let mut digits = [0; 20];
        self.bulk(decimal(value, &mut digits));
    }

    /// No value.
    pub fn null(&mut self) {
        self.out.extend_from_slice(match self.protocol {
            Protocol::Resp2 => b"$-1\r\n",
            Protocol::Resp3 => b"_\r\n",
        });
    }

    /// No array.
    pub fn null_array(&mut self) {
        self.out.extend_from_slice(match self.protocol {
            Protocol::Resp2 => b"*-1\r\n",
            Protocol::Resp3 => b"_\r\n",
        });
    }

    /// `len` elements follow.
    pub fn array(&mut self, len: usize) {
        self.header(b'*', len as i64);
    }

    /// `len` keys and values follow, in turn.
    pub fn map(&mut self, len: usize) {
        match self.protocol {
            Protocol::Resp2 => self.header(b'*', 2 * len as i64),
            Protocol::Resp3 => self.header(b'%', len as i64),
        }
    }

    /// `len` different elements follow.
    pub fn set(&mut self, len: usize) {
        match self.protocol {
            Protocol::Resp2 => self.header(b'*', len as i64),
            Protocol::Resp3 => self.header(b'~', len as i64),
        }
    }

    /// A message that nobody asked for follows, of `len` elements.
    pub fn push(&mut self, len: usize) {
        match self.protocol {
            Protocol::Resp2 => self.header(b'*', len as i64),
            Protocol::Resp3 => self.header(b'>', len as i64),
        }
    }

    /// A number with a fraction.
    pub fn double(&mut self, value: f64) {
        let text = format_double(value);
        match self.protocol {
            Protocol::Resp2 => self.bulk(text.as_bytes()),
            Protocol::Resp3 => self.line(b',', text.as_bytes()),
        }
    }

    /// Yes or no; 1 or 0 in RESP2.
    pub fn boolean(&mut self, value: bool) {
        match self.protocol {
            Protocol::Resp2 => self.integer(i64::from(value)),
            Protocol::Resp3 => self
                .out
                .extend_from_slice(if value { b"#t\r\n" } else { b"#f\r\n" }),
        }
    }

    /// A text for people, of a format of three letters.
    pub fn verbatim(&mut self, format: &[u8; 3], text: &[u8]) {
        match self.protocol {
            Protocol::Resp2 => self.bulk(text),
            Protocol::Resp3 => {
                self.header(b'=', text.len() as i64 + 4);
                self.out.extend_from_slice(format);
                self.out.push(b':');
                self.out.extend_from_slice(text);
                self.out.extend_from_slice(b"\r\n");
            }
        }
    }

    /// An integer of any size, as its digits.
    pub fn big_number(&mut self, digits: &str) {
        match self.protocol {
            Protocol::Resp2 => self.bulk(digits.as_bytes()),
            Protocol::Resp3 => self.line(b'(', digits.as_bytes()),
        }
    }

    /// The place where the next frame begins.
    pub fn mark(&self) -> Mark {
        Mark(self.out.len())
    }

    /// Makes what was written since `mark` an array of `len` elements.
    pub fn array_at(&mut self, mark: Mark, len: usize) {
        self.header_at(mark, |reply| reply.array(len));
    }

    /// Makes what was written since `mark` a map of `len` pairs.
    pub fn map_at(&mut self, mark: Mark, len: usize) {
        self.header_at(mark, |reply| reply.map(len));
    }

    /// Makes what was written since `mark` a set of `len` elements.
    pub fn set_at(&mut self, mark: Mark, len: usize) {
        self.header_at(mark, |reply| reply.set(len));
    }

    fn header_at(&mut self, mark: Mark, header: impl FnOnce(&mut Reply)) {
        let end = self.out.len();
        header(self);
        self.out[mark.0..].rotate_left(end - mark.0);
    }

    fn line(&mut self, kind: u8, text: &[u8]) {
        self.out.push(kind);
        let clean = |byte: &u8| {
            if matches!(byte, b'\r' | b'\n') {
                b' '
            } else {
                *byte
            }
        };
        self.out.extend(text.iter().map(clean));
        self.out.extend_from_slice(b"\r\n");
    }

    fn header(&mut self, kind: u8, value: i64) {
        let mut digits = [0; 20];
        self.out.push(kind);
        let text = decimal(value, &mut digits);
        self.out.extend_from_slice(text);
        self.out.extend_from_slice(b"\r\n");
    }
}

impl Reply {
    /// A text with a format, as bytes: `reply.bulk_fmt(format_args!("{a}:{b}"))`.
    pub fn bulk_fmt(&mut self, text: std::fmt::Arguments<'_>) {
        match text.as_str() {
            Some(text) => self.bulk(text.as_bytes()),
            None => {
                let mut bytes = Vec::new();
                bytes.write_fmt(text).expect("memory takes every write");
                self.bulk(&bytes);
            }
        }
    }
}

/// The digits of a number.
fn decimal(value: i64, digits: &mut [u8; 20]) -> &[u8] {
    let mut rest = value.unsigned_abs();
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if value < 0 {
        at -= 1;
        digits[at] = b'-';
    }
    &digits[at..]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(write: impl Fn(&mut Reply), resp2: &str, resp3: &str) {
        for (protocol, expected) in [(Protocol::Resp2, resp2), (Protocol::Resp3, resp3)] {
            let mut reply = Reply::new(protocol);
            write(&mut reply);
            assert_eq!(String::from_utf8_lossy(reply.bytes()), expected);
        }
    }

    #[test]
    fn what_resp2_has_no_type_for_is_what_redis_sends_then() {
        check(|r| r.null(), "$-1\r\n", "_\r\n");
        check(|r| r.null_array(), "*-1\r\n", "_\r\n");
        check(|r| r.map(2), "*4\r\n", "%2\r\n");
        check(|r| r.set(2), "*2\r\n", "~2\r\n");
        check(|r| r.push(3), "*3\r\n", ">3\r\n");
        check(|r| r.double(1.5), "$3\r\n1.5\r\n", ",1.5\r\n");
        check(|r| r.boolean(true), ":1\r\n", "#t\r\n");
        check(|r| r.verbatim(b"txt", b"hi"), "$2\r\nhi\r\n", "=6\r\ntxt:hi\r\n");
        check(|r| r.big_number("12"), "$2\r\n12\r\n", "(12\r\n");
    }

    #[test]
    fn integers_of_every_size() {
        for value in [0, 1, -1, 10, i64::MAX, i64::MIN] {
            check(
                |r| r.integer(value),
                &format!(":{value}\r\n"),
                &format!(":{value}\r\n"),
            );
        }
    }

    #[test]
    fn an_error_stays_one_line() {
        check(
            |r| r.error("ERR a\r\n+OK\r\nb"),
            "-ERR a  +OK  b\r\n",
            "-ERR a  +OK  b\r\n",
        );
    }

    #[test]
    fn a_header_can_come_afterwards() {
        let write = |r: &mut Reply| {
            r.ok();
            let mark = r.mark();
            r.integer(1);
            r.integer(22);
            r.array_at(mark, 2);
        };
        check(write, "+OK\r\n*2\r\n:1\r\n:22\r\n", "+OK\r\n*2\r\n:1\r\n:22\r\n");
    }
}
