//! Keys: the list of them, and one with its value.

use weald_resp::Frame;

use crate::http::json::Json;
use crate::http::request::Request;
use crate::http::response::Response;
use crate::http::routes::{Answer, Asker, absent, command};

/// Bytes of a string that one answer has at most, unless they are asked for raw.
const PREVIEW: usize = 64 << 10;

fn unexpected() -> Response {
    Response::error(500, "REPLY", "the server answered something else")
}

/// The cursor and the elements of a scan.
fn scanned(frame: Frame) -> Result<(String, Vec<Frame>), Response> {
    let Frame::Array(parts) = frame else {
        return Err(unexpected());
    };
    let mut parts = parts.into_iter();
    match (parts.next(), parts.next()) {
        (Some(cursor), Some(Frame::Array(elements))) => {
            let cursor = cursor.as_bytes().map(String::from_utf8_lossy);
            Ok((cursor.ok_or_else(unexpected)?.into_owned(), elements))
        }
        _ => Err(unexpected()),
    }
}

/// `GET /api/v1/keys?cursor=&pattern=&type=&count=`
pub(super) fn list(request: &Request, asker: &Asker<'_>) -> Answer {
    let cursor = request.parameter("cursor").unwrap_or(b"0");
    let count = request.number("count", 50, 500)?.max(1).to_string();
    let mut scan = command(&[b"SCAN", cursor, b"COUNT", count.as_bytes()]);
    for (word, name) in [(&b"MATCH"[..], "pattern"), (b"TYPE", "type")] {
        if let Some(value) = request.parameter(name).filter(|value| !value.is_empty()) {
            scan.extend(command(&[word, value]));
        }
    }
    let mut frames = asker.run_all(&[scan])?;
    let (cursor, found) = scanned(frames.pop().ok_or_else(unexpected)?)?;
    let keys: Vec<&[u8]> = found.iter().filter_map(Frame::as_bytes).collect();
    let asked: Vec<_> = keys
        .iter()
        .flat_map(|key| [command(&[b"TYPE", key]), command(&[b"PTTL", key])])
        .collect();
    let details = asker.run_all(&asked)?;
    let mut json = Json::default();
    json.object(|json| {
        json.text_at("cursor", &cursor);
        json.array_at("keys", |json| {
            for (key, detail) in keys.iter().zip(details.chunks(2)) {
                json.object(|json| {
                    json.name("key").bytes(key);
                    json.name("type").frame(&detail[0]);
                    write_ttl(json, &detail[1]);
                });
            }
        });
    });
    Ok(Response::json(json))
}

fn write_ttl(json: &mut Json, ttl: &Frame) {
    match ttl {
        Frame::Integer(ms) if *ms >= 0 => json.number_at("ttl_ms", *ms),
        _ => json.name("ttl_ms").raw("null"),
    }
}

/// `/api/v1/keys/KEY`
pub(super) fn one(request: &Request, asker: &Asker<'_>, key: &[u8]) -> Answer {
    match request.method.as_str() {
        "GET" | "HEAD" if request.parameter("raw").is_some() => match asker.run(&[b"GET", key])? {
            Frame::Bulk(bytes) => Ok(Response::new(200, "application/octet-stream", bytes)),
            _ => Err(absent("there is no such key")),
        },
        "GET" | "HEAD" => show(request, asker, key),
        "PUT" => put(request, asker, key),
        "DELETE" => match asker.run(&[b"DEL", key])? {
            Frame::Integer(0) => Err(absent("there is no such key")),
            _ => result(true),
        },
        _ => Err(Response::not_allowed("GET, HEAD, PUT, DELETE")),
    }
}

fn result(done: bool) -> Answer {
    let mut json = Json::default();
    json.object(|json| json.name("result").raw(if done { "true" } else { "false" }));
    Ok(Response::json(json))
}

/// The body is the value, as it is.
fn put(request: &Request, asker: &Asker<'_>, key: &[u8]) -> Answer {
    let mut set = command(&[b"SET", key, &request.body]);
    let ttl_ms = request.number("ttl_ms", 0, i64::MAX as u64)?;
    if request.parameter("ttl_ms").is_some() {
        set.extend(command(&[b"PX", ttl_ms.to_string().as_bytes()]));
    }
    match request.parameter("if") {
        None => {}
        Some(b"absent") => set.push(b"NX".to_vec()),
        Some(b"present") => set.push(b"XX".to_vec()),
        Some(_) => {
            return Err(Response::error(
                400,
                "BADREQUEST",
                "the parameter if is absent or present",
            ));
        }
    }
    match asker.run_all(&[set])?.pop() {
        Some(Frame::Null) => Err(Response::error(409, "CONDITION", "the key is not as asked for")),
        _ => result(true),
    }
}

fn show(request: &Request, asker: &Asker<'_>, key: &[u8]) -> Answer {
    let asked = [
        command(&[b"TYPE", key]),
        command(&[b"PTTL", key]),
        command(&[b"OBJECT", b"ENCODING", key]),
    ];
    let kind_only = asker.run(&[b"TYPE", key])?;
    let kind = kind_only.as_bytes().unwrap_or_default();
    if kind == b"none" {
        return Err(absent("there is no such key"));
    }
    let details = asker.run_all(&asked)?;
    let [_, ttl, encoding] = &details[..] else {
        return Err(unexpected());
    };
    let cursor = request.parameter("cursor").unwrap_or(b"0");
    let count = request.number("count", 100, 1000)?.max(1);
    let offset = request.number("offset", 0, i64::MAX as u64 / 2)?;
    let (from, to) = (offset.to_string(), (offset + count - 1).to_string());
    let (from, to, count) = (from.as_bytes(), to.as_bytes(), count.to_string());
    let end = (PREVIEW - 1).to_string();
    let (len, value): (&[u8], Vec<Vec<u8>>) = match kind {
        b"string" => (b"STRLEN", command(&[b"GETRANGE", key, b"0", end.as_bytes()])),
        b"list" => (b"LLEN", command(&[b"LRANGE", key, from, to])),
        b"hash" => (
            b"HLEN",
            command(&[b"HSCAN", key, cursor, b"COUNT", count.as_bytes()]),
        ),
        b"set" => (
            b"SCARD",
            command(&[b"SSCAN", key, cursor, b"COUNT", count.as_bytes()]),
        ),
        b"zset" => (b"ZCARD", command(&[b"ZRANGE", key, from, to, b"WITHSCORES"])),
        _ => {
            return Err(Response::error(
                409,
                "WRONGTYPE",
                "a key of this type can't be shown",
            ));
        }
    };
    let mut frames = asker.run_all(&[command(&[len, key]), value])?.into_iter();
    let (Some(len), Some(value)) = (frames.next(), frames.next()) else {
        return Err(unexpected());
    };
    let (next, value) = match kind {
        b"hash" | b"set" => {
            let (next, elements) = scanned(value)?;
            (Some(next), Frame::Array(elements))
        }
        _ => (None, value),
    };
    let mut json = Json::default();
    json.object(|json| {
        json.name("key").bytes(key);
        json.name("type").bytes(kind);
        write_ttl(json, ttl);
        json.name("encoding").frame(encoding);
        json.name("length").frame(&len);
        if let Some(next) = &next {
            json.text_at("cursor", next);
        }
        match (kind, &value) {
            (b"hash", Frame::Array(flat)) => json.array_at("value", |json| {
                for pair in flat.chunks(2) {
                    json.array(|json| pair.iter().for_each(|frame| json.frame(frame)));
                }
            }),
            _ => json.name("value").frame(&value),
        }
    });
    Ok(Response::json(json))
}
