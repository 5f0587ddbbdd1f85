//! The table, and how a command is found in it.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::LazyLock;

use crate::call::Call;
use crate::commands;
use crate::error::CommandResult;
use crate::registry::{Category, Flags, Group, KeySpec};

/// What runs a command.
pub(crate) type Handler = fn(&mut Call<'_, '_>) -> CommandResult;

/// What a command does.
#[derive(Clone, Copy)]
pub(crate) enum Action {
    /// This.
    Run(Handler),
    /// What its second word says. Their names are of the form `client|list`. Some do something without one as well.
    Container(&'static [Command], Option<Handler>),
}

/// All that is known of a command.
#[derive(Clone, Copy)]
pub(crate) struct Command {
    /// In small letters; of a subcommand with the name before it: `client|list`.
    pub(crate) name: &'static str,
    /// The number of arguments, the name included; negative for at least that many.
    pub(crate) arity: i32,
    pub(crate) flags: Flags,
    pub(crate) keys: &'static [KeySpec],
    extra: Category,
    pub(crate) group: Group,
    /// The version of Redis that had it first.
    pub(crate) since: &'static str,
    pub(crate) summary: &'static str,
    pub(crate) action: Action,
}

impl Command {
    /// One that a handler runs.
    pub(crate) const fn new(
        name: &'static str,
        arity: i32,
        group: Group,
        since: &'static str,
        summary: &'static str,
        handler: Handler,
    ) -> Command {
        Command {
            name,
            arity,
            flags: Flags::none(),
            keys: &[],
            extra: Category::none(),
            group,
            since,
            summary,
            action: Action::Run(handler),
        }
    }

    /// One that is only the first word of others.
    pub(crate) const fn container(
        name: &'static str,
        group: Group,
        since: &'static str,
        summary: &'static str,
        subcommands: &'static [Command],
    ) -> Command {
        Command {
            name,
            arity: -2,
            flags: Flags::none(),
            keys: &[],
            extra: Category::none(),
            group,
            since,
            summary,
            action: Action::Container(subcommands, None),
        }
    }

    /// What a container does without a second word.
    pub(crate) const fn alone(self, handler: Handler) -> Command {
        let action = match self.action {
            Action::Container(subcommands, _) => Action::Container(subcommands, Some(handler)),
            Action::Run(_) => Action::Run(handler),
        };
        Command { action, ..self }
    }

    pub(crate) const fn arity(self, arity: i32) -> Command {
        Command { arity, ..self }
    }

    pub(crate) const fn flags(self, flags: Flags) -> Command {
        Command { flags, ..self }
    }

    pub(crate) const fn keys(self, keys: &'static [KeySpec]) -> Command {
        Command { keys, ..self }
    }

    /// Categories beside those that follow from the group and the flags.
    pub(crate) const fn acl(self, extra: Category) -> Command {
        Command { extra, ..self }
    }

    pub(crate) const fn categories(&self) -> Category {
        self.extra
            .and(self.group.category())
            .and(Category::of_flags(self.flags))
    }

    /// Whether that many arguments, the name included, are right.
    pub(crate) fn takes(&self, args: usize) -> bool {
        if self.arity < 0 {
            args >= self.arity.unsigned_abs() as usize
        } else {
            args == self.arity as usize
        }
    }

    /// Its subcommands.
    pub(crate) fn subcommands(&self) -> &'static [Command] {
        match self.action {
            Action::Container(subcommands, _) => subcommands,
            Action::Run(_) => &[],
        }
    }

    /// The last word of its name.
    pub(crate) fn word(&self) -> &'static str {
        self.name.rsplit_once('|').map_or(self.name, |(_, word)| word)
    }
}

/// Where a command is in the table: for what is counted of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct CommandId(pub(crate) u32);

/// A command as it was found.
#[derive(Clone, Copy)]
pub(crate) struct Found {
    pub(crate) id: CommandId,
    pub(crate) command: &'static Command,
}

/// The table.
pub(crate) struct Registry {
    /// All of them, subcommands after what they belong to.
    all: Vec<Found>,
    by_name: HashMap<&'static [u8], Found, BuildHasherDefault<NameHasher>>,
}

/// The table of this program.
pub(crate) fn registry() -> &'static Registry {
    static REGISTRY: LazyLock<Registry> = LazyLock::new(Registry::new);
    &REGISTRY
}

/// No command has a longer name.
const NAME_MAX: usize = 40;

impl Registry {
    fn new() -> Registry {
        let mut all = Vec::new();
        let mut add = |command: &'static Command| {
            let id = CommandId(all.len() as u32);
            all.push(Found { id, command });
        };
        for command in commands::FAMILIES.iter().copied().flatten() {
            add(command);
            command.subcommands().iter().for_each(&mut add);
        }
        let by_name = all
            .iter()
            .map(|found| (found.command.name.as_bytes(), *found))
            .collect();
        Registry { all, by_name }
    }

    /// The command of that name, `client|list` for a subcommand; capitals don't matter.
    pub(crate) fn find(&self, name: &[u8]) -> Option<Found> {
        let mut small = [0; NAME_MAX];
        let small = small.get_mut(..name.len())?;
        small.copy_from_slice(name);
        small.make_ascii_lowercase();
        self.by_name.get(&*small).copied()
    }

    /// The subcommand of `container` of that name.
    pub(crate) fn find_sub(&self, container: &Command, word: &[u8]) -> Option<Found> {
        let name = [container.name.as_bytes(), b"|", word].concat();
        self.find(&name)
    }

    /// All commands with their subcommands.
    pub(crate) fn all(&self) -> &[Found] {
        &self.all
    }

    /// All commands without their subcommands.
    pub(crate) fn top(&self) -> impl Iterator<Item = &Found> {
        self.all.iter().filter(|found| !found.command.name.contains('|'))
    }
}

/// Names come from clients, but only ours are in the table, so nobody can make them collide.
#[derive(Default)]
struct NameHasher(u64);

impl Hasher for NameHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            let mixed = (self.0 ^ u64::from_le_bytes(word)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            self.0 = mixed ^ (mixed >> 29);
        }
    }
}
