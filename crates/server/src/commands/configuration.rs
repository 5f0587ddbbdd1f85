//! `CONFIG`: settings of a server that runs.

use std::path::Path;

use crate::call::Call;
use crate::commands::{is, text};
use crate::config::{Config, Rewrite, Setting, settings};
use crate::error::{CommandError, CommandResult};
use crate::eviction::Room;
use crate::glob;
use crate::net::{Listening, Places};
use crate::notify::Event;
use crate::registry::{Command, Flags, Group};
use crate::server::StartError;
use crate::state::State;
use crate::stats::CommandStats;

const FLAGS: Flags = Flags::ADMIN
    .and(Flags::NOSCRIPT)
    .and(Flags::LOADING)
    .and(Flags::STALE);

pub(crate) const COMMANDS: &[Command] = &[Command::container(
    "config",
    Group::Server,
    "2.0.0",
    "A container for server configuration commands.",
    &[
        sub(
            "config|get",
            -3,
            "2.0.0",
            "Returns the effective values of configuration parameters.",
            get,
        ),
        sub(
            "config|set",
            -4,
            "2.0.0",
            "Sets configuration parameters in-flight.",
            set,
        ),
        sub(
            "config|resetstat",
            2,
            "2.0.0",
            "Resets the server's statistics.",
            resetstat,
        ),
        sub(
            "config|rewrite",
            2,
            "2.8.0",
            "Persists the effective configuration to file.",
            rewrite,
        ),
        sub(
            "config|help",
            2,
            "5.0.0",
            "Returns helpful text about the different subcommands.",
            super::command::help,
        ),
    ],
)];

const fn sub(
    name: &'static str,
    arity: i32,
    since: &'static str,
    summary: &'static str,
    handler: crate::registry::Handler,
) -> Command {
    Command::new(name, arity, Group::Server, since, summary, handler).flags(FLAGS)
}

fn get(call: &mut Call<'_, '_>) -> CommandResult {
    let patterns = &call.args[2..];
    let wanted = |name: &str| {
        patterns
            .iter()
            .any(|pattern| glob::matches_any_case(pattern, name.as_bytes()))
    };
    let named = |name: &str| patterns.iter().any(|pattern| is(pattern, name));
    let mut found: Vec<(&str, &str)> = Vec::new();
    let shown = |setting: &&Setting| {
        !setting.kind.adds_up() && (named(setting.name) || (!setting.hidden && wanted(setting.name)))
    };
    for setting in settings().iter().filter(shown) {
        // Who may ask may not know: the secret itself is told to nobody.
        let hidden = setting.secret && !call.state.config.text(setting.name).is_empty();
        let value = if hidden {
            "(redacted)"
        } else {
            call.state.config.text(setting.name)
        };
        found.push((setting.name, value));
    }
    for (other, name) in crate::config::other_names()
        .iter()
        .filter(|(other, _)| wanted(other))
    {
        found.push((other, call.state.config.text(name)));
    }
    call.reply.map(found.len());
    for (name, value) in found {
        call.reply.bulk(name.as_bytes());
        call.reply.bulk(value.as_bytes());
    }
    Ok(())
}

/// Those that Redis can't change either. Others that Weald can't change may at least be set to what they are, as tools do that write back what they have read.
const IMMUTABLE: &[&str] = &[
    "unixsocket",
    "unixsocketperm",
    "tcp-backlog",
    "logfile",
    "databases",
    "aclfile",
    "enable-debug-command",
];

fn set(call: &mut Call<'_, '_>) -> CommandResult {
    let pairs = &call.args[2..];
    if !pairs.len().is_multiple_of(2) {
        return Err(CommandError::arity("config|set"));
    }
    let mut config: Config = call.state.config.clone();
    let mut seen = Vec::new();
    for pair in pairs.chunks_exact(2) {
        let (name, value) = (text(pair[0]), text(pair[1]));
        let Some(setting) = crate::config::find(&name).filter(|setting| !setting.kind.adds_up()) else {
            return Err(CommandError::new(format!(
                "ERR Unknown option or number of arguments for CONFIG SET - '{name}'"
            )));
        };
        let failed = |why: &str| {
            CommandError::new(format!(
                "ERR CONFIG SET failed (possibly related to argument '{name}') - {why}"
            ))
        };
        if seen.contains(&setting.name) {
            return Err(failed("duplicate parameter"));
        }
        seen.push(setting.name);
        if !setting.live {
            let as_it_is = setting.kind.check(&value).as_deref() == Ok(config.text(setting.name));
            if as_it_is && !IMMUTABLE.contains(&setting.name) && !setting.inert {
                continue;
            }
            return Err(failed("can't set immutable config"));
        }
        config.set(&name, &value).map_err(|e| match e {
            crate::config::ConfigError::Invalid { why, .. } => failed(&why),
            e => failed(&e.to_string()),
        })?;
    }
    let settings = config
        .settings()
        .map_err(|e| CommandError::new(format!("ERR CONFIG SET failed - {e}")))?;
    let of_tls = [
        "tls-cert-file",
        "tls-key-file",
        "tls-ca-cert-file",
        "tls-auth-clients",
    ];
    if let Some(tls) = &call.state.tls
        && let Some(name) = seen.iter().find(|name| of_tls.contains(name))
    {
        tls.renew(&config).map_err(|e| {
            CommandError::new(format!(
                "ERR CONFIG SET failed (possibly related to argument '{name}') - Unable to update TLS configuration: {e}"
            ))
        })?;
    }
    if let Some(name) = ["port", "bind"]
        .into_iter()
        .find(|name| call.state.config.text(name) != config.text(name))
    {
        call.state.listen = Some(listen(call.state, &config).map_err(|e| {
            log::warn!("{e}");
            let why = match name {
                "port" => "Unable to listen on this port. Check server logs.",
                _ => "Failed to bind to specified addresses.",
            };
            CommandError::new(format!(
                "ERR CONFIG SET failed (possibly related to argument '{name}') - {why}"
            ))
        })?);
    }
    call.state.config = config;
    call.keyspace.encodings = settings.encodings.clone();
    call.keyspace.uses.counting.set(settings.counting);
    let notified = settings.notified;
    call.keyspace
        .lookups
        .notes(notified.wants(Event::NEW), notified.wants(Event::MISS));
    call.state.settings = settings;
    call.state.room = Room::default();
    call.state.users.all_channels = call.state.config.text("acl-pubsub-default") == "allchannels";
    let keys_max = call.state.settings.tracking_keys_max;
    call.state.tracking.shrink(&mut call.state.clients, keys_max);
    if seen.contains(&"requirepass") {
        let password = call.state.config.text("requirepass").to_owned();
        let user = call.state.users.set_default_password(&password);
        call.state.user_changed(Some(&user), b"default", call.session);
    }
    call.reply.ok();
    Ok(())
}

/// The sockets of a configuration, beside those that there are.
fn listen(state: &State, config: &Config) -> Result<Vec<Listening>, StartError> {
    let places = Places::of(config)?;
    places.refuse_public(config)?;
    places.listen(config, state.tls.as_ref(), &state.bound)
}

fn resetstat(call: &mut Call<'_, '_>) -> CommandResult {
    call.state.stats.reset();
    call.state.command_stats.fill(CommandStats::default());
    call.state.error_codes.clear();
    call.reply.ok();
    Ok(())
}

fn rewrite(call: &mut Call<'_, '_>) -> CommandResult {
    let state = &mut *call.state;
    let Some(path) = state.config.file().map(Path::to_owned) else {
        return Err(CommandError::new(
            "ERR The server is running without a config file",
        ));
    };
    let mut rewrite = Rewrite::between(&state.written.config, &state.config);
    if rewrite.has("requirepass") && !state.config.text("requirepass-file").is_empty() {
        return Err(CommandError::new(
            "ERR Rewriting config file: the password would come from requirepass-file again",
        ));
    }
    let users = state.users.declarations();
    if state.config.text("aclfile").is_empty() && users != state.written.users {
        rewrite.users(&users);
    }
    rewrite.write(&path).map_err(|e| {
        log::warn!("can't rewrite {}: {e}", path.display());
        CommandError::new(format!("ERR Rewriting config file: {e}"))
    })?;
    log::info!("{} was rewritten", path.display());
    state.written.config = state.config.clone();
    state.written.users = users;
    call.reply.ok();
    Ok(())
}
