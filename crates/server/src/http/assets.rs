//! The dashboard's files, which lie in the program.

use crate::http::response::Response;

/// The file of this name.
pub(super) fn find(name: &[u8]) -> Option<Response> {
    let (kind, bytes): (_, &'static [u8]) = match name {
        b"" | b"index.html" => (
            "text/html; charset=utf-8",
            include_bytes!("../../assets/index.html"),
        ),
        b"dashboard.css" => (
            "text/css; charset=utf-8",
            include_bytes!("../../assets/dashboard.css"),
        ),
        b"dashboard.js" => (
            "text/javascript; charset=utf-8",
            include_bytes!("../../assets/dashboard.js"),
        ),
        b"chart.js" => (
            "text/javascript; charset=utf-8",
            include_bytes!("../../assets/chart.js"),
        ),
        b"icon.svg" => ("image/svg+xml", include_bytes!("../../assets/icon.svg")),
        _ => return None,
    };
    Some(Response::new(200, kind, bytes))
}
