//! The part of the documentation that comes from the table of commands.

use crate::commands::ABSENT;
use crate::registry::{Group, registry};

const GROUPS: [Group; 14] = [
    Group::Connection,
    Group::Generic,
    Group::String,
    Group::Bitmap,
    Group::Hash,
    Group::List,
    Group::Set,
    Group::SortedSet,
    Group::HyperLogLog,
    Group::Geo,
    Group::Transactions,
    Group::Pubsub,
    Group::Server,
    Group::Weald,
];

/// What `docs/redis.md` lists: every command, by family, and the families that are missing.
pub fn compatibility() -> String {
    let mut text = String::new();
    for group in GROUPS {
        let mut names: Vec<&str> = registry()
            .all()
            .iter()
            .filter(|found| found.command.group == group && found.command.subcommands().is_empty())
            .map(|found| found.command.name)
            .collect();
        names.sort_unstable();
        if !names.is_empty() {
            let names: Vec<String> = names
                .iter()
                .map(|name| format!("`{}`", name.replace('|', " ").to_ascii_uppercase()))
                .collect();
            text.push_str(&format!("**{}**: {}\n\n", group.name(), names.join(" ")));
        }
    }
    text.push_str("Not there, answered with an error that says so:\n\n");
    for (family, names) in ABSENT {
        let names: Vec<String> = names
            .iter()
            .map(|name| format!("`{}`", name.to_ascii_uppercase()))
            .collect();
        text.push_str(&format!("- {family}: {}\n", names.join(" ")));
    }
    text
}
