//! What somebody may do: which commands, on which keys, on which channels.

use std::collections::BTreeSet;

use crate::commands::absent_family;
use crate::glob;
use crate::registry::{Access, Category, Command, CommandId, Found, registry};

/// A pattern of keys, and what may be done with them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyPattern {
    pub(crate) pattern: Vec<u8>,
    pub(crate) read: bool,
    pub(crate) write: bool,
}

impl KeyPattern {
    fn allows(&self, access: Access, key: &[u8]) -> bool {
        (self.read || !access.reads())
            && (self.write || !access.writes())
            && glob::matches(&self.pattern, key)
    }

    fn show(&self) -> Vec<u8> {
        let prefix: &[u8] = match (self.read, self.write) {
            (true, false) => b"%R~",
            (false, true) => b"%W~",
            _ => b"~",
        };
        [prefix, &self.pattern].concat()
    }
}

/// What somebody may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Selector {
    /// A bit for each command.
    commands: Vec<u64>,
    /// Whether commands that come later are allowed too.
    all_commands: bool,
    /// First arguments that are allowed of commands that are not: for `+select|0`.
    first_args: BTreeSet<(CommandId, Vec<u8>)>,
    /// The rules on commands as they were given, without those that later ones have made void.
    rules: Vec<(bool, String)>,
    pub(crate) all_keys: bool,
    pub(crate) keys: Vec<KeyPattern>,
    pub(crate) all_channels: bool,
    pub(crate) channels: Vec<Vec<u8>>,
}

/// Why something is not allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Denied {
    Command,
    Key(Vec<u8>),
    Channel(Vec<u8>),
}

impl Selector {
    /// One that allows nothing.
    pub(crate) fn nothing() -> Selector {
        Selector {
            commands: vec![0; registry().all().len().div_ceil(64)],
            all_commands: false,
            first_args: BTreeSet::new(),
            rules: Vec::new(),
            all_keys: false,
            keys: Vec::new(),
            all_channels: false,
            channels: Vec::new(),
        }
    }

    /// Whether it allows everything.
    pub(crate) fn allows_all(&self) -> bool {
        self.all_commands && self.rules.is_empty() && self.all_keys && self.all_channels
    }

    fn set_bit(&mut self, id: CommandId, allowed: bool) {
        let (word, bit) = (id.0 as usize / 64, 1 << (id.0 % 64));
        if allowed {
            self.commands[word] |= bit;
        } else {
            self.commands[word] &= !bit;
            self.first_args.retain(|(of, _)| *of != id);
        }
    }

    fn has_bit(&self, id: CommandId) -> bool {
        self.commands[id.0 as usize / 64] >> (id.0 % 64) & 1 == 1
    }

    fn set_command(&mut self, found: Found, allowed: bool) {
        self.set_bit(found.id, allowed);
        for sub in found.command.subcommands() {
            if let Some(sub) = registry().find(sub.name.as_bytes()) {
                self.set_bit(sub.id, allowed);
            }
        }
    }

    fn add_rule(&mut self, allowed: bool, what: &str) {
        let below = format!("{what}|");
        self.rules
            .retain(|(_, rule)| rule != what && !rule.starts_with(&below));
        self.rules.push((allowed, what.to_owned()));
    }

    /// Applies one rule; what is wrong with it otherwise.
    pub(crate) fn apply(&mut self, rule: &[u8]) -> Result<(), &'static str> {
        let lower = rule.to_ascii_lowercase();
        match lower.as_slice() {
            b"allcommands" | b"+@all" => {
                self.commands.fill(u64::MAX);
                self.all_commands = true;
                self.first_args.clear();
                self.rules.clear();
            }
            b"nocommands" | b"-@all" => {
                self.commands.fill(0);
                self.all_commands = false;
                self.first_args.clear();
                self.rules.clear();
            }
            b"allkeys" | b"~*" => {
                self.all_keys = true;
                self.keys.clear();
            }
            b"resetkeys" => {
                self.all_keys = false;
                self.keys.clear();
            }
            b"allchannels" | b"&*" => {
                self.all_channels = true;
                self.channels.clear();
            }
            b"resetchannels" => {
                self.all_channels = false;
                self.channels.clear();
            }
            _ => return self.apply_other(rule, &lower),
        }
        Ok(())
    }

    fn apply_other(&mut self, rule: &[u8], lower: &[u8]) -> Result<(), &'static str> {
        match rule {
            [b'~', pattern @ ..] => self.add_key(pattern, true, true),
            [b'%', rest @ ..] => {
                let at = rest.iter().position(|byte| *byte == b'~').ok_or("Syntax error")?;
                let (modes, pattern) = (&lower[1..=at], &rest[at + 1..]);
                let known = !modes.is_empty() && modes.iter().all(|mode| matches!(mode, b'r' | b'w'));
                if !known {
                    return Err("Syntax error");
                }
                self.add_key(pattern, modes.contains(&b'r'), modes.contains(&b'w'))
            }
            [b'&', pattern @ ..] => self.add_channel(pattern),
            [sign @ (b'+' | b'-'), ..] => self.apply_command(*sign == b'+', &lower[1..], &rule[1..]),
            _ => Err("Syntax error"),
        }
    }

    fn add_key(&mut self, pattern: &[u8], read: bool, write: bool) -> Result<(), &'static str> {
        if pattern
            .iter()
            .any(|byte| byte.is_ascii_whitespace() || *byte == 0)
        {
            return Err("Syntax error");
        }
        if self.all_keys {
            return Err(
                "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does not have any effect. Try 'resetkeys' to start with an empty list of patterns",
            );
        }
        match self.keys.iter_mut().find(|known| known.pattern == pattern) {
            Some(known) => {
                known.read |= read;
                known.write |= write;
            }
            None => self.keys.push(KeyPattern {
                pattern: pattern.to_vec(),
                read,
                write,
            }),
        }
        Ok(())
    }

    fn add_channel(&mut self, pattern: &[u8]) -> Result<(), &'static str> {
        if pattern
            .iter()
            .any(|byte| byte.is_ascii_whitespace() || *byte == 0)
        {
            return Err("Syntax error");
        }
        if self.all_channels {
            return Err(
                "Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and does not have any effect. Try 'resetchannels' to start with an empty list of channels",
            );
        }
        if !self.channels.iter().any(|known| known == pattern) {
            self.channels.push(pattern.to_vec());
        }
        Ok(())
    }

    fn apply_command(&mut self, allowed: bool, lower: &[u8], given: &[u8]) -> Result<(), &'static str> {
        const UNKNOWN: &str = "Unknown command or category name in ACL";
        let text = std::str::from_utf8(lower).map_err(|_| UNKNOWN)?;
        if let Some(category) = text.strip_prefix('@') {
            let category = category_of(category).ok_or(UNKNOWN)?;
            for found in registry()
                .all()
                .iter()
                .filter(|found| found.command.categories().has(category))
            {
                self.set_bit(found.id, allowed);
            }
            self.add_rule(allowed, text);
            return Ok(());
        }
        if let Some(found) = registry().find(lower) {
            self.set_command(found, allowed);
            self.add_rule(allowed, text);
            return Ok(());
        }
        let name = text.split_once('|').map_or(text, |(name, _)| name);
        if absent_family(name.as_bytes()).is_some() {
            // A rule on a command of Redis that is not there has nothing to allow, and does no harm.
            self.add_rule(allowed, text);
            return Ok(());
        }
        let (name, arg) = text.rsplit_once('|').ok_or(UNKNOWN)?;
        let found = registry().find(name.as_bytes()).ok_or(UNKNOWN)?;
        if arg.is_empty() || name.contains('|') {
            return Err("Allowing first-arg of a subcommand is not supported");
        }
        if !found.command.subcommands().is_empty() {
            return Err(UNKNOWN);
        }
        if !allowed {
            return Err("Unknown command or category name in ACL");
        }
        let arg = given[name.len() + 1..].to_ascii_lowercase();
        self.first_args.insert((found.id, arg));
        self.add_rule(allowed, text);
        Ok(())
    }

    /// Whether a command may be run at all.
    pub(crate) fn allows_command(&self, found: Found, args: &[&[u8]]) -> bool {
        self.has_bit(found.id)
            || (!self.first_args.is_empty()
                && args
                    .get(1)
                    .is_some_and(|arg| self.first_args.contains(&(found.id, arg.to_ascii_lowercase()))))
    }

    /// Whether a key may be used so.
    pub(crate) fn allows_key(&self, key: &[u8], access: Access) -> bool {
        self.all_keys || self.keys.iter().any(|pattern| pattern.allows(access, key))
    }

    /// Whether keys of all names may be read.
    pub(crate) fn reads_all_keys(&self) -> bool {
        let all = |pattern: &KeyPattern| pattern.read && pattern.pattern == b"*";
        self.all_keys || self.keys.iter().any(all)
    }

    /// Whether a channel may be used. A pattern to subscribe to must be one of those that are allowed, to the letter.
    pub(crate) fn allows_channel(&self, channel: &[u8], is_pattern: bool) -> bool {
        self.all_channels
            || self.channels.iter().any(|allowed| {
                if is_pattern {
                    allowed == channel
                } else {
                    glob::matches(allowed, channel)
                }
            })
    }

    /// Whether a command may be run with these arguments.
    pub(crate) fn check(
        &self,
        found: Found,
        args: &[&[u8]],
        channels: &[(&[u8], bool)],
    ) -> Result<(), (usize, Denied)> {
        if !self.allows_command(found, args) {
            return Err((0, Denied::Command));
        }
        if !self.all_keys {
            for spec in found.command.keys {
                for at in spec.positions(args).unwrap_or_default() {
                    if !self.allows_key(args[at], spec.access_of(args)) {
                        return Err((at, Denied::Key(args[at].to_vec())));
                    }
                }
            }
        }
        let refused = channels
            .iter()
            .position(|(channel, is_pattern)| !self.allows_channel(channel, *is_pattern));
        match refused {
            // Channels are looked at once all keys are allowed.
            Some(at) => Err((args.len() + at, Denied::Channel(channels[at].0.to_vec()))),
            None => Ok(()),
        }
    }

    /// The rules on commands, as `ACL LIST` has them.
    pub(crate) fn describe_commands(&self) -> String {
        let mut text = if self.all_commands { "+@all" } else { "-@all" }.to_owned();
        for (allowed, rule) in &self.rules {
            text.push_str(if *allowed { " +" } else { " -" });
            text.push_str(rule);
        }
        text
    }

    pub(crate) fn describe_keys(&self) -> Vec<u8> {
        if self.all_keys {
            return b"~*".to_vec();
        }
        self.keys
            .iter()
            .map(KeyPattern::show)
            .collect::<Vec<_>>()
            .join(&b' ')
    }

    pub(crate) fn describe_channels(&self) -> Vec<u8> {
        if self.all_channels {
            return b"&*".to_vec();
        }
        self.channels
            .iter()
            .map(|channel| [b"&", &channel[..]].concat())
            .collect::<Vec<_>>()
            .join(&b' ')
    }

    /// All rules in a line.
    pub(crate) fn describe(&self) -> Vec<u8> {
        let channels = self.describe_channels();
        let channels = match (self.all_channels, channels.is_empty()) {
            (true, _) => channels,
            (false, true) => b"resetchannels".to_vec(),
            (false, false) => [b"resetchannels ", &channels[..]].concat(),
        };
        let parts = [
            self.describe_keys(),
            channels,
            self.describe_commands().into_bytes(),
        ];
        parts
            .into_iter()
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join(&b' ')
    }
}

/// The category of this name.
pub(crate) fn category_of(name: &str) -> Option<Category> {
    Category::NAMED
        .iter()
        .find(|(_, known)| *known == name)
        .map(|(category, _)| *category)
}

/// Channels that a command uses, and whether they are patterns.
pub(crate) fn channels_of<'a>(command: &Command, args: &[&'a [u8]]) -> Vec<(&'a [u8], bool)> {
    match command.name {
        "publish" | "spublish" => args.get(1).map(|channel| (*channel, false)).into_iter().collect(),
        "subscribe" | "ssubscribe" => args[1..].iter().map(|channel| (*channel, false)).collect(),
        "psubscribe" => args[1..].iter().map(|channel| (*channel, true)).collect(),
        _ => Vec::new(),
    }
}
