//! Commands of a connection: who it is, which protocol and database it uses.

use std::sync::Arc;

use weald_resp::Protocol;

use crate::acl::{LogEntry, Reason, User};
use crate::call::Call;
use crate::commands::client::set_name;
use crate::commands::{integer, is, text};
use crate::error::{CommandError, CommandResult};
use crate::registry::{Command, Flags, Group};
use crate::session::{Multi, ReplyMode};
use crate::version::{REDIS_VERSION, WEALD_VERSION};

const ANYTIME: Flags = Flags::NOSCRIPT
    .and(Flags::LOADING)
    .and(Flags::STALE)
    .and(Flags::FAST);

pub(crate) const COMMANDS: &[Command] = &[
    Command::new(
        "ping",
        -1,
        Group::Connection,
        "1.0.0",
        "Returns the server's liveliness response.",
        ping,
    )
    .flags(Flags::FAST.and(Flags::WHILE_LISTENING)),
    Command::new(
        "echo",
        2,
        Group::Connection,
        "1.0.0",
        "Returns the given string.",
        echo,
    )
    .flags(Flags::LOADING.and(Flags::STALE).and(Flags::FAST)),
    Command::new(
        "hello",
        -1,
        Group::Connection,
        "6.0.0",
        "Handshakes with the server.",
        hello,
    )
    .flags(ANYTIME.and(Flags::NO_AUTH).and(Flags::ALLOW_BUSY)),
    Command::new(
        "auth",
        -2,
        Group::Connection,
        "1.0.0",
        "Authenticates the connection.",
        auth,
    )
    .flags(ANYTIME.and(Flags::NO_AUTH).and(Flags::ALLOW_BUSY)),
    Command::new(
        "select",
        2,
        Group::Connection,
        "1.0.0",
        "Changes the selected database.",
        select,
    )
    .flags(Flags::LOADING.and(Flags::STALE).and(Flags::FAST)),
    Command::new(
        "quit",
        -1,
        Group::Connection,
        "1.0.0",
        "Closes the connection.",
        quit,
    )
    .flags(
        ANYTIME
            .and(Flags::NO_AUTH)
            .and(Flags::ALLOW_BUSY)
            .and(Flags::NOT_QUEUED)
            .and(Flags::WHILE_LISTENING),
    ),
    Command::new(
        "reset",
        1,
        Group::Connection,
        "6.2.0",
        "Resets the connection.",
        reset,
    )
    .flags(
        ANYTIME
            .and(Flags::NO_AUTH)
            .and(Flags::ALLOW_BUSY)
            .and(Flags::NOT_QUEUED)
            .and(Flags::WHILE_LISTENING),
    ),
    Command::new(
        "weald.durability",
        -1,
        Group::Weald,
        "7.2.0",
        "Says when this connection's writes are answered: immediate, batched, none, or default.",
        durability,
    )
    .flags(Flags::FAST),
];

fn ping(call: &mut Call<'_, '_>) -> CommandResult {
    if call.args.len() > 2 {
        return Err(CommandError::arity("ping"));
    }
    let text = call.args.get(1);
    if call.session.only_listens() {
        call.reply.array(2);
        call.reply.bulk(b"pong");
        call.reply.bulk(text.unwrap_or(&&b""[..]));
    } else if let Some(text) = text {
        call.reply.bulk(text);
    } else {
        call.reply.simple("PONG");
    }
    Ok(())
}

fn echo(call: &mut Call<'_, '_>) -> CommandResult {
    call.reply.bulk(call.args[1]);
    Ok(())
}

/// Failed attempts after which a connection is closed: guessing takes a connection for each few.
const FAILURES_MAX: u32 = 10;

/// Makes the client another user.
fn log_in(call: &mut Call<'_, '_>, name: &[u8], password: &[u8]) -> Result<(), CommandError> {
    match call.state.users.authenticate(name, password) {
        Some(user) => {
            become_user(call, user);
            Ok(())
        }
        None => {
            let entry = LogEntry {
                count: 1,
                reason: Reason::Auth,
                in_multi: call.in_exec,
                object: call.args[0].to_ascii_uppercase(),
                user: name.to_vec(),
                client: call.session.describe(call.now_ms),
                id: 0,
                created_ms: call.now_ms,
                updated_ms: call.now_ms,
            };
            call.state.acl_log.add(entry, call.state.settings.acl_log_len);
            call.session.auth_failures += 1;
            call.session.closing |= call.session.auth_failures >= FAILURES_MAX;
            Err(CommandError::new(
                "WRONGPASS invalid username-password pair or user is disabled.",
            ))
        }
    }
}

fn become_user(call: &mut Call<'_, '_>, user: Arc<User>) {
    call.session.user = user;
    call.session.authenticated = true;
    call.session.auth_failures = 0;
}

fn auth(call: &mut Call<'_, '_>) -> CommandResult {
    match call.args {
        [_, password] => {
            if call.state.users.default_user().nopass {
                return Err(CommandError::new(
                    "ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?",
                ));
            }
            log_in(call, b"default", password)?;
        }
        [_, name, password] => log_in(call, name, password)?,
        _ => return Err(CommandError::syntax()),
    }
    call.reply.ok();
    Ok(())
}

fn hello(call: &mut Call<'_, '_>) -> CommandResult {
    let args = call.args;
    let mut protocol = call.session.protocol;
    let mut rest: &[&[u8]] = &[];
    if let Some((number, after)) = args[1..].split_first() {
        protocol = match weald_resp::parse_i64(number) {
            Some(2) => Protocol::Resp2,
            Some(3) => Protocol::Resp3,
            Some(_) => return Err(CommandError::new("NOPROTO unsupported protocol version")),
            None => {
                return Err(CommandError::new(
                    "ERR Protocol version is not an integer or out of range",
                ));
            }
        };
        rest = after;
    }
    let (mut login, mut name) = (None, None);
    while let Some((word, after)) = rest.split_first() {
        rest = match after {
            [user, password, after @ ..] if is(word, "auth") => {
                login = Some((*user, *password));
                after
            }
            [given, after @ ..] if is(word, "setname") => {
                name = Some(*given);
                after
            }
            _ => {
                let word = text(word);
                return Err(CommandError::new(format!(
                    "ERR Syntax error in HELLO option '{word}'"
                )));
            }
        };
    }
    if let Some((user, password)) = login {
        log_in(call, user, password)?;
    }
    if !call.session.authenticated {
        return Err(CommandError::new(
            "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time",
        ));
    }
    if let Some(name) = name {
        set_name(call, name)?;
    }
    call.session.protocol = protocol;
    call.reply.set_protocol(protocol);
    call.state.clients.speaks(call.session.id, protocol);
    let id = call.session.id.0 as i64;
    let reply = &mut *call.reply;
    reply.map(7);
    reply.bulk(b"server");
    reply.bulk(b"redis");
    reply.bulk(b"version");
    reply.bulk(REDIS_VERSION.as_bytes());
    reply.bulk(b"proto");
    reply.integer(protocol.number());
    reply.bulk(b"id");
    reply.integer(id);
    reply.bulk(b"mode");
    reply.bulk(b"standalone");
    reply.bulk(b"role");
    reply.bulk(b"master");
    reply.bulk(b"modules");
    reply.array(1);
    reply.map(4);
    reply.bulk(b"name");
    reply.bulk(b"weald");
    reply.bulk(b"ver");
    reply.integer(version_number());
    reply.bulk(b"path");
    reply.bulk(b"");
    reply.bulk(b"args");
    reply.array(0);
    Ok(())
}

/// The version of Weald as modules give theirs: 10203 for 1.2.3.
pub(super) fn version_number() -> i64 {
    WEALD_VERSION
        .split('.')
        .map(|part| {
            part.bytes()
                .take_while(u8::is_ascii_digit)
                .fold(0, |n, digit| n * 10 + i64::from(digit - b'0'))
        })
        .take(3)
        .fold(0, |number, part| number * 100 + part)
}

fn select(call: &mut Call<'_, '_>) -> CommandResult {
    let index =
        weald_resp::parse_i64(call.args[1]).ok_or_else(|| CommandError::new("ERR invalid DB index"))?;
    call.session.db = database(call, index)?;
    call.reply.ok();
    Ok(())
}

/// The database of this number.
pub(super) fn database(call: &Call<'_, '_>, index: i64) -> Result<usize, CommandError> {
    usize::try_from(index)
        .ok()
        .filter(|index| *index < call.state.settings.databases)
        .ok_or_else(|| CommandError::new("ERR DB index is out of range"))
}

fn quit(call: &mut Call<'_, '_>) -> CommandResult {
    call.session.closing = true;
    call.reply.ok();
    Ok(())
}

fn reset(call: &mut Call<'_, '_>) -> CommandResult {
    call.state.forget_client(call.session);
    let session = &mut *call.session;
    session.multi = None::<Multi>;
    session.db = 0;
    session.name.clear();
    session.protocol = Protocol::Resp2;
    session.reply_mode = ReplyMode::On;
    session.caching = None;
    session.no_evict = false;
    session.no_touch = false;
    session.durability = None;
    session.user = call.state.users.default_user().clone();
    session.authenticated = session.user.needs_no_password();
    call.reply.set_protocol(Protocol::Resp2);
    call.state.clients.speaks(call.session.id, Protocol::Resp2);
    call.reply.simple("RESET");
    Ok(())
}

fn durability(call: &mut Call<'_, '_>) -> CommandResult {
    match call.args {
        [_] => {
            let durability = call.session.durability.unwrap_or(call.state.settings.durability);
            call.reply.bulk(durability.name().as_bytes());
        }
        [_, word] if is(word, "default") => {
            call.session.durability = None;
            call.reply.ok();
        }
        [_, word] => {
            let durability = crate::config::Durability::parse(&text(word)).ok_or_else(|| {
                CommandError::new("ERR the durability is immediate, batched, none or default")
            })?;
            call.session.durability = Some(durability);
            call.reply.ok();
        }
        _ => return Err(CommandError::arity("weald.durability")),
    }
    Ok(())
}

/// A number that must not be negative, among arguments.
pub(super) fn not_negative(arg: &[u8], what: &'static str) -> Result<u64, CommandError> {
    u64::try_from(integer(arg)?).map_err(|_| CommandError::new(what))
}
