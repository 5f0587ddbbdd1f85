//! `DEBUG`: what test suites need.

use std::time::Duration;

use crate::call::Call;
use crate::commands::{digest, integer, is, text};
use crate::error::{CommandError, CommandResult};
use crate::keyspace::Expiry;
use crate::registry::{Command, Flags, Group};
use crate::session::Link;

const ADMIN: Flags = Flags::ADMIN
    .and(Flags::NOSCRIPT)
    .and(Flags::LOADING)
    .and(Flags::STALE);

pub(crate) const COMMANDS: &[Command] = &[Command::new(
    "debug",
    -2,
    Group::Server,
    "1.0.0",
    "A container for debugging commands.",
    debug,
)
.flags(ADMIN.and(Flags::READS).and(Flags::ASKS))];

/// The longest that everybody waits.
const SLEEP_MAX: Duration = Duration::from_secs(60);

/// The most keys that one command makes.
const POPULATE_MAX: u64 = 10_000_000;

/// Subcommands that are about what Weald does not have: they are accepted, so that suites go on, and do nothing.
const NOTHING_TO_DO: [&str; 12] = [
    "jmap",
    "aof-flush-sleep",
    "set-skip-checksum-validation",
    "client-enforce-reply-list",
    "change-repl-id",
    "replicate",
    "replybuffer",
    "quicklist-packed-threshold",
    "set-disable-deny-scripts",
    "dict-resizing",
    "pause-cron",
    "delay-rdb-client-free-seconds",
];

fn debug(call: &mut Call<'_, '_>) -> CommandResult {
    let allowed = match call.state.config.text("enable-debug-command") {
        "yes" => true,
        "local" => call.session.link != Link::Tcp || is_loopback(&call.session.peer),
        _ => false,
    };
    if !allowed {
        return Err(CommandError::new(
            "ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", you can run it from a local connection, otherwise you need to set this option in the configuration file, and then restart the server.",
        ));
    }
    let word = text(call.args[1]).to_ascii_lowercase();
    match (word.as_str(), &call.args[2..]) {
        ("sleep", [seconds]) => {
            let seconds: f64 = text(seconds).parse().map_err(|_| CommandError::not_a_float())?;
            let sleep = Duration::try_from_secs_f64(seconds).unwrap_or_default();
            std::thread::sleep(sleep.min(SLEEP_MAX));
        }
        ("set-active-expire", [switch]) => call.state.no_active_expiry = is(switch, "0"),
        ("stringmatch-len", [count, pattern]) => {
            let text = vec![b'a'; usize::try_from(super::integer(count)?).unwrap_or(0).min(1 << 24)];
            call.reply
                .integer(i64::from(crate::glob::matches(pattern, &text)));
            return Ok(());
        }
        ("object", [key]) => return object(call, key),
        ("digest", []) => {
            let digest = digest::of_all(call.keyspace)?;
            call.reply.simple(&digest.to_string());
            return Ok(());
        }
        ("digest-value", keys) => return digest_values(call, keys),
        ("populate", [count, rest @ ..]) if rest.len() <= 2 => populate(call, count, rest)?,
        ("help", []) => {
            call.reply.array(HELP.len());
            HELP.iter().for_each(|line| call.reply.simple(line));
            return Ok(());
        }
        ("protocol", [kind]) => return protocol(call, kind),
        ("log", [line]) => log::info!("DEBUG LOG: {}", text(line).escape_debug()),
        ("error", [line]) => return Err(CommandError::new(text(line).into_owned())),
        ("reload" | "loadaof", _) => call.state.db.flush()?,
        (word, _) if NOTHING_TO_DO.contains(&word) => {}
        _ => {
            let word = text(call.args[1]);
            return Err(CommandError::new(format!(
                "ERR unknown subcommand or wrong number of arguments for '{word}'. Try DEBUG HELP."
            )));
        }
    }
    call.reply.ok();
    Ok(())
}

fn digest_values(call: &mut Call<'_, '_>, keys: &[&[u8]]) -> CommandResult {
    call.reply.array(keys.len());
    for key in keys {
        let digest = match call.keyspace.find(call.session.db, key)? {
            Some(record) => digest::of_value(call.keyspace, call.session.db, &record)?,
            None => digest::Digest::default(),
        };
        call.reply.simple(&digest.to_string());
    }
    Ok(())
}

/// Makes keys with a prefix, a colon and a number, as far as they are not there: each has `value:` and its number, filled up to a size with zero bytes.
fn populate(call: &mut Call<'_, '_>, count: &[u8], rest: &[&[u8]]) -> CommandResult {
    let positive = |arg: &[u8]| {
        u64::try_from(integer(arg)?)
            .map_err(|_| CommandError::new("ERR value is out of range, must be positive"))
    };
    let count = positive(count)?;
    let prefix = rest.first().copied().unwrap_or(b"key");
    let size = rest.get(1).map(|size| positive(size)).transpose()?;
    let too_large = size.is_some_and(|size| size > super::args::STRING_MAX);
    if count > POPULATE_MAX || too_large || call.state.cluster.is_some() {
        return Err(CommandError::new("ERR DEBUG POPULATE can't do that here"));
    }
    let durability = call.session.durability.unwrap_or(call.state.settings.durability);
    call.keyspace.tick().begin_write(durability)?;
    let db = call.session.db;
    for number in 0..count {
        let number = number.to_string();
        let key = [prefix, b":", number.as_bytes()].concat();
        if call.keyspace.find(db, &key)?.is_some() {
            continue;
        }
        let mut value = [b"value:", number.as_bytes()].concat();
        if let Some(size) = size {
            value.resize(size as usize, 0);
        }
        call.keyspace.set_string(db, &key, &value, Expiry::Never)?;
        call.touched(&key);
    }
    Ok(())
}

const HELP: &[&str] = &[
    "DEBUG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "DIGEST",
    "    Output a hex signature representing the current DB content.",
    "DIGEST-VALUE <key> [<key> ...]",
    "    Output a hex signature of the values of all the specified keys.",
    "ERROR <string>",
    "    Return a Redis protocol error with <string> as message. Useful for clients",
    "    unit tests to simulate Redis errors.",
    "LOG <message>",
    "    Write <message> to the server log.",
    "OBJECT <key>",
    "    Show low level info about `key` and associated value.",
    "POPULATE <count> [<prefix>] [<size>]",
    "    Create <count> string keys named key:<num>. If <prefix> is specified then",
    "    it is used instead of the 'key' prefix.",
    "PROTOCOL <type>",
    "    Reply with a test value of the specified type. <type> can be: string,",
    "    integer, double, bignum, null, array, set, map, attrib, push, verbatim,",
    "    true, false.",
    "RELOAD [option ...]",
    "    Write everything to the file.",
    "SET-ACTIVE-EXPIRE <0|1>",
    "    Setting it to 0 disables expiring keys in background when they are not",
    "    accessed (otherwise the Redis behavior). Setting it to 1 reenables back the",
    "    default.",
    "SLEEP <seconds>",
    "    Stop the server for <seconds>. Decimals allowed.",
    "STRINGMATCH-LEN <length> <pattern>",
    "    Match a pattern with a string of <length> letters.",
    "HELP",
    "    Print this help.",
];

/// What Redis tells of a value, as far as there is such a thing: it lies in no one place.
fn object(call: &mut Call<'_, '_>, key: &[u8]) -> CommandResult {
    let Some(record) = call.keyspace.find(call.session.db, key)? else {
        return Err(CommandError::no_such_key());
    };
    let (encoding, len) = (call.keyspace.encoding(&record), record.len());
    let idle_s = call.keyspace.idle_s(call.session.db, key);
    call.reply.simple(&format!(
        "Value at:0x0 refcount:1 encoding:{encoding} serializedlength:{len} lru:{} lru_seconds_idle:{idle_s}",
        (call.now_ms / 1000).saturating_sub(idle_s) & 0xff_ffff
    ));
    Ok(())
}

fn is_loopback(peer: &str) -> bool {
    peer.parse::<std::net::SocketAddr>()
        .is_ok_and(|peer| peer.ip().to_canonical().is_loopback())
}

/// What Redis sends for a double, which is not the ratio it looks like.
#[expect(clippy::approx_constant, reason = "clients compare it with these digits")]
const PROTOCOL_DOUBLE: f64 = 3.141;

/// A frame of each type, for clients to test themselves.
fn protocol(call: &mut Call<'_, '_>, kind: &[u8]) -> CommandResult {
    let reply = &mut *call.reply;
    match text(kind).to_ascii_lowercase().as_str() {
        "string" => reply.bulk(b"Hello World"),
        "integer" => reply.integer(12345),
        "double" => reply.double(PROTOCOL_DOUBLE),
        "null" => reply.null(),
        "array" => {
            reply.array(3);
            (0..3).for_each(|i| reply.integer(i));
        }
        "set" => {
            reply.set(3);
            (0..3).for_each(|i| reply.integer(i));
        }
        "map" => {
            reply.map(3);
            for i in 0..3 {
                reply.integer(i);
                reply.boolean(i == 1);
            }
        }
        "attrib" => {
            if reply.is_resp3() {
                reply.raw(b"|1\r\n$14\r\nkey-popularity\r\n*2\r\n$7\r\nkey:123\r\n:90\r\n");
            }
            reply.bulk(b"Some real reply following the attribute");
        }
        "push" => {
            reply.push(2);
            reply.bulk(b"server-cpu-usage");
            reply.integer(42);
        }
        "bignum" => reply.big_number("1234567999999999999999999999999999999"),
        "true" => reply.boolean(true),
        "false" => reply.boolean(false),
        "verbatim" => reply.verbatim(b"txt", b"This is a verbatim\nstring"),
        _ => {
            return Err(CommandError::new(
                "ERR Wrong protocol type name. Please use one of the following: string|integer|double|null|array|set|map|attrib|push|verbatim|true|false",
            ));
        }
    }
    Ok(())
}
