//! Commands under other names than their own: `rename-command`.

use std::collections::HashMap;

use crate::commands::absent_family;
use crate::config::{Config, ConfigError};
use crate::dispatch::{Args, find, unknown};
use crate::error::CommandError;
use crate::registry::{Found, registry};

/// Names that a configuration gives and takes away, in small letters.
#[derive(Debug, Default)]
pub(crate) struct Renames {
    /// What each of them means: a command by its own name, or none.
    names: HashMap<Vec<u8>, Option<&'static str>>,
}

impl Renames {
    /// Those of a configuration.
    pub(crate) fn of(config: &Config) -> Result<Renames, ConfigError> {
        let mut names: HashMap<Vec<u8>, Option<&'static str>> = HashMap::new();
        let refused = |why: &str, name: &[u8]| {
            let name = String::from_utf8_lossy(name);
            ConfigError::Refused(format!("rename-command: {why}: {name:?}"))
        };
        for words in config.lines("rename-command") {
            let [from, to] = words.as_slice() else {
                return Err(refused("wrong number of arguments", b""));
            };
            let (from, to) = (from.to_ascii_lowercase(), to.to_ascii_lowercase());
            // Files that come from Redis may take away what is not there anyway.
            if absent_family(&from).is_some() {
                continue;
            }
            let meant = match names.get(&from) {
                Some(meant) => *meant,
                None => registry()
                    .find(&from)
                    .map(|found| found.command.name)
                    .filter(|name| !name.contains('|')),
            };
            let meant = meant.ok_or_else(|| refused("no such command", &from))?;
            names.insert(from, None);
            if to.is_empty() {
                continue;
            }
            let taken = match names.get(&to) {
                Some(meant) => meant.is_some(),
                None => registry().find(&to).is_some(),
            };
            if taken {
                return Err(refused("there is such a command", &to));
            }
            names.insert(to, Some(meant));
        }
        Ok(Renames { names })
    }

    /// The command that arguments name.
    pub(crate) fn find(&self, args: &[&[u8]]) -> Result<Found, CommandError> {
        if self.names.is_empty() {
            return find(args);
        }
        match self.names.get(&args[0].to_ascii_lowercase()) {
            None => find(args),
            Some(None) => Err(unknown(args)),
            Some(Some(name)) => {
                let mut own: Args<'_> = args.into();
                own[0] = name.as_bytes();
                find(&own)
            }
        }
    }

    /// Whether a command is reached under a name of its own or one that was given to it.
    pub(crate) fn reaches(&self, command: &str) -> bool {
        let name = command.split('|').next().unwrap_or_default();
        self.names.is_empty()
            || self.names.get(name.as_bytes()).is_none_or(Option::is_some)
            || self.names.values().any(|meant| *meant == Some(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn renames(lines: &str) -> Result<Renames, ConfigError> {
        let mut config = Config::default();
        config.set("rename-command", lines)?;
        Renames::of(&config)
    }

    #[test]
    fn a_name_is_given_and_taken_away() {
        let renames = renames("keys \"\"\nCONFIG Conf\nget set2\nEVAL \"\"").expect("names");
        let name = |line: &str| {
            let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            renames.find(&args).map(|found| found.command.name).ok()
        };
        assert_eq!(name("KEYS *"), None);
        assert_eq!(name("config get x"), None);
        assert_eq!(name("CONF get x"), Some("config|get"));
        assert_eq!(name("set2 x"), Some("get"));
        assert_eq!(name("Set x y"), Some("set"));
        assert!(renames.reaches("config|get") && !renames.reaches("keys") && renames.reaches("set"));
    }

    #[test]
    fn names_can_be_swapped_in_steps() {
        let renames = renames("get old\nset get\nold set").expect("names");
        let name = |name: &str| {
            renames
                .find(&[name.as_bytes()])
                .map(|found| found.command.name)
                .ok()
        };
        assert_eq!(
            (name("get"), name("set"), name("old")),
            (Some("set"), Some("get"), None)
        );
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for lines in [
            "nothing x",
            "get set",
            "keys \"\"\nkeys x",
            "client|list x",
            "get",
        ] {
            assert!(renames(lines).is_err(), "{lines}");
        }
    }
}
