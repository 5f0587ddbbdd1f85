//! What a node does with a command: the table of commands says which keys it reads and which it writes, and that decides.
//!
//! | what the command touches | what is done |
//! | --- | --- |
//! | no data | it runs here |
//! | it reads keys | they are read from the cluster; it runs on copies |
//! | it writes one key | it runs on a copy, which is put back by compare-and-set |
//! | it writes more | it is refused: nothing makes two keys change at once |
//!
//! Plain `SET`, `MSET`, `DEL` and their like are plain writes; commands that go through all keys are walks.

use weald_cluster::proto::Bytes;
use weald_resp::parse_i64;

use super::operation::{Show, Step, Work, Written};
use super::replies::Footprint;
use super::value;
use super::walk::{Cursors, Goal, Walk};
use crate::error::CommandError;
use crate::registry::{Command, Flags, Group};

/// What is done with a command.
pub(super) enum Plan {
    /// It runs here, as on a server alone.
    Here,
    /// It runs on nothing: its arguments make no sense, and it says so itself.
    Dry,
    Do(Work, Footprint),
}

type Result<T> = std::result::Result<T, CommandError>;

/// Commands that would do on one node what they are to do in the whole cluster, or need several keys at one moment.
const WITHOUT_MEANING: &[(&str, &str)] = &[
    ("swapdb", "it has one database"),
    ("migrate", "keys are where the ring has them"),
    ("randomkey", "no node knows all keys"),
    (
        "wait",
        "the consistency level says how many replicas a write waits for",
    ),
    (
        "waitaof",
        "the consistency level says how many replicas a write waits for",
    ),
    (
        "weald.check",
        "the data are the replica's: 'weald check' reads its file",
    ),
    (
        "weald.compact",
        "the data are the replica's: 'weald compact' takes its file",
    ),
    ("weald.checkpoint", "the replica does so by itself"),
    ("client|tracking", "a node hears only of its own clients' changes"),
    ("client|caching", "a node hears only of its own clients' changes"),
    ("sort", "it may read keys that it does not name"),
    ("sort_ro", "it may read keys that it does not name"),
];

/// Plans a command. Its number of arguments and its permissions were checked.
pub(super) fn plan(
    args: &[&[u8]],
    command: &'static Command,
    now_ms: u64,
    cursors: &Cursors,
) -> Result<Plan> {
    refuse_what_has_no_meaning(command)?;
    if let Some(plan) = native(args, command.name, now_ms, cursors)? {
        return Ok(plan);
    }
    if !command.flags.touches_data() {
        return Ok(Plan::Here);
    }
    let keyed = command.flags.has(Flags::WRITE) || command.flags.has(Flags::READONLY);
    if command.keys.is_empty() {
        return if keyed {
            Err(without_meaning(command, "it names no key"))
        } else {
            Ok(Plan::Here)
        };
    }
    Ok(on_copies(args, command)?.unwrap_or(Plan::Dry))
}

fn without_meaning(command: &Command, why: &str) -> CommandError {
    let name = command.name.replace('|', " ").to_ascii_uppercase();
    CommandError::new(format!("ERR {name} is not for a cluster: {why}"))
}

fn refuse_what_has_no_meaning(command: &Command) -> Result<()> {
    let why = WITHOUT_MEANING
        .iter()
        .find(|(name, _)| *name == command.name)
        .map(|(_, why)| *why);
    let why = why.or_else(|| match command.group {
        Group::Transactions => Some("there are no transactions across keys; single commands are atomic"),
        Group::Pubsub => Some("messages would reach the clients of one node only"),
        _ if command.flags.has(Flags::BLOCKING) => {
            Some("nobody tells a node that a key of another was changed")
        }
        _ if command.name.starts_with("weald.bucket") || command.name.starts_with("weald.tree") => {
            Some("buckets and trees are those of a server alone")
        }
        _ => None,
    });
    match why {
        Some(why) => Err(without_meaning(command, why)),
        None => Ok(()),
    }
}

fn bytes(arg: &[u8]) -> Bytes {
    Bytes::from(arg)
}

fn reads(keys: &[&[u8]], show: Show) -> Plan {
    let keys: Vec<Bytes> = keys.iter().map(|key| bytes(key)).collect();
    let footprint = Footprint {
        keys: keys.clone(),
        ..Footprint::default()
    };
    Plan::Do(Work::Read { keys, show }, footprint)
}

fn writes(items: Vec<(&[u8], &[u8])>, ttl_ms: Option<u64>) -> Plan {
    let items: Vec<(Bytes, Option<Bytes>)> = items
        .into_iter()
        .map(|(key, string)| (bytes(key), Some(value::of_string(string))))
        .collect();
    let footprint = Footprint {
        keys: items.iter().map(|(key, _)| key.clone()).collect(),
        writes: true,
        everything: false,
    };
    let reply = Written::Ok;
    Plan::Do(Work::Write { items, ttl_ms, reply }, footprint)
}

fn walk(start: Bytes, goal: Goal) -> Plan {
    let walk = Walk::new(start, goal);
    let footprint = Footprint {
        writes: walk.changes(),
        everything: true,
        ..Footprint::default()
    };
    Plan::Do(Work::Walk(walk), footprint)
}

/// Commands that need no copy.
fn native(args: &[&[u8]], name: &str, now_ms: u64, cursors: &Cursors) -> Result<Option<Plan>> {
    Ok(Some(match name {
        "get" => reads(&args[1..], Show::String),
        "mget" => reads(&args[1..], Show::Strings),
        "exists" | "touch" => reads(&args[1..], Show::Count),
        "set" => match lifetime(&args[3..], now_ms) {
            Some(ttl_ms) => writes(vec![(args[1], args[2])], ttl_ms),
            None => return Ok(None),
        },
        "setex" | "psetex" => {
            let word: &[u8] = if name == "setex" { b"ex" } else { b"px" };
            match lifetime(&[word, args[2]], now_ms) {
                Some(ttl_ms) => writes(vec![(args[1], args[3])], ttl_ms),
                None => return Ok(None),
            }
        }
        "mset" if args.len() % 2 == 1 => {
            let mut items: Vec<(&[u8], &[u8])> = Vec::new();
            for pair in args[1..].chunks_exact(2) {
                // The last value of a key that comes twice.
                items.retain(|(key, _)| *key != pair[0]);
                items.push((pair[0], pair[1]));
            }
            writes(items, None)
        }
        "mset" => return Ok(Some(Plan::Dry)),
        "del" | "unlink" => {
            let mut keys: Vec<Vec<u8>> = args[1..].iter().map(|key| key.to_vec()).collect();
            keys.sort_unstable();
            keys.dedup();
            let keys: Vec<Bytes> = keys.into_iter().map(Bytes::from).collect();
            let work = Work::Delete { keys: keys.clone() };
            let footprint = Footprint {
                keys,
                writes: true,
                everything: false,
            };
            Plan::Do(work, footprint)
        }
        "scan" => scan(args, cursors)?,
        "keys" => {
            let goal = Goal::Keys {
                pattern: args[1].to_vec(),
                found: Vec::new(),
            };
            walk(bytes(b""), goal)
        }
        "dbsize" => walk(bytes(b""), Goal::Count(0)),
        "flushall" | "flushdb" => walk(bytes(b""), Goal::Flush),
        "weald.local" => Plan::Do(Work::Office, Footprint::default()),
        "cluster|help" => return Ok(None),
        name if name.starts_with("cluster|") => Plan::Do(Work::Office, Footprint::default()),
        _ => return Ok(None),
    }))
}

/// What the options of a `SET` say that does not look at what is there: how long it lives. Nothing where they say more, or make no sense.
#[expect(clippy::option_option, reason = "no lifetime is a lifetime too")]
fn lifetime(options: &[&[u8]], now_ms: u64) -> Option<Option<u64>> {
    let (word, number) = match options {
        [] => return Some(None),
        [word, number] => (word.to_ascii_lowercase(), parse_i64(number)?),
        _ => return None,
    };
    let number = u64::try_from(number).ok().filter(|number| *number > 0)?;
    let ms = match &word[..] {
        b"ex" | b"exat" => number.checked_mul(1000)?,
        b"px" | b"pxat" => number,
        _ => return None,
    };
    let ttl_ms = match &word[..] {
        b"exat" | b"pxat" => ms.checked_sub(now_ms).filter(|ms| *ms > 0)?,
        _ => ms,
    };
    // Longer lives are for the command itself to refuse.
    (ttl_ms < 1 << 52).then_some(Some(ttl_ms))
}

fn scan(args: &[&[u8]], cursors: &Cursors) -> Result<Plan> {
    let cursor = std::str::from_utf8(args[1])
        .ok()
        .and_then(|digits| digits.parse().ok())
        .ok_or_else(|| CommandError::new("ERR invalid cursor"))?;
    let (mut pattern, mut kind, mut count) = (None, None, 10);
    for pair in args[2..].chunks(2) {
        let [word, value] = *pair else {
            return Err(CommandError::syntax());
        };
        match &word.to_ascii_lowercase()[..] {
            b"match" => pattern = Some(value.to_vec()),
            b"type" => kind = Some(value.to_vec()),
            b"count" => {
                let number = parse_i64(value).ok_or_else(CommandError::not_an_integer)?;
                count = usize::try_from(number)
                    .ok()
                    .filter(|count| *count > 0)
                    .ok_or_else(CommandError::syntax)?;
            }
            _ => return Err(CommandError::syntax()),
        }
    }
    let goal = Goal::Page { pattern, kind, count };
    Ok(walk(cursors.find(cursor)?, goal))
}

/// A command that runs on copies of its keys; nothing where its keys can't be told.
fn on_copies(args: &[&[u8]], command: &'static Command) -> Result<Option<Plan>> {
    let mut read: Vec<&[u8]> = Vec::new();
    let mut written: Vec<&[u8]> = Vec::new();
    for spec in command.keys {
        let Some(positions) = spec.positions(args) else {
            return Ok(None);
        };
        let keys = if spec.access.writes() {
            &mut written
        } else {
            &mut read
        };
        keys.extend(positions.iter().map(|at| args[*at]));
    }
    if !command.flags.has(Flags::WRITE) {
        read.append(&mut written);
    }
    written.sort_unstable();
    written.dedup();
    read.retain(|key| !written.contains(key));
    read.sort_unstable();
    read.dedup();
    let [key] = written[..] else {
        return match written.len() {
            0 if read.is_empty() => Ok(None),
            0 => Ok(Some(reads(&read, Show::Copies))),
            _ => Err(without_meaning(command, "it would change several keys at once")),
        };
    };
    let footprint = Footprint {
        keys: std::iter::once(key)
            .chain(read.iter().copied())
            .map(bytes)
            .collect(),
        writes: true,
        everything: false,
    };
    let work = Work::Update {
        key: bytes(key),
        others: read.iter().map(|key| bytes(key)).collect(),
        step: Step::Reading,
    };
    Ok(Some(Plan::Do(work, footprint)))
}
