//! Transcripts that people read: what nodes, clients and messages say, in a few words each.

use weald_cluster_proto::{
    Body, Bytes, Entry, Event, Expect, Found, Message, NodeId, Origin, Record, Reply, Request, Verdict,
    Version, Written,
};

use crate::world::EPOCH_MS;

/// How much of what happens a transcript tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Telling {
    /// The kind of each message.
    #[default]
    Kinds,
    /// What matters, in words: no probes, comparisons or progress that say only that all is as before.
    Words,
    /// Everything in each message, cut at some length.
    All,
}

pub(crate) fn of_message(message: &Message, telling: Telling) -> Option<String> {
    let body = &message.body;
    match telling {
        Telling::Words => of_body(body),
        Telling::Kinds => Some(kind(body)),
        Telling::All => {
            let text = format!("{body:?}");
            let cut = text.char_indices().nth(600).map_or(text.len(), |(at, _)| at);
            Some(text[..cut].to_owned())
        }
    }
}

fn kind(body: &Body) -> String {
    let text = format!("{body:?}");
    text.split(' ').next().unwrap_or_default().to_owned()
}

/// A version: milliseconds since the world began, and the counter.
fn at(version: Version) -> String {
    let ms = version.ms() as i64 - EPOCH_MS as i64;
    match version.stamp & 0xffff {
        0 => format!("@{ms}"),
        counter => format!("@{ms}.{counter}"),
    }
}

fn text(bytes: &Bytes) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn value(value: Option<&Bytes>) -> String {
    value.map_or("nothing".to_owned(), text)
}

fn record(record: &Record) -> String {
    if record.version == Version::ZERO {
        "nothing".to_owned()
    } else {
        format!("{} {}", value(record.value.as_ref()), at(record.version))
    }
}

fn list(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join(", ")
}

fn named(entry: &(Bytes, Entry)) -> String {
    format!("{} = {}", text(&entry.0), record(&entry.1.record))
}

fn written(written: &Written) -> String {
    match written {
        Written::Applied => "applied".to_owned(),
        Written::Superseded { by } => format!("has later, {}", at(by.version)),
        Written::IsRegister => "is a register".to_owned(),
        Written::TooOld => "too old".to_owned(),
        Written::Ahead => "too far ahead".to_owned(),
        Written::Failed => "failed".to_owned(),
    }
}

/// What a message says, unless it is one of those that come all the time.
fn of_body(body: &Body) -> Option<String> {
    Some(match body {
        Body::PingRequest { target, .. } => format!("is {target} there? I got no answer"),
        Body::PingFailed { target, .. } => format!("{target} does not answer me either"),
        Body::Hello { announcement, .. } => {
            format!("hello: copy {}, start {}", announcement.copy, announcement.boot)
        }
        Body::HelloAnswer { verdict, .. } => match verdict {
            Verdict::Known => "known from now on".to_owned(),
            Verdict::Outdated => "you have been further than that".to_owned(),
        },
        Body::Join { .. } => "take me in".to_owned(),
        Body::LayoutIs { layout } => format!("layout {} is {:?}", layout.version, layout.phase),
        Body::LayoutPrepare { version, .. } => format!("layout {version}: promise me a ballot"),
        Body::LayoutPromise { version, .. } => format!("layout {version}: promised"),
        Body::LayoutAccept { layout, .. } => format!(
            "layout {}: accept {:?} of {}",
            layout.version,
            layout.phase,
            list(layout.current.members.keys().map(NodeId::to_string))
        ),
        Body::LayoutAccepted { version, .. } => format!("layout {version}: accepted"),
        Body::LayoutOutbid { version, .. } => format!("layout {version}: outbid"),
        Body::LayoutProgress { caught_up: true } => "I have everything".to_owned(),
        Body::AskMarks { .. } => "how far is it settled?".to_owned(),
        Body::MarksAre { .. } => "so far".to_owned(),
        Body::Pull { after, .. } => match after {
            Some(after) => format!("what do you have after {}?", text(after)),
            None => "what do you have?".to_owned(),
        },
        Body::Pulled { entries, done, .. } => {
            let end = if *done { "; that is all" } else { "" };
            match entries.len() {
                0 => format!("nothing{end}"),
                _ => format!("{}{end}", list(entries.iter().map(named))),
            }
        }
        Body::Seal { .. } => "refuse what is as old as that".to_owned(),
        Body::Settle { .. } => "all have it: it is settled".to_owned(),
        Body::Forget { .. } => "all have settled it: forget it".to_owned(),
        Body::Unknown { .. } => "(something that is not known)".to_owned(),
        _ => return of_data(body),
    })
}

fn of_data(body: &Body) -> Option<String> {
    Some(match body {
        Body::Write { origin, items, .. } => {
            let what = list(
                items
                    .iter()
                    .map(|item| format!("{} = {}", text(&item.key), record(&item.entry.record))),
            );
            match origin {
                Origin::Client => format!("write {what}"),
                Origin::Hint => format!("write {what} (kept for you)"),
                Origin::Reader => format!("write {what} (a reader saw it)"),
                Origin::Repair => format!("write {what} (you differ)"),
            }
        }
        Body::WriteDone { items, .. } => list(items.iter().map(|(_, what)| written(what))),
        Body::Read { whole, keys, .. } => {
            let keys = list(keys.iter().map(|(_, key)| text(key)));
            let what = if *whole { "read" } else { "read the version of" };
            format!("{what} {keys}")
        }
        Body::ReadDone { items, .. } => list(items.iter().map(|item| match &item.entry {
            Some(entry) => format!("has {}", record(&entry.record)),
            None if item.rank.version == Version::ZERO => "has nothing".to_owned(),
            None => format!("has {}", at(item.rank.version)),
        })),
        Body::Refused { reason, .. } => format!("refused: {reason:?}"),
        Body::Prepare { key, ballot, .. } => format!("promise me ballot {} of {}", at(*ballot), text(key)),
        Body::Promise { entry, .. } => format!("promised; has {}", record(&entry.record)),
        Body::Accept {
            key,
            ballot,
            record: of,
            ..
        } => format!(
            "accept {} = {} under ballot {}",
            text(key),
            record(of),
            at(*ballot)
        ),
        Body::AcceptDone { .. } => "accepted".to_owned(),
        Body::Outbid { promised, .. } => format!("outbid by ballot {}", at(*promised)),
        _ => return None,
    })
}

pub(crate) fn of_request(request: &Request) -> String {
    match request {
        Request::Get { keys, .. } => format!("get {}", list(keys.iter().map(text))),
        Request::Put { items, .. } => list(items.iter().map(|(key, value)| match value {
            Some(value) => format!("put {} = {}", text(key), text(value)),
            None => format!("delete {}", text(key)),
        })),
        Request::CompareAndSet {
            key,
            expect,
            value: to,
            ..
        } => {
            let when = match expect {
                Expect::Anything => String::new(),
                Expect::Absent => " if there is nothing".to_owned(),
                Expect::Version(version) => format!(" if it is {}", at(*version)),
                Expect::Value(expected) => format!(" if it is {}", text(expected)),
            };
            format!("set {} = {}{when}", text(key), value(to.as_ref()))
        }
        Request::GetRegister { key } => format!("get {} for sure", text(key)),
        Request::Scan { start, .. } => format!("scan from {}", text(start)),
        Request::ChangeLayout(_) => "change the layout".to_owned(),
    }
}

fn found(found: &Found) -> String {
    match found.version {
        Some(version) => format!("{} {}", value(found.value.as_ref()), at(version)),
        None => "nothing".to_owned(),
    }
}

pub(crate) fn of_reply(reply: &Reply) -> String {
    let or_error = |result: Result<String, _>| {
        result.unwrap_or_else(|error: weald_cluster_proto::Error| error.to_string())
    };
    match reply {
        Reply::Values(results) => list(
            results
                .iter()
                .map(|result| or_error(result.as_ref().map(found).map_err(Clone::clone))),
        ),
        Reply::Written(results) => list(
            results
                .iter()
                .map(|result| or_error(result.map(|version| format!("written {}", at(version))))),
        ),
        Reply::Compared {
            swapped: true,
            found: what,
        } => format!("set: {}", found(what)),
        Reply::Compared { found: what, .. } => format!("not set: it is {}", found(what)),
        Reply::Register(what) => found(what),
        Reply::Page { entries, .. } => list(entries.iter().map(|(key, _)| text(key))),
        Reply::LayoutChanged { version } => format!("layout {version} has begun"),
        Reply::Failed(error) => error.to_string(),
    }
}

pub(crate) fn of_event(event: &Event) -> String {
    match event {
        Event::Ready => "may serve".to_owned(),
        Event::CopyRefused { .. } => "begins again with an empty copy".to_owned(),
        Event::ClockJumped => "finds that its clock jumped".to_owned(),
        Event::ClockRefused => "finds that its clock is unlike the others'".to_owned(),
        Event::Alive(node) => format!("takes {node} to be there"),
        Event::Suspected(node) => format!("suspects {node}"),
        Event::Dead(node) => format!("takes {node} to be dead"),
        Event::Left(node) => format!("hears that {node} goes"),
        Event::Layout { version } => format!("has layout {version}"),
        Event::CaughtUp { version } => format!("has everything for layout {version}"),
        Event::Refused(node) => format!("refuses what is said of {node}"),
    }
}
