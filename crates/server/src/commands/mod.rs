//! The commands, a module for each family, and the list of their tables.

mod access;
mod args;
mod bitfield;
mod bitmaps;
mod buckets;
mod client;
mod cluster;
mod command;
mod configuration;
mod connection;
mod debug;
mod decimal;
mod digest;
mod docs;
mod dump;
mod expiry;
mod geo;
mod hashes;
mod hyperloglog;
mod info;
mod keys;
mod latency;
mod lcs;
mod lists;
mod maintenance;
mod memory;
mod migrate;
mod observe;
mod pubsub;
mod scan;
mod sets;
mod sort;
mod sparkline;
mod strings;
mod tracking;
mod transactions;
mod trees;
mod zcombine;
mod zpops;
mod zranges;
mod zsets;

use crate::error::CommandError;
use crate::registry::Command;

pub use docs::compatibility;
pub(crate) use dump::{pack, packed_kind, unpack};
pub(crate) use memory::footprint;

/// The tables of all families.
pub(crate) const FAMILIES: &[&[Command]] = &[
    strings::COMMANDS,
    keys::COMMANDS,
    expiry::COMMANDS,
    hashes::COMMANDS,
    sets::COMMANDS,
    zsets::COMMANDS,
    lists::COMMANDS,
    bitmaps::COMMANDS,
    hyperloglog::COMMANDS,
    geo::COMMANDS,
    connection::COMMANDS,
    client::COMMANDS,
    command::COMMANDS,
    configuration::COMMANDS,
    info::COMMANDS,
    maintenance::COMMANDS,
    memory::COMMANDS,
    observe::COMMANDS,
    latency::COMMANDS,
    debug::COMMANDS,
    transactions::COMMANDS,
    pubsub::COMMANDS,
    access::COMMANDS,
    buckets::COMMANDS,
    trees::COMMANDS,
    cluster::COMMANDS,
];

/// Families of Redis that Weald does not have, with what their commands' names begin with.
const ABSENT: &[(&str, &[&str])] = &[
    (
        "streams",
        &[
            "xadd",
            "xack",
            "xautoclaim",
            "xclaim",
            "xdel",
            "xgroup",
            "xinfo",
            "xlen",
            "xpending",
            "xrange",
            "xread",
            "xreadgroup",
            "xrevrange",
            "xsetid",
            "xtrim",
        ],
    ),
    (
        "scripting",
        &[
            "eval",
            "evalsha",
            "eval_ro",
            "evalsha_ro",
            "script",
            "fcall",
            "fcall_ro",
        ],
    ),
    ("slots of Redis Cluster", &["asking", "readonly", "readwrite"]),
    (
        "replication",
        &["replicaof", "slaveof", "psync", "sync", "failover"],
    ),
    (
        "modules to load",
        &[
            "bf.add",
            "json.get",
            "json.set",
            "ft.search",
            "ft.create",
            "ts.add",
        ],
    ),
];

/// The family of a command that Weald does not have, by its name in small letters.
pub(crate) fn absent_family(name: &[u8]) -> Option<&'static str> {
    ABSENT
        .iter()
        .find(|(_, names)| names.iter().any(|known| known.as_bytes() == name))
        .map(|(family, _)| *family)
}

/// A number among the arguments.
fn integer(arg: &[u8]) -> Result<i64, CommandError> {
    weald_resp::parse_i64(arg).ok_or_else(CommandError::not_an_integer)
}

/// Whether an argument is this word, in whatever letters.
fn is(arg: &[u8], word: &str) -> bool {
    arg.eq_ignore_ascii_case(word.as_bytes())
}

/// An argument as a text.
fn text(arg: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(arg)
}
