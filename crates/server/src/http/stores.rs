//! Buckets, trees and proofs.

use weald_resp::Frame;

use crate::http::encoding::base64;
use crate::http::json::Json;
use crate::http::request::Request;
use crate::http::response::Response;
use crate::http::routes::{Answer, Asker, absent, command, read_only, whole};

fn path(request: &Request) -> &[u8] {
    request.parameter("path").unwrap_or_default()
}

fn done(asker: &Asker<'_>, args: Vec<Vec<u8>>) -> Answer {
    match asker.run_all(&[args])?.first() {
        Some(frame) => whole(frame),
        None => Err(absent("there is no answer")),
    }
}

/// What a key holds; 404 where it is not there.
fn held(asker: &Asker<'_>, args: &[&[u8]]) -> Answer {
    match asker.run(args)? {
        Frame::Null => Err(absent("there is no such key")),
        frame => whole(&frame),
    }
}

/// Adds parameters that are there as words with values, and those of `flags` as words.
fn with_options(mut args: Vec<Vec<u8>>, request: &Request, words: &[&str], flags: &[&str]) -> Vec<Vec<u8>> {
    for word in words {
        if let Some(value) = request.parameter(word) {
            args.extend(command(&[word.as_bytes(), value]));
        }
    }
    let given = flags.iter().filter(|flag| request.parameter(flag).is_some());
    args.extend(given.map(|flag| flag.as_bytes().to_vec()));
    args
}

/// Keys and values, which the reply has in turn.
fn pairs(asker: &Asker<'_>, args: Vec<Vec<u8>>) -> Answer {
    let frames = asker.run_all(&[args])?;
    let mut json = Json::default();
    json.object(|json| {
        json.array_at("entries", |json| {
            if let Some(Frame::Array(flat)) = frames.first() {
                for pair in flat.chunks(2) {
                    json.array(|json| pair.iter().for_each(|frame| json.frame(frame)));
                }
            }
        });
    });
    Ok(Response::json(json))
}

/// `/api/v1/buckets…`
pub(super) fn buckets(request: &Request, asker: &Asker<'_>, rest: &[&[u8]]) -> Answer {
    const NAME: &[u8] = b"WEALD.BUCKET";
    let path = path(request);
    match (rest, request.method.as_str()) {
        ([], "GET" | "HEAD") => whole(&asker.run(&[NAME, b"LIST", path])?),
        ([], "PUT") => whole(&asker.run(&[NAME, b"CREATE", path])?),
        ([], "DELETE") => whole(&asker.run(&[NAME, b"DROP", path])?),
        ([], _) => Err(Response::not_allowed("GET, HEAD, PUT, DELETE")),
        ([b"entries"], _) => read_only(request, || {
            let args = command(&[NAME, b"SCAN", path]);
            let words = ["from", "to", "prefix", "count"];
            pairs(asker, with_options(args, request, &words, &["rev"]))
        }),
        ([b"entry"], "GET" | "HEAD") => held(asker, &[NAME, b"GET", path, request.needed("key")?]),
        ([b"entry"], "PUT") => {
            whole(&asker.run(&[NAME, b"PUT", path, request.needed("key")?, &request.body])?)
        }
        ([b"entry"], "DELETE") => whole(&asker.run(&[NAME, b"DEL", path, request.needed("key")?])?),
        ([b"entry"], _) => Err(Response::not_allowed("GET, HEAD, PUT, DELETE")),
        _ => Err(absent("there is no such route")),
    }
}

/// `/api/v1/trees…`
pub(super) fn trees(request: &Request, asker: &Asker<'_>, rest: &[&[u8]]) -> Answer {
    const NAME: &[u8] = b"WEALD.TREE";
    const WORDS: [&str; 6] = ["key", "prefix", "from", "to", "offset", "limit"];
    let path = path(request);
    match (rest, request.method.as_str()) {
        ([], "PUT") => {
            let kind = request.parameter("kind").unwrap_or(b"plain");
            whole(&asker.run(&[NAME, b"CREATE", path, kind])?)
        }
        ([], "DELETE") => whole(&asker.run(&[NAME, b"DROP", path])?),
        ([], _) => Err(Response::not_allowed("PUT, DELETE")),
        ([b"root"], _) => read_only(request, || whole(&asker.run(&[NAME, b"ROOT"])?)),
        ([b"query"], _) => read_only(request, || {
            let args = with_options(
                command(&[NAME, b"QUERY", path]),
                request,
                &WORDS,
                &["rev", "totals"],
            );
            if request.parameter("totals").is_some() {
                return done(asker, args);
            }
            pairs(asker, args)
        }),
        ([b"prove"], _) => read_only(request, || {
            let args = with_options(
                command(&[NAME, b"PROVE", path]),
                request,
                &WORDS,
                &["rev", "totals"],
            );
            proof(asker, args)
        }),
        ([b"entry"], "GET" | "HEAD") => held(asker, &[NAME, b"GET", path, request.needed("key")?]),
        ([b"entry"], "PUT") => {
            let mut args = command(&[NAME, b"PUT", path, request.needed("key")?]);
            match (request.parameter("sum"), request.parameter("ref")) {
                (Some(number), _) => args.extend(command(&[b"SUM", number])),
                (None, Some(other)) => args.extend(command(&[b"REF", other])),
                (None, None) => args.push(request.body.clone()),
            }
            done(asker, args)
        }
        ([b"entry"], "DELETE") => whole(&asker.run(&[NAME, b"DEL", path, request.needed("key")?])?),
        ([b"entry"], _) => Err(Response::not_allowed("GET, HEAD, PUT, DELETE")),
        _ => Err(absent("there is no such route")),
    }
}

fn proof(asker: &Asker<'_>, args: Vec<Vec<u8>>) -> Answer {
    let frames = asker.run_all(&[args])?;
    let Some(Frame::Array(parts)) = frames.first() else {
        return Err(absent("there is no proof"));
    };
    let mut json = Json::default();
    json.object(|json| {
        if let [root, proof] = &parts[..] {
            json.name("root").frame(root);
            json.text_at("proof_base64", &base64(proof.as_bytes().unwrap_or_default()));
        }
    });
    Ok(Response::json(json))
}
