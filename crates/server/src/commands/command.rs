//! `COMMAND`: what commands there are. All of it comes from the table.

use weald_resp::Reply;

use crate::call::Call;
use crate::commands::{is, text};
use crate::error::{CommandError, CommandResult};
use crate::glob;
use crate::registry::{
    Access, Argument, Category, Command, Flags, Found, Group, KeySpec, Place, Renames, arguments, registry,
};

const PLAIN: Flags = Flags::LOADING.and(Flags::STALE);

pub(crate) const COMMANDS: &[Command] = &[Command::container(
    "command",
    Group::Server,
    "2.8.13",
    "Returns detailed information about all commands.",
    &[
        sub(
            "command|count",
            2,
            "2.8.13",
            "Returns a count of commands.",
            count,
        ),
        sub(
            "command|docs",
            -2,
            "7.0.0",
            "Returns documentary information about one, multiple or all commands.",
            docs,
        ),
        sub(
            "command|getkeys",
            -3,
            "2.8.13",
            "Extracts the key names from an arbitrary command.",
            getkeys,
        ),
        sub(
            "command|getkeysandflags",
            -3,
            "7.0.0",
            "Extracts the key names and access flags for an arbitrary command.",
            getkeysandflags,
        ),
        sub(
            "command|info",
            -2,
            "2.8.13",
            "Returns information about one, multiple or all commands.",
            info,
        ),
        sub(
            "command|list",
            -2,
            "7.0.0",
            "Returns a list of command names.",
            list,
        ),
        sub(
            "command|help",
            2,
            "5.0.0",
            "Returns helpful text about the different subcommands.",
            help,
        ),
    ],
)
.alone(all)
.flags(PLAIN)
.acl(Category::CONNECTION)
.arity(-1)];

const fn sub(
    name: &'static str,
    arity: i32,
    since: &'static str,
    summary: &'static str,
    handler: crate::registry::Handler,
) -> Command {
    Command::new(name, arity, Group::Server, since, summary, handler)
        .flags(PLAIN)
        .acl(Category::CONNECTION)
}

/// Tells of the subcommands of the command that it is one of.
pub(super) fn help(call: &mut Call<'_, '_>) -> CommandResult {
    let name = call.found.command.name.split('|').next().unwrap_or_default();
    let Some(container) = registry().find(name.as_bytes()) else {
        return Ok(());
    };
    let mut lines = vec![format!(
        "{} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        name.to_ascii_uppercase()
    )];
    for sub in container.command.subcommands() {
        lines.push(sub.word().to_ascii_uppercase());
        lines.push(format!("    {}", sub.summary));
    }
    call.reply.array(lines.len());
    lines.iter().for_each(|line| call.reply.simple(line));
    Ok(())
}

fn all(call: &mut Call<'_, '_>) -> CommandResult {
    let commands = reached(call);
    call.reply.array(commands.len());
    commands
        .iter()
        .for_each(|found| describe(call.reply, found.command));
    Ok(())
}

fn count(call: &mut Call<'_, '_>) -> CommandResult {
    call.reply.integer(reached(call).len() as i64);
    Ok(())
}

/// All commands that nobody has taken the name away from.
fn reached(call: &Call<'_, '_>) -> Vec<Found> {
    let renames = &call.state.renames;
    let reached = |found: &&Found| renames.reaches(found.command.name);
    registry().top().filter(reached).copied().collect()
}

/// The command of a name, `client|list` for a subcommand.
fn named(call: &Call<'_, '_>, name: &[u8]) -> Option<Found> {
    let renames = &call.state.renames;
    registry()
        .find(name)
        .filter(|found| renames.reaches(found.command.name))
}

fn info(call: &mut Call<'_, '_>) -> CommandResult {
    let names = &call.args[2..];
    if names.is_empty() {
        return all(call);
    }
    call.reply.array(names.len());
    for name in names {
        match named(call, name) {
            Some(found) => describe(call.reply, found.command),
            None => call.reply.null_array(),
        }
    }
    Ok(())
}

fn describe(reply: &mut Reply, command: &Command) {
    reply.array(10);
    reply.bulk(command.name.as_bytes());
    reply.integer(i64::from(command.arity));
    let movable = command
        .keys
        .iter()
        .any(|spec| !matches!(spec.place, Place::Range { .. }));
    let flags = if movable {
        command.flags.and(Flags::MOVABLEKEYS)
    } else {
        command.flags
    };
    let names: Vec<&str> = Flags::NAMED
        .iter()
        .filter(|(flag, _)| flags.has(*flag))
        .map(|(_, name)| *name)
        .collect();
    reply.set(names.len());
    names.iter().for_each(|name| reply.simple(name));
    let (first, last, step) = legacy_keys(command.keys);
    reply.integer(first);
    reply.integer(last);
    reply.integer(step);
    let categories: Vec<&str> = Category::NAMED
        .iter()
        .filter(|(category, _)| command.categories().has(*category))
        .map(|(_, name)| *name)
        .collect();
    reply.set(categories.len());
    categories
        .iter()
        .for_each(|name| reply.simple(&format!("@{name}")));
    reply.array(0);
    reply.array(command.keys.len());
    command.keys.iter().for_each(|spec| describe_keys(reply, spec));
    reply.array(command.subcommands().len());
    command.subcommands().iter().for_each(|sub| describe(reply, sub));
}

/// First, last and step, as clients of old know keys.
fn legacy_keys(keys: &[KeySpec]) -> (i64, i64, i64) {
    let ranges: Vec<(i64, i64, i64)> = keys
        .iter()
        .filter_map(|spec| match spec.place {
            Place::Range { first, last, step } => Some((first as i64, i64::from(last), step as i64)),
            Place::OneOrAfter { at, .. } => Some((at as i64, at as i64, 1)),
            _ => None,
        })
        .collect();
    match ranges.as_slice() {
        [] => (0, 0, 0),
        [one] => *one,
        // Neighbours that are used differently are one range to them.
        [first, rest @ ..] => {
            let last = rest.iter().map(|range| range.1).fold(first.1, i64::max);
            (first.0, last, first.2)
        }
    }
}

fn describe_keys(reply: &mut Reply, spec: &KeySpec) {
    reply.map(3);
    reply.bulk(b"flags");
    let flags = spec.access.flags();
    let varies = spec.varies().then_some("variable_flags");
    reply.set(flags.len() + usize::from(spec.varies()));
    flags
        .iter()
        .copied()
        .chain(varies)
        .for_each(|flag| reply.simple(flag));
    let spec_of = |reply: &mut Reply, kind: &str, fields: &[(&str, i64)]| {
        reply.map(2);
        reply.bulk(b"type");
        reply.bulk(kind.as_bytes());
        reply.bulk(b"spec");
        reply.map(fields.len());
        for (name, value) in fields {
            reply.bulk(name.as_bytes());
            reply.integer(*value);
        }
    };
    reply.bulk(b"begin_search");
    match spec.place {
        Place::Range { first, last, step } => {
            spec_of(reply, "index", &[("index", first as i64)]);
            reply.bulk(b"find_keys");
            let last = if last < 0 {
                i64::from(last)
            } else {
                i64::from(last) - first as i64
            };
            spec_of(
                reply,
                "range",
                &[("lastkey", last), ("keystep", step as i64), ("limit", 0)],
            );
        }
        Place::Counted { count_at } => {
            spec_of(reply, "index", &[("index", count_at as i64)]);
            reply.bulk(b"find_keys");
            spec_of(
                reply,
                "keynum",
                &[("keynumidx", 0), ("firstkey", 1), ("keystep", 1)],
            );
        }
        Place::Keyword { word, from, .. } | Place::OneOrAfter { word, from, .. } => {
            let last = match spec.place {
                Place::OneOrAfter { .. } => -1,
                _ => 0,
            };
            reply.map(2);
            reply.bulk(b"type");
            reply.bulk(b"keyword");
            reply.bulk(b"spec");
            reply.map(2);
            reply.bulk(b"keyword");
            reply.bulk(word.to_ascii_uppercase().as_bytes());
            reply.bulk(b"startfrom");
            reply.integer(from as i64);
            reply.bulk(b"find_keys");
            spec_of(reply, "range", &[("lastkey", last), ("keystep", 1), ("limit", 0)]);
        }
    }
}

fn docs(call: &mut Call<'_, '_>) -> CommandResult {
    let names = &call.args[2..];
    let found: Vec<Found> = if names.is_empty() {
        reached(call)
    } else {
        names.iter().filter_map(|name| named(call, name)).collect()
    };
    call.reply.map(found.len());
    found.iter().for_each(|found| document(call.reply, found.command));
    Ok(())
}

fn document(reply: &mut Reply, command: &Command) {
    let subcommands = command.subcommands();
    let arguments = arguments(command.name);
    reply.bulk(command.name.as_bytes());
    reply.map(3 + usize::from(!arguments.is_empty()) + usize::from(!subcommands.is_empty()));
    reply.bulk(b"summary");
    reply.bulk(command.summary.as_bytes());
    reply.bulk(b"since");
    reply.bulk(command.since.as_bytes());
    reply.bulk(b"group");
    reply.bulk(command.group.name().as_bytes());
    if !arguments.is_empty() {
        reply.bulk(b"arguments");
        document_arguments(reply, &arguments, command.keys.len(), &mut 0);
    }
    if !subcommands.is_empty() {
        reply.bulk(b"subcommands");
        reply.map(subcommands.len());
        subcommands.iter().for_each(|sub| document(reply, sub));
    }
}

/// Of `specs` places where keys are, `seen` were met before.
fn document_arguments(reply: &mut Reply, arguments: &[Argument], specs: usize, seen: &mut usize) {
    reply.array(arguments.len());
    for argument in arguments {
        let spec = (argument.kind == "key" && specs > 0).then(|| {
            *seen += 1;
            (*seen - 1).min(specs - 1)
        });
        let flags: Vec<&str> = [
            (argument.is_optional, "optional"),
            (argument.is_multiple, "multiple"),
            (argument.repeats_token, "multiple_token"),
        ]
        .iter()
        .filter(|(is, _)| *is)
        .map(|(_, name)| *name)
        .collect();
        let some = [
            spec.is_some(),
            argument.token.is_some(),
            !flags.is_empty(),
            !argument.parts.is_empty(),
        ];
        reply.map(2 + some.iter().filter(|is| **is).count());
        reply.bulk(b"name");
        reply.bulk(argument.name.as_bytes());
        reply.bulk(b"type");
        reply.bulk(argument.kind.as_bytes());
        if let Some(spec) = spec {
            reply.bulk(b"key_spec_index");
            reply.integer(spec as i64);
        }
        if let Some(token) = argument.token {
            reply.bulk(b"token");
            reply.bulk(token.as_bytes());
        }
        if !flags.is_empty() {
            reply.bulk(b"flags");
            reply.set(flags.len());
            flags.iter().for_each(|flag| reply.simple(flag));
        }
        if !argument.parts.is_empty() {
            reply.bulk(b"arguments");
            document_arguments(reply, &argument.parts, specs, seen);
        }
    }
}

/// The keys of a command that is given as arguments.
fn keys_of<'a>(renames: &Renames, args: &[&'a [u8]]) -> Result<Vec<(&'a [u8], Access)>, CommandError> {
    let found = renames
        .find(args)
        .map_err(|_| CommandError::new("ERR Invalid command specified"))?;
    if found.command.keys.is_empty() {
        return Err(CommandError::new("ERR The command has no key arguments"));
    }
    if !found.command.takes(args.len()) {
        return Err(CommandError::new(
            "ERR Invalid number of arguments specified for command",
        ));
    }
    let mut keys = Vec::new();
    for spec in found.command.keys {
        let positions = spec
            .positions(args)
            .ok_or_else(|| CommandError::new("ERR Invalid arguments specified for command"))?;
        keys.extend(positions.iter().map(|at| (args[*at], spec.access_of(args))));
    }
    if keys.is_empty() {
        return Err(CommandError::new("ERR Invalid arguments specified for command"));
    }
    Ok(keys)
}

fn getkeys(call: &mut Call<'_, '_>) -> CommandResult {
    let keys = keys_of(&call.state.renames, &call.args[2..])?;
    call.reply.array(keys.len());
    keys.iter().for_each(|(key, _)| call.reply.bulk(key));
    Ok(())
}

fn getkeysandflags(call: &mut Call<'_, '_>) -> CommandResult {
    let keys = keys_of(&call.state.renames, &call.args[2..])?;
    call.reply.array(keys.len());
    for (key, access) in keys {
        call.reply.array(2);
        call.reply.bulk(key);
        let flags = access.flags();
        call.reply.set(flags.len());
        flags.iter().for_each(|flag| call.reply.simple(flag));
    }
    Ok(())
}

fn list(call: &mut Call<'_, '_>) -> CommandResult {
    let args = call.args;
    let renames = &call.state.renames;
    let all = registry().all().iter().map(|found| found.command);
    let all = all.filter(|command| renames.reaches(command.name));
    let names: Vec<&str> = match &args[2..] {
        [] => all.map(|command| command.name).collect(),
        [by, kind, value] if is(by, "filterby") => match *kind {
            kind if is(kind, "pattern") => all
                .map(|command| command.name)
                .filter(|name| glob::matches_any_case(value, name.as_bytes()))
                .collect(),
            kind if is(kind, "aclcat") => {
                match crate::acl::selector::category_of(&text(value).to_ascii_lowercase()) {
                    Some(category) => all
                        .filter(|command| command.categories().has(category))
                        .map(|command| command.name)
                        .collect(),
                    None => Vec::new(),
                }
            }
            kind if is(kind, "module") => Vec::new(),
            _ => return Err(CommandError::syntax()),
        },
        _ => return Err(CommandError::syntax()),
    };
    call.reply.array(names.len());
    names.iter().for_each(|name| call.reply.bulk(name.as_bytes()));
    Ok(())
}
