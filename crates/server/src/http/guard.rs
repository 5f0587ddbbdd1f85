//! Who asks, and whether a web page of somebody else makes the browser ask.
//!
//! A page may point a name of its own at this address and then read all that is answered; and it may send requests here with the password that the browser remembers.
//! So the name that is asked for must be one of ours, and what another page sends is refused. There is no header that lets other pages read answers.

use std::net::{IpAddr, SocketAddr};

use crate::handle::Caller;
use crate::http::encoding::base64_decoded;
use crate::http::request::Request;
use crate::http::response::Response;

/// Refuses requests under names of others, and those of pages of others.
pub(super) fn check(request: &Request, hosts: &[String]) -> Result<(), Response> {
    let host = request.header("host").unwrap_or_default();
    let host = String::from_utf8_lossy(host).to_ascii_lowercase();
    if !is_ours(&host, hosts) {
        return Err(Response::error(
            421,
            "HOST",
            "this server is not asked for under this name: see http-hosts",
        ));
    }
    let foreign = || Response::error(403, "ORIGIN", "pages of others may not ask");
    if let Some(origin) = request.header("origin") {
        let origin = String::from_utf8_lossy(origin).to_ascii_lowercase();
        // A proxy may speak TLS before this server, which sees the same name.
        let own = origin
            .strip_prefix("http://")
            .or_else(|| origin.strip_prefix("https://"));
        if own != Some(&host) {
            return Err(foreign());
        }
    }
    let site = request.header("sec-fetch-site");
    let reads = matches!(request.method.as_str(), "GET" | "HEAD");
    match site {
        None | Some(b"same-origin" | b"none") => Ok(()),
        // A link to the dashboard.
        Some(_) if reads && request.header("sec-fetch-mode") == Some(b"navigate") => Ok(()),
        Some(_) => Err(foreign()),
    }
}

/// Addresses are no names that anybody could point elsewhere.
fn is_ours(host: &str, hosts: &[String]) -> bool {
    if let Some(rest) = host.strip_prefix('[') {
        let Some((address, port)) = rest.split_once(']') else {
            return false;
        };
        return address.parse::<IpAddr>().is_ok() && is_port(port);
    }
    let (name, port) = match host.find(':') {
        Some(at) => host.split_at(at),
        None => (host, ""),
    };
    let known =
        name == "localhost" || name.parse::<IpAddr>().is_ok() || hosts.iter().any(|ours| ours == name);
    known && is_port(port)
}

fn is_port(text: &str) -> bool {
    text.is_empty()
        || text
            .strip_prefix(':')
            .is_some_and(|port| port.parse::<u16>().is_ok())
}

/// Who asks: `Basic` with a user's name and password, or `Bearer` with the password of the user default, or that of `name:password`.
pub(super) fn caller(request: &Request, peer: SocketAddr) -> Result<Caller, Response> {
    let wrong = || Response::error(401, "WRONGPASS", "the Authorization can't be read");
    let login = match request.header("authorization") {
        None => None,
        Some(value) => {
            let at = value.iter().position(|byte| *byte == b' ').ok_or_else(wrong)?;
            let (scheme, rest) = (&value[..at], value[at..].trim_ascii());
            let pair = if scheme.eq_ignore_ascii_case(b"basic") {
                base64_decoded(rest).ok_or_else(wrong)?
            } else if scheme.eq_ignore_ascii_case(b"bearer") {
                rest.to_vec()
            } else {
                return Err(wrong());
            };
            let colon = pair.iter().position(|byte| *byte == b':');
            let (name, password) = match colon {
                Some(at) => (pair[..at].to_vec(), pair[at + 1..].to_vec()),
                None => (Vec::new(), pair),
            };
            let name = if name.is_empty() {
                b"default".to_vec()
            } else {
                name
            };
            Some((name, password))
        }
    };
    Ok(Caller {
        login,
        db: request.number("db", 0, 15)? as u32,
        peer: peer.to_string(),
        is_local: peer.ip().is_loopback(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_and_our_names_are_ours() {
        let hosts = ["db.example".to_owned()];
        for host in [
            "localhost",
            "localhost:1",
            "127.0.0.1:8379",
            "[::1]:80",
            "10.0.0.1",
            "db.example:80",
        ] {
            assert!(is_ours(host, &hosts), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil",
            "[::1",
            "[x]:1",
            "localhost:x",
            "a@localhost",
        ] {
            assert!(!is_ours(host, &hosts), "{host}");
        }
    }
}
