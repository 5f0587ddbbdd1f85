//! Which request is answered by what.

use std::net::SocketAddr;

use weald_resp::Frame;

use crate::handle::{Caller, HandleError};
use crate::http::json::Json;
use crate::http::request::Request;
use crate::http::response::Response;
use crate::http::{Shared, assets, guard, keys, metrics, stores};

/// An answer, or the error that is one.
pub(super) type Answer = Result<Response, Response>;

/// Runs commands for who asks.
pub(super) struct Asker<'a> {
    pub(super) shared: &'a Shared,
    caller: Caller,
}

/// An argument list.
pub(super) fn command(args: &[&[u8]]) -> Vec<Vec<u8>> {
    args.iter().map(|arg| arg.to_vec()).collect()
}

impl Asker<'_> {
    /// Runs commands, each of which must go well.
    pub(super) fn run_all(&self, commands: &[Vec<Vec<u8>>]) -> Result<Vec<Frame>, Response> {
        let frames = self.shared.handle.run_for(&self.caller, commands);
        let frames = frames.map_err(|e| {
            let code = match e {
                HandleError::Ended => "ENDED",
                HandleError::Late => "LATE",
            };
            Response::error(503, code, &e.to_string())
        })?;
        match frames.iter().find_map(refused) {
            Some(response) => Err(response),
            None => Ok(frames),
        }
    }

    pub(super) fn run(&self, args: &[&[u8]]) -> Result<Frame, Response> {
        let mut frames = self.run_all(&[command(args)])?;
        frames
            .pop()
            .ok_or_else(|| Response::error(500, "REPLY", "the server did not answer"))
    }
}

/// The answer for a reply that is an error.
fn refused(frame: &Frame) -> Option<Response> {
    let Frame::Error(text) = frame else {
        return None;
    };
    let (code, message) = text.split_once(' ').unwrap_or(("ERR", text));
    let status = match code {
        "NOAUTH" | "WRONGPASS" => 401,
        "NOPERM" | "DENIED" => 403,
        "WRONGTYPE" => 409,
        "MISCONF" | "LOADING" | "OOM" | "BUSY" | "READONLY" | "NOREPLICAS" | "NOTREADY" | "OVERLOADED"
        | "CONTENDED" | "UNKNOWN" | "STOPPED" => 503,
        _ => 400,
    };
    Some(Response::error(status, code, message))
}

/// Answers a request.
pub(super) fn answer(request: &Request, peer: SocketAddr, shared: &Shared) -> Response {
    route(request, peer, shared).unwrap_or_else(|response| response)
}

fn route(request: &Request, peer: SocketAddr, shared: &Shared) -> Answer {
    let path: Vec<&[u8]> = request.path.iter().map(Vec::as_slice).collect();
    // Probes ask by whatever name they have, and learn nothing else.
    match path[..] {
        [b"healthz"] => return read_only(request, || Ok(Response::text(200, "ok\n"))),
        [b"readyz"] => return read_only(request, || Ok(readiness(shared))),
        _ => {}
    }
    guard::check(request, &shared.hosts)?;
    if let [name] = path[..]
        && let Some(file) = assets::find(name)
    {
        return read_only(request, || Ok(file));
    }
    if !shared.handle.is_serving() {
        return Err(Response::error(503, "RECOVERING", RECOVERING));
    }
    let asker = Asker {
        shared,
        caller: guard::caller(request, peer)?,
    };
    match path[..] {
        [b"metrics"] => read_only(request, || metrics::page(&asker)),
        [b"api", b"v1", ref rest @ ..] => api(request, &asker, rest),
        _ => Err(absent("there is nothing here")),
    }
}

pub(super) fn absent(what: &str) -> Response {
    Response::error(404, "ABSENT", what)
}

pub(super) fn read_only(request: &Request, answer: impl FnOnce() -> Answer) -> Answer {
    match request.method.as_str() {
        "GET" | "HEAD" => answer(),
        _ => Err(Response::not_allowed("GET, HEAD")),
    }
}

fn api(request: &Request, asker: &Asker<'_>, path: &[&[u8]]) -> Answer {
    match *path {
        [b"stats"] => read_only(request, || metrics::stats(asker)),
        [b"clients"] => read_only(request, || clients(asker)),
        [b"slowlog"] => read_only(request, || slowlog(request, asker)),
        [b"cluster"] => read_only(request, || whole(&asker.run(&[b"CLUSTER", b"STATUS"])?)),
        [b"cluster", b"partitions"] => {
            read_only(request, || whole(&asker.run(&[b"CLUSTER", b"PARTITIONS"])?))
        }
        [b"cluster", b"events"] => {
            let after = request.number("after", 0, i64::MAX as u64)?.to_string();
            read_only(request, || {
                whole(&asker.run(&[b"CLUSTER", b"EVENTS", after.as_bytes()])?)
            })
        }
        [b"checkpoint"] => match request.method.as_str() {
            "POST" => whole(&asker.run(&[b"WEALD.CHECKPOINT"])?),
            _ => Err(Response::not_allowed("POST")),
        },
        [b"keys"] => read_only(request, || keys::list(request, asker)),
        [b"keys", key] => keys::one(request, asker, key),
        [b"buckets", ref rest @ ..] => stores::buckets(request, asker, rest),
        [b"trees", ref rest @ ..] => stores::trees(request, asker, rest),
        _ => Err(absent("there is no such route")),
    }
}

/// A reply as the whole answer.
pub(super) fn whole(frame: &Frame) -> Answer {
    let mut json = Json::default();
    json.object(|json| json.name("result").frame(frame));
    Ok(Response::json(json))
}

/// What is told before commands are answered.
const RECOVERING: &str = "the data are being opened";

/// Whether it answers commands, and writes can be committed; of a node, whether it serves.
fn readiness(shared: &Shared) -> Response {
    if !shared.handle.is_serving() {
        return Response::text(503, &format!("{RECOVERING}\n"));
    }
    let says = |command: &[&str], line: &str| {
        let frame = shared.handle.run(command)?;
        let text = frame.as_bytes().map(String::from_utf8_lossy).unwrap_or_default();
        Ok::<bool, HandleError>(text.contains(line))
    };
    let looked = || {
        Ok::<_, HandleError>(if !says(&["INFO", "persistence"], "aof_last_write_status:ok")? {
            Response::text(503, "writes fail\n")
        } else if says(&["CLUSTER", "INFO"], "cluster_state:fail")? {
            Response::text(503, "the node does not serve: too few of its peers know it\n")
        } else {
            Response::text(200, "ready\n")
        })
    };
    looked().unwrap_or_else(|e| Response::text(503, &format!("{e}\n")))
}

fn clients(asker: &Asker<'_>) -> Answer {
    let list = asker.run(&[b"CLIENT", b"LIST"])?;
    let text = String::from_utf8_lossy(list.as_bytes().unwrap_or_default()).into_owned();
    let mut json = Json::default();
    json.object(|json| {
        json.array_at("clients", |json| {
            for line in text.lines().filter(|line| !line.is_empty()) {
                json.object(|json| {
                    for (name, value) in line.split(' ').filter_map(|field| field.split_once('=')) {
                        json.text_at(name, value);
                    }
                });
            }
        });
    });
    Ok(Response::json(json))
}

fn slowlog(request: &Request, asker: &Asker<'_>) -> Answer {
    let count = request.number("count", 50, 1000)?.to_string();
    let Frame::Array(entries) = asker.run(&[b"SLOWLOG", b"GET", count.as_bytes()])? else {
        return Err(Response::error(500, "REPLY", "the slow log can't be read"));
    };
    let mut json = Json::default();
    json.object(|json| {
        json.array_at("commands", |json| {
            for entry in &entries {
                let Frame::Array(fields) = entry else {
                    continue;
                };
                json.object(|json| {
                    let names = [
                        "id",
                        "unix_seconds",
                        "microseconds",
                        "arguments",
                        "client",
                        "client_name",
                    ];
                    for (name, field) in names.iter().zip(fields) {
                        json.name(name).frame(field);
                    }
                });
            }
        });
    });
    Ok(Response::json(json))
}
