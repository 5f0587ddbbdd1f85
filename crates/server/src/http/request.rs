//! A request, read from the bytes that came so far.

use crate::http::encoding::percent_decoded;
use crate::http::response::Response;

/// The longest head: first line and headers.
const HEAD_MAX: usize = 16 << 10;
/// The most headers.
const HEADERS_MAX: usize = 64;
/// The longest body, and so the longest value that is set over HTTP.
pub(super) const BODY_MAX: usize = 8 << 20;

/// A request, all of it.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) method: String,
    /// Segments of the path, decoded.
    pub(super) path: Vec<Vec<u8>>,
    query: Vec<(Vec<u8>, Vec<u8>)>,
    /// Names in small letters.
    headers: Vec<(String, Vec<u8>)>,
    pub(super) body: Vec<u8>,
    pub(super) keep_alive: bool,
}

/// What is in the bytes.
pub(super) enum Step {
    /// A request, and how many bytes it has.
    Request(Box<Request>, usize),
    /// Not all of one. Perhaps the client waits to be told to send the body.
    Incomplete { wants_continue: bool },
}

fn bad(why: &str) -> Response {
    Response::error(400, "BADREQUEST", why)
}

impl Request {
    /// The request at the beginning of `input`; how to answer what is none.
    pub(super) fn parse(input: &[u8]) -> Result<Step, Response> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut parsed = httparse::Request::new(&mut headers);
        let too_long = || Response::error(431, "TOOLONG", "the head of the request is too long");
        let head_len = match parsed.parse(&input[..input.len().min(HEAD_MAX)]) {
            Ok(httparse::Status::Complete(len)) => len,
            Ok(httparse::Status::Partial) if input.len() >= HEAD_MAX => return Err(too_long()),
            Ok(httparse::Status::Partial) => {
                return Ok(Step::Incomplete {
                    wants_continue: false,
                });
            }
            Err(httparse::Error::TooManyHeaders) => return Err(too_long()),
            Err(e) => return Err(bad(&format!("this is no request of HTTP: {e}"))),
        };
        let mut request = Request {
            method: parsed.method.unwrap_or_default().to_owned(),
            path: Vec::new(),
            query: Vec::new(),
            headers: parsed
                .headers
                .iter()
                .map(|header| (header.name.to_ascii_lowercase(), header.value.to_vec()))
                .collect(),
            body: Vec::new(),
            keep_alive: parsed.version == Some(1),
        };
        request.read_target(parsed.path.unwrap_or_default())?;
        let len = request.body_len()?;
        request.read_connection()?;
        let Some(body) = input[head_len..].get(..len) else {
            let expects = request.header("expect").is_some();
            return Ok(Step::Incomplete {
                wants_continue: expects && input.len() == head_len,
            });
        };
        request.body = body.to_vec();
        Ok(Step::Request(Box::new(request), head_len + len))
    }

    fn read_target(&mut self, target: &str) -> Result<(), Response> {
        let wrong = || bad("the path of the request can't be read");
        let target = target.split('#').next().unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let path = path.strip_prefix('/').ok_or_else(wrong)?;
        for segment in path.split('/') {
            self.path
                .push(percent_decoded(segment.as_bytes(), false).ok_or_else(wrong)?);
        }
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let decoded = |text: &str| percent_decoded(text.as_bytes(), true).ok_or_else(wrong);
            self.query.push((decoded(name)?, decoded(value)?));
        }
        Ok(())
    }

    fn body_len(&self) -> Result<usize, Response> {
        if self.header("transfer-encoding").is_some() {
            return Err(Response::error(
                411,
                "LENGTHREQUIRED",
                "a body needs a Content-Length",
            ));
        }
        let mut lengths = self.all("content-length");
        let Some(length) = lengths.next() else {
            return Ok(0);
        };
        let digits = |value: &[u8]| !value.is_empty() && value.iter().all(u8::is_ascii_digit);
        // Two lengths are how requests are smuggled past a proxy.
        if lengths.next().is_some() || !digits(length) {
            return Err(bad("the Content-Length can't be read"));
        }
        let text = std::str::from_utf8(length).map_err(|_| bad("the Content-Length can't be read"))?;
        match text.parse() {
            Ok(len) if len <= BODY_MAX => Ok(len),
            _ => Err(Response::error(
                413,
                "TOOLARGE",
                &format!("a body has at most {BODY_MAX} bytes"),
            )),
        }
    }

    fn read_connection(&mut self) -> Result<(), Response> {
        if let Some(connection) = self.header("connection") {
            let connection = connection.to_ascii_lowercase();
            let says = |word: &str| {
                connection
                    .split(|byte| *byte == b',')
                    .any(|part| part.trim_ascii() == word.as_bytes())
            };
            let keep = if self.keep_alive {
                !says("close")
            } else {
                says("keep-alive")
            };
            self.keep_alive = keep;
        }
        match self.all("host").count() {
            1 => Ok(()),
            _ => Err(bad("there must be one Host")),
        }
    }

    /// The value of a header, by its name in small letters.
    pub(super) fn header(&self, name: &str) -> Option<&[u8]> {
        let mut found = self.headers.iter().filter(|(other, _)| other == name);
        found.next().map(|(_, value)| value.as_slice())
    }

    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.headers
            .iter()
            .filter(move |(other, _)| other == name)
            .map(|(_, value)| value.as_slice())
    }

    /// A parameter.
    pub(super) fn parameter(&self, name: &str) -> Option<&[u8]> {
        self.query
            .iter()
            .find(|(other, _)| other == name.as_bytes())
            .map(|(_, value)| value.as_slice())
    }

    /// A parameter that must be there.
    pub(super) fn needed(&self, name: &str) -> Result<&[u8], Response> {
        self.parameter(name)
            .ok_or_else(|| bad(&format!("the parameter {name} is missing")))
    }

    /// A parameter that is a number.
    pub(super) fn number(&self, name: &str, default: u64, max: u64) -> Result<u64, Response> {
        let Some(value) = self.parameter(name) else {
            return Ok(default);
        };
        std::str::from_utf8(value)
            .ok()
            .and_then(|text| text.parse().ok())
            .filter(|number| *number <= max)
            .ok_or_else(|| bad(&format!("the parameter {name} must be a number up to {max}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(input: &[u8]) -> u16 {
        match Request::parse(input) {
            Ok(Step::Request(..)) => 200,
            Ok(Step::Incomplete { .. }) => 0,
            Err(response) => response.status(),
        }
    }

    #[test]
    fn a_request_is_read_from_all_of_its_bytes_and_from_no_prefix() {
        let input =
            b"PUT /api/v1/keys/a%2Fb%00?ttl_ms=5&x=+y HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabcGET";
        for end in 0..input.len() - 3 {
            assert_eq!(status(&input[..end]), 0, "up to {end}");
        }
        let Ok(Step::Request(request, consumed)) = Request::parse(input) else {
            panic!("it is one");
        };
        assert_eq!(consumed, input.len() - 3);
        assert_eq!(request.path.last().map(Vec::as_slice), Some(&b"a/b\0"[..]));
        assert_eq!(request.parameter("x"), Some(&b" y"[..]));
        assert_eq!(request.body, b"abc");
        assert!(request.keep_alive);
    }

    #[test]
    fn what_is_none_is_refused_with_its_reason() {
        for (input, expected) in [
            ("\0\0\0", 400),
            ("GET / HTTP/1.1\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
            ("GET nothing HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", 400),
            (
                "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
                400,
            ),
            (
                "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n",
                413,
            ),
            (
                "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
                411,
            ),
        ] {
            assert_eq!(status(input.as_bytes()), expected, "{input:?}");
        }
        let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "a: b\r\n".repeat(100));
        assert_eq!(status(many.as_bytes()), 431);
        let long = format!("GET /{} HTTP/1.1\r\n", "a".repeat(HEAD_MAX));
        assert_eq!(status(long.as_bytes()), 431);
    }
}
