//! Users in a file: a line `user <name> <rules>` for each.

use std::io::Write;
use std::path::{Path, PathBuf};

use crate::acl::{User, Users};
use crate::config::Config;

const BYTES_MAX: u64 = 16 << 20;

impl Users {
    /// Reads users from a file's text. The user default keeps its state where the text does not name it.
    pub(crate) fn parse(text: &str, all_channels: bool) -> Result<Users, String> {
        let mut users = Users::new(all_channels);
        let mut seen = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let number = number + 1;
            let words: Vec<&[u8]> = line.split_ascii_whitespace().map(str::as_bytes).collect();
            let (name, rules) = match words.as_slice() {
                [] => continue,
                [first, ..] if first.starts_with(b"#") => continue,
                [b"user", name, rules @ ..] => (*name, rules),
                _ => {
                    return Err(format!(
                        "{number}: should start with user keyword followed by the username"
                    ));
                }
            };
            if seen.contains(&name) {
                return Err(format!(
                    "{number}: Duplicate user '{}' found",
                    String::from_utf8_lossy(name)
                ));
            }
            seen.push(name);
            let rules = [&[&b"reset"[..]], rules].concat();
            users
                .set(name, &rules)
                .map_err(|(_, why)| format!("{number}: {why}"))?;
        }
        Ok(users)
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
        let draft = path.with_extension("tmp");
        let mut file = std::fs::File::create(&draft)?;
        for user in self.iter() {
            file.write_all(&line(user))?;
            file.write_all(b"\n")?;
        }
        file.sync_all()?;
        std::fs::rename(&draft, path)
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
