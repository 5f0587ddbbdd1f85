//! What can be set: one table, which flags, environment, file, `CONFIG` and the documentation share.
//!
//! ```text
//!  defaults ─► file ─► environment ─► flags ─► Config (texts, checked) ─► Settings (typed, for the server)
//!                                               ▲ CONFIG SET
//! ```

mod kind;
mod memory;
mod rewrite;
mod settings;
mod source;
mod table;

#[cfg(test)]
mod tests;

pub use settings::Durability;
pub(crate) use settings::{OutputLimit, Settings};
pub use source::ConfigError;
pub use table::{Setting, settings};

pub(crate) use rewrite::Rewrite;
pub(crate) use table::find;

/// Names of settings in older versions of Redis, with the names that they have now.
pub(crate) fn other_names() -> &'static [(&'static str, &'static str)] {
    table::OTHER_NAMES
}

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The values of all settings, each checked by itself.
///
/// ```
/// use weald_server::Config;
///
/// let mut config = Config::default();
/// config.set("port", "7000")?;
/// config.read_toml("maxclients = 100\ndurability = \"batched\"")?;
/// assert_eq!(config.get("port"), Some("7000"));
/// assert!(config.set("port", "70000").is_err());
/// # Ok::<(), weald_server::ConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    values: BTreeMap<&'static str, String>,
    /// The file that was read.
    file: Option<PathBuf>,
}

impl Default for Config {
    fn default() -> Config {
        let values = settings()
            .iter()
            .map(|setting| (setting.name, setting.default.to_owned()))
            .collect();
        Config { values, file: None }
    }
}

impl Config {
    /// The value of a setting, as text; `None` where there is no such setting.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// Sets one, by its name or another that it has.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), ConfigError> {
        let setting = table::find(name).ok_or_else(|| ConfigError::Unknown(name.to_owned()))?;
        let given = value;
        let value = setting.kind.check(given).map_err(|why| ConfigError::Invalid {
            name: setting.name.to_owned(),
            why,
        })?;
        let value = match setting.kind {
            // It sets the classes that it names.
            kind::Kind::OutputLimits => OutputLimit::parse_all(&self.values[setting.name])
                .and_then(|limits| OutputLimit::parse_onto(limits, given))
                .map_or(value, |limits| OutputLimit::show_all(&limits)),
            _ => value,
        };
        if setting.kind.adds_up() {
            let said = self.values.entry(setting.name).or_default();
            if !said.is_empty() && !value.is_empty() {
                said.push('\n');
            }
            said.push_str(&value);
            return Ok(());
        }
        match setting.alias_of {
            // It says what is so already.
            Some(_) if self.values[setting.name] == value => {}
            Some(translate) => {
                for (name, value) in translate(&value) {
                    self.set(name, value)?;
                }
                self.values.insert(setting.name, value);
            }
            None => {
                if setting.name == "durability" {
                    self.values
                        .insert("appendfsync", table::appendfsync_of(&value).to_owned());
                }
                self.values.insert(setting.name, value);
            }
        }
        Ok(())
    }

    /// The file that it was read from, if it was.
    pub(crate) fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// The lines of a setting that may be said several times, each as words.
    pub(crate) fn lines(&self, name: &str) -> impl Iterator<Item = Vec<Vec<u8>>> {
        self.text(name)
            .lines()
            .filter_map(|line| weald_resp::split_line(line.as_bytes()))
    }

    /// The typed values, where they can hold together.
    pub(crate) fn settings(&self) -> Result<Settings, ConfigError> {
        Settings::of(self)
    }

    /// Whether the values can hold together: what the server checks before it starts.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.settings().map(drop)
    }

    /// All settings as a file that [`read_toml`](Self::read_toml) reads. Secrets are left out.
    pub fn to_toml(&self) -> String {
        let mut text = String::new();
        for setting in settings().iter().filter(|setting| setting.alias_of.is_none()) {
            let value = &self.values[setting.name];
            let value = if setting.secret && !value.is_empty() {
                ""
            } else {
                value
            };
            text.push_str(&format!("# {}\n", setting.help));
            text.push_str(&format!("{} = {}\n", setting.name, setting.kind.toml(value)));
        }
        text
    }
}
