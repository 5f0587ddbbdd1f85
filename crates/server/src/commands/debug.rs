//! `DEBUG`: what test suites need.

use std::time::Duration;

use crate::call::Call;
use crate::commands::{is, text};
use crate::error::{CommandError, CommandResult};
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
.flags(ADMIN.and(Flags::READS))];

/// The longest that everybody waits.
const SLEEP_MAX: Duration = Duration::from_secs(60);

/// Subcommands that are about what Weald does not have: they are accepted, so that suites go on, and do nothing.
const NOTHING_TO_DO: [&str; 9] = [
    "jmap",
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

/// What Redis tells of a value, as far as there is such a thing: it lies in no one place, and nobody remembers when it was used.
fn object(call: &mut Call<'_, '_>, key: &[u8]) -> CommandResult {
    let Some(record) = call.keyspace.find(call.session.db, key)? else {
        return Err(CommandError::no_such_key());
    };
    let (encoding, len) = (call.keyspace.encoding(&record), record.len());
    call.reply.simple(&format!(
        "Value at:0x0 refcount:1 encoding:{encoding} serializedlength:{len} lru:0 lru_seconds_idle:0"
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
