//! `CLIENT`: the clients themselves.

use crate::call::Call;
use crate::commands::{integer, is, text, tracking};
use crate::error::{CommandError, CommandResult};
use crate::registry::{Category, Command, Flags, Group};
use crate::session::{ClientId, Link, ReplyMode, Session};
use crate::state::Pause;

const PLAIN: Flags = Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE);
const ADMIN: Flags = PLAIN.and(Flags::ADMIN);

pub(crate) const COMMANDS: &[Command] = &[Command::container(
    "client",
    Group::Connection,
    "2.4.0",
    "A container for client connection commands.",
    &[
        sub(
            "client|id",
            2,
            "5.0.0",
            "Returns the unique client ID of the connection.",
            id,
        ),
        sub(
            "client|info",
            2,
            "6.2.0",
            "Returns information about the connection.",
            info,
        ),
        admin("client|list", -2, "2.4.0", "Lists open connections.", list),
        sub("client|setname", 3, "2.6.9", "Sets the connection name.", setname),
        sub(
            "client|getname",
            2,
            "2.6.9",
            "Returns the name of the connection.",
            getname,
        ),
        sub(
            "client|setinfo",
            4,
            "7.2.0",
            "Sets information specific to the client or connection.",
            setinfo,
        ),
        admin("client|kill", -3, "2.4.0", "Terminates open connections.", kill),
        admin(
            "client|no-evict",
            3,
            "7.0.0",
            "Sets the client eviction mode of the connection.",
            no_evict,
        ),
        sub(
            "client|no-touch",
            3,
            "7.2.0",
            "Controls whether commands sent by the client affect the LRU/LFU of accessed keys.",
            no_touch,
        ),
        sub(
            "client|reply",
            3,
            "3.2.0",
            "Instructs the server whether to reply to commands.",
            reply,
        ),
        admin(
            "client|pause",
            -3,
            "3.0.0",
            "Suspends commands processing.",
            pause,
        ),
        admin(
            "client|unpause",
            2,
            "6.2.0",
            "Resumes processing commands from paused clients.",
            unpause,
        ),
        admin(
            "client|unblock",
            -3,
            "5.0.0",
            "Unblocks a client blocked by a blocking command from a different connection.",
            unblock,
        ),
        sub(
            "client|tracking",
            -3,
            "6.0.0",
            "Controls server-assisted client-side caching for the connection.",
            tracking::tracking,
        ),
        sub(
            "client|caching",
            3,
            "6.0.0",
            "Instructs the server whether to track the keys in the next request.",
            tracking::caching,
        ),
        sub(
            "client|getredir",
            2,
            "6.0.0",
            "Returns the client ID to which the connection's tracking notifications are redirected.",
            tracking::getredir,
        ),
        sub(
            "client|trackinginfo",
            2,
            "6.2.0",
            "Returns information about server-assisted client-side caching for the connection.",
            tracking::trackinginfo,
        ),
        sub(
            "client|help",
            2,
            "5.0.0",
            "Returns helpful text about the different subcommands.",
            super::command::help,
        ),
    ],
)
.flags(Flags::NOSCRIPT)];

const fn sub(
    name: &'static str,
    arity: i32,
    since: &'static str,
    summary: &'static str,
    handler: crate::registry::Handler,
) -> Command {
    Command::new(name, arity, Group::Connection, since, summary, handler).flags(PLAIN)
}

const fn admin(
    name: &'static str,
    arity: i32,
    since: &'static str,
    summary: &'static str,
    handler: crate::registry::Handler,
) -> Command {
    sub(name, arity, since, summary, handler)
        .flags(ADMIN)
        .acl(Category::DANGEROUS)
}

fn id(call: &mut Call<'_, '_>) -> CommandResult {
    call.reply.integer(call.session.id.0 as i64);
    Ok(())
}

fn info(call: &mut Call<'_, '_>) -> CommandResult {
    let line = call.session.describe(call.now_ms) + "\n";
    call.reply.verbatim(b"txt", line.as_bytes());
    Ok(())
}

/// All clients, the one that asks included, in the order in which they came.
fn everybody<'a>(call: &'a Call<'_, '_>) -> Vec<&'a Session> {
    let others = call.state.clients.sorted();
    let mut all: Vec<&Session> = others
        .into_iter()
        .map(|client| &client.session)
        .filter(|session| session.link != Link::Internal)
        .collect();
    let own = &*call.session;
    let at = all.partition_point(|session| session.id < own.id);
    all.insert(at, own);
    all
}

fn list(call: &mut Call<'_, '_>) -> CommandResult {
    let args = call.args;
    let (mut kind, mut ids) = (None, None);
    match &args[2..] {
        [] => {}
        [word, given] if is(word, "type") => kind = Some(client_type(given)?),
        [word, given @ ..] if is(word, "id") && !given.is_empty() => {
            let parsed: Result<Vec<u64>, CommandError> = given.iter().map(|id| client_id(id)).collect();
            ids = Some(parsed?);
        }
        _ => return Err(CommandError::syntax()),
    }
    let wanted = |session: &&Session| {
        kind.is_none_or(|kind| kind == session.class())
            && ids.as_ref().is_none_or(|ids| ids.contains(&session.id.0))
    };
    let lines: String = everybody(call)
        .into_iter()
        .filter(wanted)
        .map(|session| session.describe(call.now_ms) + "\n")
        .collect();
    call.reply.verbatim(b"txt", lines.as_bytes());
    Ok(())
}

fn client_id(arg: &[u8]) -> Result<u64, CommandError> {
    match weald_resp::parse_i64(arg) {
        Some(id) if id > 0 => Ok(id as u64),
        _ => Err(CommandError::new("ERR Invalid client ID")),
    }
}

fn client_type(arg: &[u8]) -> Result<&'static str, CommandError> {
    for (word, class) in [
        ("normal", "normal"),
        ("pubsub", "pubsub"),
        ("replica", "replica"),
        ("slave", "replica"),
        ("master", "master"),
    ] {
        if is(arg, word) {
            return Ok(class);
        }
    }
    Err(CommandError::new(format!(
        "ERR Unknown client type '{}'",
        text(arg)
    )))
}

/// Names have no blanks and nothing that can't be shown.
fn check_name(name: &[u8], what: &str) -> CommandResult {
    if name.iter().all(|byte| (b'!'..=b'~').contains(byte)) {
        Ok(())
    } else {
        Err(CommandError::new(format!(
            "ERR {what} cannot contain spaces, newlines or special characters."
        )))
    }
}

pub(super) fn set_name(call: &mut Call<'_, '_>, name: &[u8]) -> CommandResult {
    check_name(name, "Client names")?;
    call.session.name = name.to_vec();
    Ok(())
}

fn setname(call: &mut Call<'_, '_>) -> CommandResult {
    set_name(call, call.args[2])?;
    call.reply.ok();
    Ok(())
}

fn getname(call: &mut Call<'_, '_>) -> CommandResult {
    let name = &call.session.name;
    call.reply.bulk_or_null((!name.is_empty()).then_some(name));
    Ok(())
}

fn setinfo(call: &mut Call<'_, '_>) -> CommandResult {
    let (word, value) = (call.args[2], call.args[3]);
    if is(word, "lib-name") {
        check_name(value, "lib-name")?;
        call.session.lib_name = value.to_vec();
    } else if is(word, "lib-ver") {
        check_name(value, "lib-ver")?;
        call.session.lib_ver = value.to_vec();
    } else {
        return Err(CommandError::new(format!(
            "ERR Unrecognized option '{}'",
            text(word)
        )));
    }
    call.reply.ok();
    Ok(())
}

/// Which clients to disconnect.
#[derive(Default)]
struct Victims {
    id: Option<u64>,
    peer: Option<String>,
    local: Option<String>,
    class: Option<&'static str>,
    user: Option<Vec<u8>>,
    older_s: Option<u64>,
    spare_own: bool,
}

impl Victims {
    fn parse(call: &Call<'_, '_>, options: &[&[u8]]) -> Result<Victims, CommandError> {
        let mut victims = Victims {
            spare_own: true,
            ..Victims::default()
        };
        if options.is_empty() || !options.len().is_multiple_of(2) {
            return Err(CommandError::syntax());
        }
        for pair in options.chunks_exact(2) {
            let (word, value) = (pair[0], pair[1]);
            match word.to_ascii_lowercase().as_slice() {
                b"id" => {
                    victims.id = Some(match weald_resp::parse_i64(value) {
                        Some(id) if id > 0 => id as u64,
                        _ => return Err(CommandError::new("ERR client-id should be greater than 0")),
                    });
                }
                b"type" => victims.class = Some(client_type(value)?),
                b"addr" => victims.peer = Some(text(value).into_owned()),
                b"laddr" => victims.local = Some(text(value).into_owned()),
                b"user" => {
                    if call.state.users.get(value).is_none() {
                        let name = text(value);
                        return Err(CommandError::new(format!("ERR No such user '{name}'")));
                    }
                    victims.user = Some(value.to_vec());
                }
                b"skipme" if is(value, "yes") => victims.spare_own = true,
                b"skipme" if is(value, "no") => victims.spare_own = false,
                b"maxage" => {
                    let age = weald_resp::parse_i64(value)
                        .ok_or_else(|| CommandError::new("ERR maxage is not an integer or out of range"))?;
                    if age <= 0 {
                        return Err(CommandError::new("ERR maxage should be greater than 0"));
                    }
                    victims.older_s = Some(age as u64);
                }
                _ => return Err(CommandError::syntax()),
            }
        }
        Ok(victims)
    }

    fn has(&self, session: &Session, now_ms: u64) -> bool {
        self.id.is_none_or(|id| id == session.id.0)
            && self.peer.as_ref().is_none_or(|peer| *peer == session.peer)
            && self.local.as_ref().is_none_or(|local| *local == session.local)
            && self.class.is_none_or(|class| class == session.class())
            && self
                .user
                .as_ref()
                .is_none_or(|user| user == session.user.name_bytes())
            && self
                .older_s
                .is_none_or(|age| now_ms.saturating_sub(session.created_ms) / 1000 >= age)
    }
}

fn kill(call: &mut Call<'_, '_>) -> CommandResult {
    let args = call.args;
    let by_address = args.len() == 3;
    let victims = if by_address {
        Victims {
            peer: Some(text(args[2]).into_owned()),
            ..Victims::default()
        }
    } else {
        Victims::parse(call, &args[2..])?
    };
    let now_ms = call.now_ms;
    let found: Vec<ClientId> = call
        .state
        .clients
        .iter()
        .filter(|client| victims.has(&client.session, now_ms) && client.session.link != Link::Internal)
        .map(|client| client.session.id)
        .collect();
    for id in &found {
        call.state.clients.doomed.push((*id, "somebody asked for it"));
    }
    let own = !victims.spare_own && victims.has(call.session, now_ms);
    call.session.closing |= own;
    let count = found.len() + usize::from(own);
    match (by_address, count) {
        (false, count) => call.reply.integer(count as i64),
        (true, 0) => return Err(CommandError::new("ERR No such client")),
        (true, _) => call.reply.ok(),
    }
    Ok(())
}

fn switch(arg: &[u8]) -> Result<bool, CommandError> {
    match arg {
        arg if is(arg, "on") => Ok(true),
        arg if is(arg, "off") => Ok(false),
        _ => Err(CommandError::syntax()),
    }
}

fn no_evict(call: &mut Call<'_, '_>) -> CommandResult {
    call.session.no_evict = switch(call.args[2])?;
    call.reply.ok();
    Ok(())
}

fn no_touch(call: &mut Call<'_, '_>) -> CommandResult {
    call.session.no_touch = switch(call.args[2])?;
    call.reply.ok();
    Ok(())
}

fn reply(call: &mut Call<'_, '_>) -> CommandResult {
    call.session.reply_mode = match call.args[2] {
        word if is(word, "on") => ReplyMode::On,
        word if is(word, "off") => ReplyMode::Off,
        word if is(word, "skip") => match call.session.reply_mode {
            ReplyMode::Off => ReplyMode::Off,
            _ => ReplyMode::SkipNext,
        },
        _ => return Err(CommandError::syntax()),
    };
    call.reply.ok();
    Ok(())
}

fn pause(call: &mut Call<'_, '_>) -> CommandResult {
    let writes_only = match &call.args[3..] {
        [] => false,
        [word] if is(word, "all") => false,
        [word] if is(word, "write") => true,
        [_] => return Err(CommandError::new("ERR CLIENT PAUSE mode must be WRITE or ALL")),
        _ => return Err(CommandError::syntax()),
    };
    let ms = weald_resp::parse_i64(call.args[2])
        .ok_or_else(|| CommandError::new("ERR timeout is not an integer or out of range"))?;
    let ms = u64::try_from(ms).map_err(|_| CommandError::new("ERR timeout is negative"))?;
    let until_ms = call
        .now_ms
        .checked_add(ms)
        .filter(|until| *until <= i64::MAX as u64)
        .ok_or_else(|| CommandError::new("ERR timeout is out of range"))?;
    // One that is stricter or longer stays.
    let before = call.state.pause;
    call.state.pause = Some(Pause {
        until_ms: before.map_or(until_ms, |pause| pause.until_ms.max(until_ms)),
        writes_only: before.map_or(writes_only, |pause| pause.writes_only && writes_only),
    });
    call.reply.ok();
    Ok(())
}

fn unpause(call: &mut Call<'_, '_>) -> CommandResult {
    call.state.pause = None;
    call.state.clients.all_due();
    call.reply.ok();
    Ok(())
}

fn unblock(call: &mut Call<'_, '_>) -> CommandResult {
    let with_error = match &call.args[3..] {
        [] => false,
        [word] if is(word, "timeout") => false,
        [word] if is(word, "error") => true,
        _ => {
            return Err(CommandError::new(
                "ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR",
            ));
        }
    };
    let id = ClientId(integer(call.args[2])?.max(0) as u64);
    let blocked = call
        .state
        .clients
        .get_mut(id)
        .and_then(|client| client.session.blocked.take());
    let Some(blocked) = blocked else {
        call.reply.integer(0);
        return Ok(());
    };
    call.state.waiting.remove(id, &blocked);
    if with_error {
        call.state.count_error("UNBLOCKED");
        call.state.stats_of(blocked.found.id).failed += 1;
    }
    call.state.clients.write(id, |reply| {
        if with_error {
            reply.error("UNBLOCKED client unblocked via CLIENT UNBLOCK");
        } else {
            blocked.on_timeout.write(reply);
        }
    });
    call.reply.integer(1);
    Ok(())
}
