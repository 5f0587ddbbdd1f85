//! A reply read back.

use crate::error::ProtocolError;
use crate::number::parse_i64;

/// How deep frames may lie in each other.
const DEPTH_MAX: usize = 64;

/// The longest line of a reply.
const LINE_MAX: usize = 1 << 20;

/// A reply, as a client reads it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Frame {
    /// A short text.
    Simple(String),
    /// An error.
    Error(String),
    /// An integer.
    Integer(i64),
    /// Bytes; a text with a format is that too.
    Bulk(Vec<u8>),
    /// No value.
    Null,
    /// A number with a fraction.
    Double(f64),
    /// Yes or no.
    Boolean(bool),
    /// An integer of any size.
    BigNumber(String),
    /// Elements.
    Array(Vec<Frame>),
    /// Keys and values.
    Map(Vec<(Frame, Frame)>),
    /// Different elements.
    Set(Vec<Frame>),
    /// A message that nobody asked for.
    Push(Vec<Frame>),
}

impl Frame {
    /// Reads the frame at the beginning of `input`, with the number of its bytes; `None` where it is not all there.
    ///
    /// It starts anew each time, so whoever expects large replies waits for many bytes before trying again.
    ///
    /// ```
    /// use weald_resp::Frame;
    ///
    /// assert_eq!(Frame::read(b":12\r\n+OK")?, Some((Frame::Integer(12), 5)));
    /// assert_eq!(Frame::read(b"$3\r\nab")?, None);
    /// # Ok::<(), weald_resp::ProtocolError>(())
    /// ```
    pub fn read(input: &[u8]) -> Result<Option<(Frame, usize)>, ProtocolError> {
        let mut reader = Reader { input, at: 0 };
        match reader.frame(0) {
            Ok(frame) => Ok(Some((frame, reader.at))),
            Err(Stop::Incomplete) => Ok(None),
            Err(Stop::Bad(why)) => Err(ProtocolError::BadFrame(why)),
        }
    }

    /// Its bytes, where it is a text.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Frame::Bulk(bytes) => Some(bytes),
            Frame::Simple(text) | Frame::BigNumber(text) | Frame::Error(text) => Some(text.as_bytes()),
            _ => None,
        }
    }
}

enum Stop {
    Incomplete,
    Bad(&'static str),
}

struct Reader<'a> {
    input: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn frame(&mut self, depth: usize) -> Result<Frame, Stop> {
        if depth > DEPTH_MAX {
            return Err(Stop::Bad("frames lie too deep in each other"));
        }
        let (kind, line) = self.line()?;
        Ok(match kind {
            b'+' => Frame::Simple(text(line)?),
            b'-' => Frame::Error(text(line)?),
            b':' => Frame::Integer(parse_i64(line).ok_or(Stop::Bad("a bad integer"))?),
            b'_' if line.is_empty() => Frame::Null,
            b'#' if line == b"t" => Frame::Boolean(true),
            b'#' if line == b"f" => Frame::Boolean(false),
            b',' => Frame::Double(double(line)?),
            b'(' => Frame::BigNumber(text(line)?),
            b'$' => match length(line)? {
                Some(len) => Frame::Bulk(self.bulk(len)?.to_vec()),
                None => Frame::Null,
            },
            b'=' => {
                let len = length(line)?.ok_or(Stop::Bad("a bad text"))?;
                let bytes = self.bulk(len)?;
                Frame::Bulk(
                    bytes
                        .get(4..)
                        .ok_or(Stop::Bad("a text without a format"))?
                        .to_vec(),
                )
            }
            b'*' => match length(line)? {
                Some(len) => Frame::Array(self.frames(len, depth)?),
                None => Frame::Null,
            },
            b'~' => Frame::Set(self.some_frames(line, depth)?),
            b'>' => Frame::Push(self.some_frames(line, depth)?),
            b'%' => {
                let len = length(line)?.ok_or(Stop::Bad("a bad map"))?;
                let mut pairs = Vec::new();
                for _ in 0..len {
                    pairs.push((self.frame(depth + 1)?, self.frame(depth + 1)?));
                }
                Frame::Map(pairs)
            }
            _ => return Err(Stop::Bad("an unknown type of frame")),
        })
    }

    fn some_frames(&mut self, line: &[u8], depth: usize) -> Result<Vec<Frame>, Stop> {
        let len = length(line)?.ok_or(Stop::Bad("a bad number of elements"))?;
        self.frames(len, depth)
    }

    fn frames(&mut self, len: usize, depth: usize) -> Result<Vec<Frame>, Stop> {
        // Grown by what is there, not by what was announced.
        let mut frames = Vec::new();
        for _ in 0..len {
            frames.push(self.frame(depth + 1)?);
        }
        Ok(frames)
    }

    fn line(&mut self) -> Result<(u8, &'a [u8]), Stop> {
        let rest = &self.input[self.at..];
        let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
            return Err(if rest.len() > LINE_MAX {
                Stop::Bad("a line does not end")
            } else {
                Stop::Incomplete
            });
        };
        let [kind, line @ .., b'\r'] = &rest[..end] else {
            return Err(Stop::Bad("a bad line"));
        };
        self.at += end + 1;
        Ok((*kind, line))
    }

    fn bulk(&mut self, len: usize) -> Result<&'a [u8], Stop> {
        let end = self.at.checked_add(len).ok_or(Stop::Bad("a bad length"))?;
        let bytes = self.input.get(self.at..end).ok_or(Stop::Incomplete)?;
        match self.input.get(end..end.saturating_add(2)) {
            Some(b"\r\n") => {}
            Some(_) => return Err(Stop::Bad("bytes that do not end where they were to")),
            None => return Err(Stop::Incomplete),
        }
        self.at = end + 2;
        Ok(bytes)
    }
}

fn text(line: &[u8]) -> Result<String, Stop> {
    String::from_utf8(line.to_vec()).or_else(|_| Ok(String::from_utf8_lossy(line).into_owned()))
}

fn double(line: &[u8]) -> Result<f64, Stop> {
    std::str::from_utf8(line)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or(Stop::Bad("a bad number"))
}

/// A length; `None` for the null of RESP2.
fn length(line: &[u8]) -> Result<Option<usize>, Stop> {
    match parse_i64(line) {
        Some(-1) => Ok(None),
        Some(len) => usize::try_from(len)
            .map(Some)
            .map_err(|_| Stop::Bad("a bad length")),
        None => Err(Stop::Bad("a bad length")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_is_read_and_no_prefix_of_it() {
        let bulk = |text: &str| Frame::Bulk(text.into());
        for (input, expected) in [
            ("+OK\r\n", Frame::Simple("OK".into())),
            ("-ERR x\r\n", Frame::Error("ERR x".into())),
            (":-3\r\n", Frame::Integer(-3)),
            ("$-1\r\n", Frame::Null),
            ("_\r\n", Frame::Null),
            ("$2\r\nhi\r\n", bulk("hi")),
            ("=6\r\ntxt:hi\r\n", bulk("hi")),
            (",1.5\r\n", Frame::Double(1.5)),
            ("#t\r\n", Frame::Boolean(true)),
            ("(12\r\n", Frame::BigNumber("12".into())),
            (
                "*2\r\n:1\r\n*0\r\n",
                Frame::Array(vec![Frame::Integer(1), Frame::Array(vec![])]),
            ),
            ("~1\r\n:1\r\n", Frame::Set(vec![Frame::Integer(1)])),
            (">1\r\n:1\r\n", Frame::Push(vec![Frame::Integer(1)])),
            (
                "%1\r\n$1\r\na\r\n:1\r\n",
                Frame::Map(vec![(bulk("a"), Frame::Integer(1))]),
            ),
        ] {
            assert_eq!(
                Frame::read(input.as_bytes()),
                Ok(Some((expected, input.len()))),
                "{input:?}"
            );
            for end in 0..input.len() {
                assert_eq!(
                    Frame::read(&input.as_bytes()[..end]),
                    Ok(None),
                    "{input:?} up to {end}"
                );
            }
        }
    }

    #[test]
    fn what_is_none_is_refused() {
        for input in ["?\r\n", ":x\r\n", "$-2\r\n", "+OK\n", "$1\r\nabc", "%-1\r\n"] {
            assert!(Frame::read(input.as_bytes()).is_err(), "{input:?}");
        }
        assert!(Frame::read("*1\r\n".repeat(100).as_bytes()).is_err());
        // Announced and not there: no memory is taken for it.
        assert_eq!(Frame::read(b"*4000000000\r\n:1\r\n"), Ok(None));
    }
}
