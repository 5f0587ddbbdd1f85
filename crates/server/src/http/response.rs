//! An answer.

use crate::http::json::Json;

/// Only what this server itself sends is run or shown, in no frame of others.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// An answer.
#[derive(Debug)]
pub(super) struct Response {
    status: u16,
    kind: &'static str,
    body: std::borrow::Cow<'static, [u8]>,
    allow: Option<&'static str>,
}

impl Response {
    pub(super) fn json(json: Json) -> Response {
        Response::new(200, "application/json", json.into_bytes())
    }

    pub(super) fn text(status: u16, text: &str) -> Response {
        Response::new(status, "text/plain; charset=utf-8", text.as_bytes().to_vec())
    }

    pub(super) fn new(
        status: u16,
        kind: &'static str,
        body: impl Into<std::borrow::Cow<'static, [u8]>>,
    ) -> Response {
        Response {
            status,
            kind,
            body: body.into(),
            allow: None,
        }
    }

    /// An error, as JSON: a word for programs and a sentence for people.
    pub(super) fn error(status: u16, code: &str, message: &str) -> Response {
        let mut json = Json::default();
        json.object(|error| {
            error.object_at("error", |error| {
                error.text_at("code", code);
                error.text_at("message", message);
            });
        });
        Response::new(status, "application/json", json.into_bytes())
    }

    /// The method is none of these.
    pub(super) fn not_allowed(allow: &'static str) -> Response {
        let mut response = Response::error(405, "METHOD", &format!("here one can {allow}"));
        response.allow = Some(allow);
        response
    }

    #[cfg(test)]
    pub(super) fn status(&self) -> u16 {
        self.status
    }

    pub(super) fn body(&self) -> &[u8] {
        &self.body
    }

    /// The first line and the headers.
    pub(super) fn head(&self, keep: bool) -> Vec<u8> {
        let reason = match self.status {
            200 => "OK",
            201 => "Created",
            400 => "Bad Request",
            401 => "Unauthorized",
            403 => "Forbidden",
            404 => "Not Found",
            405 => "Method Not Allowed",
            408 => "Request Timeout",
            409 => "Conflict",
            411 => "Length Required",
            413 => "Content Too Large",
            421 => "Misdirected Request",
            431 => "Request Header Fields Too Large",
            503 => "Service Unavailable",
            _ => "Internal Server Error",
        };
        let mut head = format!(
            "HTTP/1.1 {} {reason}\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: {}\r\nCache-Control: no-store\r\nContent-Security-Policy: {POLICY}\r\nX-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\nCross-Origin-Resource-Policy: same-origin\r\n",
            self.status,
            self.kind,
            self.body.len(),
            if keep { "keep-alive" } else { "close" },
        );
        if self.status == 401 {
            head.push_str("WWW-Authenticate: Basic realm=\"Weald\", charset=\"UTF-8\"\r\n");
        }
        if let Some(allow) = self.allow {
            head.push_str(&format!("Allow: {allow}\r\n"));
        }
        head.push_str("\r\n");
        head.into_bytes()
    }
}
