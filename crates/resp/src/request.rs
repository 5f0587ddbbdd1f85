//! What clients send, read piece by piece.

use std::ops::Range;

use crate::error::ProtocolError;
use crate::inline;
use crate::limits::Limits;
use crate::number::parse_i64;

/// The longest line: a number, or a whole command that is given as a line.
const LINE_MAX: usize = 64 << 10;

/// Room for arguments that is kept for the next request.
const SPARE_ARGS: usize = 1024;

/// What became of the input so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The request is not all there.
    Incomplete,
    /// One request is there, and has this many bytes. It may have no argument at all, and is nothing then.
    Request {
        /// Its bytes.
        consumed: usize,
    },
}

/// Reads requests. It remembers how far it came, so that a request of a thousand pieces is not read a thousand times.
///
/// Each call must be given the request that is being read from its first byte on, with at least the bytes it had before.
#[derive(Debug, Default)]
pub struct RequestParser {
    args: Vec<Range<usize>>,
    /// Arguments of a line, whose quotes are resolved.
    scratch: Vec<u8>,
    inline: bool,
    /// How far the request was understood.
    at: usize,
    /// Where the search for the end of a line goes on.
    searched: usize,
    state: State,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Start,
    /// This many arguments are missing.
    Length { missing: usize },
    /// An argument of this many bytes begins here.
    Bulk { missing: usize, len: usize },
}

impl RequestParser {
    /// One that has read nothing.
    pub fn new() -> RequestParser {
        RequestParser::default()
    }

    /// Goes on with the request at the beginning of `input`. After an error the connection has to be closed.
    pub fn next(&mut self, input: &[u8], limits: &Limits) -> Result<Step, ProtocolError> {
        loop {
            match self.state {
                State::Start => {
                    if let Some(consumed) = self.whole(input, limits) {
                        return Ok(Step::Request { consumed });
                    }
                    self.args.clear();
                    self.scratch.clear();
                    self.inline = false;
                    match input.first() {
                        None => return Ok(Step::Incomplete),
                        Some(b'*') => {
                            let Some(line) = self.line(input, ProtocolError::EndlessMultibulkLength)? else {
                                return Ok(Step::Incomplete);
                            };
                            match count(&line[1..], limits)? {
                                0 => return Ok(self.done()),
                                missing => self.state = State::Length { missing },
                            }
                        }
                        Some(_) => return self.inline(input),
                    }
                }
                State::Length { missing } => {
                    let Some(first) = input.get(self.at) else {
                        return Ok(Step::Incomplete);
                    };
                    if *first != b'$' {
                        return Err(ProtocolError::ExpectedBulk(*first));
                    }
                    let Some(line) = self.line(input, ProtocolError::EndlessBulkLength)? else {
                        return Ok(Step::Incomplete);
                    };
                    let len = length(&line[1..], limits)?;
                    if self.at + len > limits.request_max {
                        return Err(ProtocolError::RequestTooLarge);
                    }
                    self.state = State::Bulk { missing, len };
                }
                State::Bulk { missing, len } => {
                    let end = self.at + len;
                    // Redis does not look at the two bytes after an argument.
                    if input.len() < end + 2 {
                        return Ok(Step::Incomplete);
                    }
                    self.args.push(self.at..end);
                    self.at = end + 2;
                    self.searched = self.at;
                    match missing - 1 {
                        0 => return Ok(self.done()),
                        missing => self.state = State::Length { missing },
                    }
                }
            }
        }
    }

    /// The arguments of the request that [`next`](Self::next) told of last. `input` is what it was given.
    pub fn args<'a>(&'a self, input: &'a [u8]) -> impl ExactSizeIterator<Item = &'a [u8]> {
        let from = if self.inline { &self.scratch } else { input };
        self.args.iter().map(move |arg| &from[arg.clone()])
    }

    /// How many bytes the request has at least, as far as it has told: a hint for how much to read.
    pub fn needed(&self) -> usize {
        match self.state {
            State::Bulk { len, .. } => self.at + len + 2,
            _ => 0,
        }
    }

    /// Gives memory back that an unusual request took, once it has been read to its end.
    pub fn shrink(&mut self) {
        if self.state != State::Start {
            return;
        }
        if self.args.capacity() > SPARE_ARGS {
            self.args = Vec::new();
        }
        if self.scratch.capacity() > LINE_MAX {
            self.scratch = Vec::new();
        }
    }

    /// The bytes of a request that is all there and has nothing unusual about it, as most are: read in one go. `None` leaves it to the general way,
    /// which also knows what is wrong.
    #[inline]
    fn whole(&mut self, input: &[u8], limits: &Limits) -> Option<usize> {
        if *input.first()? != b'*' {
            return None;
        }
        self.args.clear();
        self.inline = false;
        let (count, mut at) = short_number(input, 1)?;
        if count == 0 || count > limits.args_max {
            return None;
        }
        for _ in 0..count {
            if *input.get(at)? != b'$' {
                return None;
            }
            let (len, start) = short_number(input, at + 1)?;
            let end = start + len;
            if len > limits.bulk_max || end + 2 > input.len() {
                return None;
            }
            self.args.push(start..end);
            at = end + 2;
        }
        (at <= limits.request_max).then_some(at)
    }

    fn done(&mut self) -> Step {
        let consumed = self.at;
        self.at = 0;
        self.searched = 0;
        self.state = State::Start;
        Step::Request { consumed }
    }

    /// The line at the place that was reached, and past it.
    fn line<'a>(
        &mut self,
        input: &'a [u8],
        endless: ProtocolError,
    ) -> Result<Option<&'a [u8]>, ProtocolError> {
        let from = self.searched.max(self.at);
        let Some(end) = input
            .get(from..)
            .and_then(|rest| rest.iter().position(|byte| *byte == b'\r'))
            .map(|end| from + end)
            .filter(|end| end + 1 < input.len())
        else {
            if input.len() - self.at > LINE_MAX {
                return Err(endless);
            }
            // A carriage return at the end is looked at again.
            self.searched = input.len().saturating_sub(1).max(self.at);
            return Ok(None);
        };
        let line = &input[self.at..end];
        self.at = end + 2;
        self.searched = self.at;
        Ok(Some(line))
    }

    fn inline(&mut self, input: &[u8]) -> Result<Step, ProtocolError> {
        let found = input[self.searched..].iter().position(|byte| *byte == b'\n');
        let Some(end) = found.map(|end| self.searched + end) else {
            if input.len() > LINE_MAX {
                return Err(ProtocolError::EndlessInline);
            }
            self.searched = input.len();
            return Ok(Step::Incomplete);
        };
        if end > LINE_MAX {
            return Err(ProtocolError::EndlessInline);
        }
        let line = input[..end].strip_suffix(b"\r").unwrap_or(&input[..end]);
        self.inline = true;
        if !inline::split(line, &mut self.scratch, &mut self.args) {
            return Err(ProtocolError::UnbalancedQuotes);
        }
        self.at = end + 1;
        Ok(self.done())
    }
}

/// No number of more digits is read the short way.
const SHORT_DIGITS: usize = 9;

/// The number at a place and where what follows its line begins, if the line is all there and the number as Redis writes it.
#[inline]
fn short_number(input: &[u8], from: usize) -> Option<(usize, usize)> {
    let line = input.get(from..)?;
    let mut value = 0;
    for (i, byte) in line.iter().take(SHORT_DIGITS + 1).enumerate() {
        match byte {
            b'0'..=b'9' if i == 0 || value != 0 => value = 10 * value + usize::from(byte - b'0'),
            b'\r' if i > 0 && i + 1 < line.len() => return Some((value, from + i + 2)),
            _ => return None,
        }
    }
    None
}

fn count(text: &[u8], limits: &Limits) -> Result<usize, ProtocolError> {
    let count = parse_i64(text).ok_or(ProtocolError::InvalidMultibulkLength)?;
    if count <= 0 {
        return Ok(0);
    }
    match usize::try_from(count) {
        Ok(count) if count <= limits.args_max => Ok(count),
        _ if limits.unauthenticated && count <= 1 << 20 => Err(ProtocolError::UnauthenticatedMultibulkLength),
        _ => Err(ProtocolError::InvalidMultibulkLength),
    }
}

fn length(text: &[u8], limits: &Limits) -> Result<usize, ProtocolError> {
    let len = parse_i64(text).ok_or(ProtocolError::InvalidBulkLength)?;
    match usize::try_from(len) {
        Ok(len) if len <= limits.bulk_max => Ok(len),
        Ok(len) if limits.unauthenticated && len <= 512 << 20 => {
            Err(ProtocolError::UnauthenticatedBulkLength)
        }
        _ => Err(ProtocolError::InvalidBulkLength),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(input: &[u8], limits: &Limits) -> Result<Vec<Vec<Vec<u8>>>, ProtocolError> {
        let mut parser = RequestParser::new();
        let (mut requests, mut at) = (Vec::new(), 0);
        while let Step::Request { consumed } = parser.next(&input[at..], limits)? {
            requests.push(parser.args(&input[at..]).map(<[u8]>::to_vec).collect());
            at += consumed;
        }
        Ok(requests)
    }

    fn refused(input: &[u8], limits: &Limits, expected: &str) {
        let error = all(input, limits).expect_err("this is no request");
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn requests_follow_each_other() {
        let input =
            b"*1\r\n$4\r\nPING\r\n*2\r\n$4\r\nECHO\r\n$0\r\n\r\nGET a\r\n*0\r\n*-1\r\n\r\nPING\n*1\r\n$1";
        let requests = all(input, &Limits::default()).expect("these are requests");
        let words: Vec<Vec<&[u8]>> = requests
            .iter()
            .map(|r| r.iter().map(Vec::as_slice).collect())
            .collect();
        let expected: Vec<Vec<&[u8]>> = vec![
            vec![b"PING"],
            vec![b"ECHO", b""],
            vec![b"GET", b"a"],
            vec![],
            vec![],
            vec![],
            vec![b"PING"],
        ];
        assert_eq!(words, expected);
    }

    #[test]
    fn what_is_no_request_is_refused_in_the_words_of_redis() {
        let limits = Limits::default();
        refused(b"*x\r\n", &limits, "Protocol error: invalid multibulk length");
        refused(
            b"*3000000000\r\n",
            &limits,
            "Protocol error: invalid multibulk length",
        );
        refused(b"*1\r\nx", &limits, "Protocol error: expected '$', got 'x'");
        refused(b"*1\r\n\r\n", &limits, "Protocol error: expected '$', got '\\r'");
        refused(b"*1\r\n$-1\r\n", &limits, "Protocol error: invalid bulk length");
        refused(
            b"*1\r\n$2000000000\r\n",
            &limits,
            "Protocol error: invalid bulk length",
        );
        refused(
            b"a \"b\r\n",
            &limits,
            "Protocol error: unbalanced quotes in request",
        );
        let endless = vec![b'1'; LINE_MAX + 10];
        refused(&endless, &limits, "Protocol error: too big inline request");
        refused(
            &[b"*", &endless[..]].concat(),
            &limits,
            "Protocol error: too big mbulk count string",
        );
        refused(
            &[b"*1\r\n$", &endless[..]].concat(),
            &limits,
            "Protocol error: too big bulk count string",
        );
    }

    #[test]
    fn numbers_are_read_the_same_in_both_ways() {
        let limits = Limits::default();
        for (text, expected) in [
            ("0", Some(0)),
            ("1", Some(1)),
            ("10", Some(10)),
            ("00", None),
            ("01", None),
            ("-1", None),
            ("+1", None),
            ("", None),
            ("1x", None),
            ("123456789", Some(123_456_789)),
        ] {
            let line = format!("{text}\r\n");
            let short = short_number(line.as_bytes(), 0).map(|(value, _)| value);
            assert_eq!(short, expected, "{text}");
            let long = length(text.as_bytes(), &limits).ok();
            assert_eq!(long, expected, "{text}");
        }
        // Too long for the short way, or not all there.
        for line in ["1234567890\r\n", "12", "12\r"] {
            assert_eq!(short_number(line.as_bytes(), 0), None, "{line}");
        }
    }

    #[test]
    fn somebody_unknown_gets_little() {
        let limits = Limits::unauthenticated();
        refused(
            b"*11\r\n",
            &limits,
            "Protocol error: unauthenticated multibulk length",
        );
        refused(
            b"*1\r\n$16385\r\n",
            &limits,
            "Protocol error: unauthenticated bulk length",
        );
        assert_eq!(all(b"*1\r\n$4\r\nPING\r\n", &limits).map(|r| r.len()), Ok(1));
    }

    #[test]
    fn announced_lengths_take_no_memory() {
        let mut parser = RequestParser::new();
        let step = parser.next(b"*1000000\r\n$536870912\r\nabc", &Limits::default());
        assert_eq!(step, Ok(Step::Incomplete));
        assert!(parser.args.capacity() < 16);
        assert_eq!(parser.needed(), 22 + 536_870_912 + 2);
    }

    #[test]
    fn memory_is_given_back_between_requests_and_not_within_one() {
        let count = 3 * SPARE_ARGS;
        let mut input = format!("*{count}\r\n").into_bytes();
        (0..count).for_each(|_| input.extend_from_slice(b"$1\r\nk\r\n"));
        let mut parser = RequestParser::new();
        let limits = Limits::default();
        for end in [input.len() / 2, input.len() - 1] {
            assert_eq!(parser.next(&input[..end], &limits), Ok(Step::Incomplete));
            parser.shrink();
        }
        let consumed = input.len();
        assert_eq!(parser.next(&input, &limits), Ok(Step::Request { consumed }));
        assert_eq!(parser.args(&input).len(), count);
        parser.shrink();
        assert_eq!(parser.args.capacity(), 0);
    }

    #[test]
    fn a_request_in_single_bytes_is_the_same() {
        let input = b"*2\r\n$3\r\nGET\r\n$5\r\nh\r\nlo\r\n";
        let mut parser = RequestParser::new();
        for end in 0..input.len() {
            assert_eq!(
                parser.next(&input[..end], &Limits::default()),
                Ok(Step::Incomplete),
                "{end}"
            );
        }
        let consumed = input.len();
        assert_eq!(
            parser.next(input, &Limits::default()),
            Ok(Step::Request { consumed })
        );
        assert!(parser.args(input).eq([&b"GET"[..], b"h\r\nlo"]));
    }
}
