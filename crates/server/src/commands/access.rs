//! `ACL`: users and what they may do.

use std::path::PathBuf;
use std::sync::Arc;

use crate::acl::selector::category_of;
use crate::acl::{Denied, Selector, User, Users, file};
use crate::call::Call;
use crate::commands::{integer, is, text};
use crate::error::{CommandError, CommandResult};
use crate::registry::{Category, Command, Flags, Group, registry};

const PLAIN: Flags = Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE);
const ADMIN: Flags = PLAIN.and(Flags::ADMIN);

pub(crate) const COMMANDS: &[Command] = &[Command::container(
    "acl",
    Group::Server,
    "6.0.0",
    "A container for Access List Control commands.",
    &[
        sub(
            "acl|whoami",
            2,
            "6.0.0",
            "Returns the authenticated username of the current connection.",
            whoami,
            PLAIN,
        ),
        sub(
            "acl|list",
            2,
            "6.0.0",
            "Dumps the effective rules in ACL file format.",
            list,
            ADMIN,
        ),
        sub("acl|users", 2, "6.0.0", "Lists all ACL users.", users, ADMIN),
        sub(
            "acl|setuser",
            -3,
            "6.0.0",
            "Creates and modifies an ACL user and its rules.",
            setuser,
            ADMIN,
        ),
        sub(
            "acl|getuser",
            3,
            "6.0.0",
            "Lists the ACL rules of a user.",
            getuser,
            ADMIN,
        ),
        sub(
            "acl|deluser",
            -3,
            "6.0.0",
            "Deletes ACL users, and terminates their connections.",
            deluser,
            ADMIN,
        ),
        sub(
            "acl|cat",
            -2,
            "6.0.0",
            "Lists the ACL categories, or the commands inside a category.",
            cat,
            PLAIN,
        ),
        sub(
            "acl|log",
            -2,
            "6.0.0",
            "Lists recent security events generated due to ACL rules.",
            log,
            ADMIN,
        ),
        sub(
            "acl|genpass",
            -2,
            "6.0.0",
            "Generates a pseudorandom, secure password that can be used to identify ACL users.",
            genpass,
            PLAIN,
        ),
        sub(
            "acl|dryrun",
            -4,
            "7.0.0",
            "Simulates the execution of a command by a user, without executing the command.",
            dryrun,
            ADMIN,
        ),
        sub(
            "acl|load",
            2,
            "6.0.0",
            "Reloads the rules from the configured ACL file.",
            load,
            ADMIN,
        ),
        sub(
            "acl|save",
            2,
            "6.0.0",
            "Saves the effective ACL rules in the configured ACL file.",
            save,
            ADMIN,
        ),
        sub(
            "acl|help",
            2,
            "6.0.0",
            "Returns helpful text about the different subcommands.",
            super::command::help,
            PLAIN,
        ),
    ],
)];

const fn sub(
    name: &'static str,
    arity: i32,
    since: &'static str,
    summary: &'static str,
    handler: crate::registry::Handler,
    flags: Flags,
) -> Command {
    Command::new(name, arity, Group::Server, since, summary, handler).flags(flags)
}

fn whoami(call: &mut Call<'_, '_>) -> CommandResult {
    call.reply.bulk(call.session.user.name_bytes());
    Ok(())
}

fn list(call: &mut Call<'_, '_>) -> CommandResult {
    let users = &call.state.users;
    call.reply.array(users.iter().len());
    users.iter().for_each(|user| call.reply.bulk(&file::line(user)));
    Ok(())
}

fn users(call: &mut Call<'_, '_>) -> CommandResult {
    let users = &call.state.users;
    call.reply.array(users.iter().len());
    users.iter().for_each(|user| call.reply.bulk(user.name_bytes()));
    Ok(())
}

/// The error of a rule, which is shown unless it is a password.
fn bad_rule(rule: &[u8], why: &str) -> CommandError {
    let shown = match rule.first() {
        Some(b'>' | b'<') => "(redacted)".into(),
        _ => text(rule),
    };
    CommandError::new(format!("ERR Error in ACL SETUSER modifier '{shown}': {why}"))
}

fn setuser(call: &mut Call<'_, '_>) -> CommandResult {
    let name = call.args[2];
    if name.is_empty() || name.iter().any(|byte| byte.is_ascii_whitespace() || *byte == 0) {
        return Err(CommandError::new(
            "ERR Usernames can't contain spaces or null characters",
        ));
    }
    let user = call
        .state
        .users
        .set(name, &call.args[3..])
        .map_err(|(rule, why)| {
            if why.starts_with("Unmatched parenthesis in acl") {
                CommandError::new(format!("ERR {why} '{}'.", text(&rule)))
            } else {
                bad_rule(&rule, why)
            }
        })?;
    drop_listeners(call, &user);
    call.state.user_changed(Some(&user), name, call.session);
    call.reply.ok();
    Ok(())
}

/// Disconnects clients of a user who listen to what the user may not listen to any more.
fn drop_listeners(call: &mut Call<'_, '_>, user: &Arc<User>) {
    let mut gone = Vec::new();
    for client in call
        .state
        .clients
        .iter()
        .filter(|client| client.session.user.name_bytes() == user.name_bytes())
    {
        let subscriptions = &client.session.subscriptions;
        let mut plain = subscriptions.channels.iter().chain(&subscriptions.shards);
        let allowed = plain.all(|channel| user.allows_channel(channel, false))
            && subscriptions
                .patterns
                .iter()
                .all(|pattern| user.allows_channel(pattern, true));
        if !allowed {
            gone.push(client.session.id);
        }
    }
    for id in gone {
        call.state
            .clients
            .doomed
            .push((id, "its user may not listen to what it listens to"));
    }
}

fn getuser(call: &mut Call<'_, '_>) -> CommandResult {
    let Some(user) = call.state.users.get(call.args[2]) else {
        call.reply.null_array();
        return Ok(());
    };
    let reply = &mut *call.reply;
    reply.map(6);
    reply.bulk(b"flags");
    let flags = user.flags();
    reply.set(flags.len());
    flags.iter().for_each(|flag| reply.bulk(flag.as_bytes()));
    reply.bulk(b"passwords");
    reply.array(user.passwords.len());
    user.passwords
        .iter()
        .for_each(|digest| reply.bulk(digest.hex().as_bytes()));
    describe(reply, &user.selectors[0]);
    reply.bulk(b"selectors");
    reply.array(user.selectors.len() - 1);
    for selector in &user.selectors[1..] {
        reply.map(3);
        describe(reply, selector);
    }
    Ok(())
}

fn describe(reply: &mut weald_resp::Reply, selector: &Selector) {
    reply.bulk(b"commands");
    reply.bulk(selector.describe_commands().as_bytes());
    reply.bulk(b"keys");
    reply.bulk(&selector.describe_keys());
    reply.bulk(b"channels");
    reply.bulk(&selector.describe_channels());
}

fn deluser(call: &mut Call<'_, '_>) -> CommandResult {
    let names = &call.args[2..];
    if names.contains(&&b"default"[..]) {
        return Err(CommandError::new("ERR The 'default' user cannot be removed"));
    }
    let mut removed = 0;
    for name in names {
        if call.state.users.remove(name) {
            removed += 1;
            call.state.user_changed(None, name, call.session);
            call.session.closing |= call.session.user.name_bytes() == *name;
        }
    }
    call.reply.integer(removed);
    Ok(())
}

fn cat(call: &mut Call<'_, '_>) -> CommandResult {
    match &call.args[2..] {
        [] => {
            call.reply.array(Category::NAMED.len());
            Category::NAMED
                .iter()
                .for_each(|(_, name)| call.reply.bulk(name.as_bytes()));
        }
        [name] => {
            let category = category_of(&text(name).to_ascii_lowercase())
                .ok_or_else(|| CommandError::new(format!("ERR Unknown category '{}'", text(name))))?;
            let all = registry().all().iter().map(|found| found.command);
            let names: Vec<&str> = all
                .filter(|c| c.categories().has(category))
                .map(|c| c.name)
                .collect();
            call.reply.array(names.len());
            names.iter().for_each(|name| call.reply.bulk(name.as_bytes()));
        }
        _ => {
            return Err(CommandError::new(format!(
                "ERR unknown subcommand or wrong number of arguments for '{}'. Try ACL HELP.",
                text(call.args[1])
            )));
        }
    }
    Ok(())
}

fn log(call: &mut Call<'_, '_>) -> CommandResult {
    let count = match &call.args[2..] {
        [] => 10,
        [word] if is(word, "reset") => {
            call.state.acl_log.clear();
            call.reply.ok();
            return Ok(());
        }
        [count] => usize::try_from(integer(count)?).unwrap_or(0),
        _ => return Err(CommandError::arity("acl|log")),
    };
    let (log, now_ms) = (&call.state.acl_log, call.now_ms);
    let reply = &mut *call.reply;
    reply.array(log.iter().len().min(count));
    for entry in log.iter().take(count) {
        reply.map(10);
        reply.bulk(b"count");
        reply.integer(entry.count as i64);
        reply.bulk(b"reason");
        reply.bulk(entry.reason.name().as_bytes());
        reply.bulk(b"context");
        reply.bulk(if entry.in_multi { b"multi" } else { b"toplevel" });
        reply.bulk(b"object");
        reply.bulk(&entry.object);
        reply.bulk(b"username");
        reply.bulk(&entry.user);
        reply.bulk(b"age-seconds");
        reply.double(now_ms.saturating_sub(entry.created_ms) as f64 / 1000.0);
        reply.bulk(b"client-info");
        reply.bulk(entry.client.as_bytes());
        reply.bulk(b"entry-id");
        reply.integer(entry.id as i64);
        reply.bulk(b"timestamp-created");
        reply.integer(entry.created_ms as i64);
        reply.bulk(b"timestamp-last-updated");
        reply.integer(entry.updated_ms as i64);
    }
    Ok(())
}

fn genpass(call: &mut Call<'_, '_>) -> CommandResult {
    let bits = match &call.args[2..] {
        [] => 256,
        [bits] => integer(bits)?,
        _ => return Err(CommandError::arity("acl|genpass")),
    };
    if !(1..=4096).contains(&bits) {
        return Err(CommandError::new(
            "ERR ACL GENPASS argument must be the number of bits for the output password, a positive number up to 4096",
        ));
    }
    call.reply
        .bulk(crate::random::hex((bits as usize).div_ceil(4)).as_bytes());
    Ok(())
}

fn dryrun(call: &mut Call<'_, '_>) -> CommandResult {
    let name = call.args[2];
    let user = call.state.users.get(name).cloned();
    let user = user.ok_or_else(|| CommandError::new(format!("ERR User '{}' not found", text(name))))?;
    let args = &call.args[3..];
    let renames = &call.state.renames;
    let found = renames
        .find(args)
        .map_err(|_| CommandError::new(format!("ERR Command '{}' not found", text(args[0]))))?;
    if !found.command.takes(args.len()) {
        return Err(CommandError::arity(found.command.name));
    }
    let name = user.name();
    match user.check(found, args) {
        Ok(()) => call.reply.ok(),
        Err(Denied::Command) => call.reply.bulk_fmt(format_args!(
            "User {name} has no permissions to run the '{}' command",
            found.command.name
        )),
        Err(Denied::Key(key)) => call.reply.bulk_fmt(format_args!(
            "User {name} has no permissions to access the '{}' key",
            text(&key)
        )),
        Err(Denied::Channel(channel)) => call.reply.bulk_fmt(format_args!(
            "User {name} has no permissions to access the '{}' channel",
            text(&channel)
        )),
    }
    Ok(())
}

fn file_path(call: &Call<'_, '_>) -> Result<PathBuf, CommandError> {
    file::path_of(&call.state.config).ok_or_else(|| {
        CommandError::new(
            "ERR This Redis instance is not configured to use an ACL file. You may want to specify users via the ACL SETUSER command and then issue a CONFIG REWRITE (assuming you have a Redis configuration file set) in order to store users in the Redis configuration.",
        )
    })
}

fn load(call: &mut Call<'_, '_>) -> CommandResult {
    let path = file_path(call)?;
    let loaded = Users::load(&path, call.state.users.all_channels)
        .map_err(|why| CommandError::new(format!("ERR {why}. WARNING: ACL errors detected, no change to the previously active ACL rules was performed")))?;
    let before = std::mem::replace(&mut call.state.users, loaded);
    for user in before.iter() {
        let now = call.state.users.get(user.name_bytes()).cloned();
        if let Some(now) = &now {
            drop_listeners(call, now);
        }
        call.session.closing |= now.is_none() && call.session.user.name_bytes() == user.name_bytes();
        call.state
            .user_changed(now.as_ref(), user.name_bytes(), call.session);
    }
    call.reply.ok();
    Ok(())
}

fn save(call: &mut Call<'_, '_>) -> CommandResult {
    let path = file_path(call)?;
    call.state.users.save(&path).map_err(|e| {
        log::warn!("can't save the users: {e}");
        CommandError::new("ERR There was an error trying to save the ACLs. Please check the server logs for more information")
    })?;
    call.reply.ok();
    Ok(())
}
