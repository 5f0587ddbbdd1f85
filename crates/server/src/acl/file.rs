//! Users in a file: a line `user <name> <rules>` for each.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::acl::{User, Users};
use crate::config::{Config, ConfigError};
use crate::files;

const BYTES_MAX: u64 = 16 << 20;

impl Users {
    /// Reads users from a file's text. The user default keeps its state where the text does not name it.
    pub(crate) fn parse(text: &str, all_channels: bool) -> Result<Users, String> {
        let mut users = Users::new(all_channels);
        let mut seen = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let words: Vec<&[u8]> = line.split_ascii_whitespace().map(str::as_bytes).collect();
            let words = match words.as_slice() {
                [] => continue,
                [first, ..] if first.starts_with(b"#") => continue,
                [b"user", words @ ..] if !words.is_empty() => words,
                _ => Err(format!(
                    "{}: should start with user keyword followed by the username",
                    number + 1
                ))?,
            };
            users
                .declare(words, &mut seen)
                .map_err(|why| format!("{}: {why}", number + 1))?;
        }
        Ok(users)
    }

    /// The users that a configuration names itself.
    pub(crate) fn of(config: &Config) -> Result<Users, ConfigError> {
        let mut users = Users::new(config.text("acl-pubsub-default") == "allchannels");
        let mut seen = Vec::new();
        for words in config.lines("user") {
            let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
            users
                .declare(&words, &mut seen)
                .map_err(|why| ConfigError::Refused(format!("user: {why}")))?;
        }
        Ok(users)
    }

    /// Takes a user's name and rules, which say all of the user; `seen` are those that were named before.
    fn declare(&mut self, words: &[&[u8]], seen: &mut Vec<Vec<u8>>) -> Result<(), String> {
        let [name, rules @ ..] = words else {
            return Err("a user needs a name".to_owned());
        };
        if seen.iter().any(|other| other == name) {
            return Err(format!(
                "Duplicate user '{}' found",
                String::from_utf8_lossy(name)
            ));
        }
        seen.push(name.to_vec());
        let rules = [&[&b"reset"[..]], rules].concat();
        self.set(name, &rules)
            .map(drop)
            .map_err(|(_, why)| why.to_owned())
    }

    /// Reads a file.
    pub(crate) fn load(path: &Path, all_channels: bool) -> Result<Users, String> {
        use std::io::Read;
        let failed = |e: std::io::Error| format!("can't read {}: {e}", path.display());
        let mut text = String::new();
        let file = std::fs::File::open(path).map_err(failed)?;
        file.take(BYTES_MAX).read_to_string(&mut text).map_err(failed)?;
        Users::parse(&text, all_channels).map_err(|why| format!("{}:{why}", path.display()))
    }

    /// Writes a file, whole or not at all.
    pub(crate) fn save(&self, path: &Path) -> std::io::Result<()> {
        let mut text = Vec::new();
        for user in self.iter() {
            text.extend_from_slice(&line(user));
            text.push(b'\n');
        }
        files::replace(path, &text)
    }

    /// The users' lines without the word `user`, as a configuration has them.
    pub(crate) fn declarations(&self) -> Vec<String> {
        let text = |user: &Arc<User>| {
            let line = line(user);
            String::from_utf8_lossy(line.strip_prefix(b"user ").unwrap_or(&line)).into_owned()
        };
        self.iter().map(text).collect()
    }
}

/// The file of users: as it is named, or in the directory of the data where it is only there.
pub(crate) fn path_of(config: &Config) -> Option<PathBuf> {
    let named = Some(config.text("aclfile")).filter(|name| !name.is_empty())?;
    let path = PathBuf::from(named);
    let beside = Path::new(config.text("dir")).join(&path);
    Some(if !path.exists() && beside.exists() {
        beside
    } else {
        path
    })
}

/// A user's line.
pub(crate) fn line(user: &User) -> Vec<u8> {
    [b"user ", user.name_bytes(), b" ", &user.describe()[..]].concat()
}
