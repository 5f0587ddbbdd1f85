//! Where values come from: a file, the environment, arguments.

use std::ffi::OsString;
use std::path::Path;

use crate::config::{Config, settings, table};

/// Why a configuration can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// There is no such setting.
    #[error("there is no setting {0:?}: 'weald serve --help' lists them")]
    Unknown(String),
    /// A value is none that the setting can have.
    #[error("{name}: {why}")]
    Invalid {
        /// The setting.
        name: String,
        /// What would do.
        why: String,
    },
    /// The file is no TOML.
    #[error("the configuration file can't be understood: {0}")]
    Toml(String),
    /// A file can't be read.
    #[error("can't read {path}: {source}")]
    File {
        /// The file.
        path: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// Values that can't hold together.
    #[error("{0}")]
    Refused(String),
}

/// The most that is read of a file.
const FILE_BYTES_MAX: u64 = 1 << 20;

impl Config {
    /// Takes the values of a TOML file: one `name = value` for each setting.
    pub fn read_toml(&mut self, text: &str) -> Result<(), ConfigError> {
        let table: toml::Table = text
            .parse()
            .map_err(|e: toml::de::Error| ConfigError::Toml(e.message().to_owned()))?;
        for (name, value) in &table {
            let value = match value {
                toml::Value::String(text) => text.clone(),
                toml::Value::Integer(number) => number.to_string(),
                toml::Value::Boolean(yes) => if *yes { "yes" } else { "no" }.to_owned(),
                toml::Value::Array(words) => {
                    let words: Option<Vec<&str>> = words.iter().map(toml::Value::as_str).collect();
                    let adds_up = table::find(name).is_some_and(|setting| setting.kind.adds_up());
                    words
                        .ok_or_else(|| not_a_value(name))?
                        .join(if adds_up { "\n" } else { " " })
                }
                _ => return Err(not_a_value(name)),
            };
            self.set(name, &value)?;
        }
        Ok(())
    }

    /// Takes the values of the file `path`: TOML, or lines as in `redis.conf` where the name has `.conf` at its end or before another dot.
    pub fn read_file(&mut self, path: &Path) -> Result<(), ConfigError> {
        let text = read_small(path)?;
        self.file = std::path::absolute(path).ok();
        if has_lines(path) {
            self.read_lines(&text)
        } else {
            self.read_toml(&text)
        }
    }

    /// Takes lines of a name and a value, with `#` before what is a comment. Words may stand in quotes, as in a request that is a line.
    pub fn read_lines(&mut self, text: &str) -> Result<(), ConfigError> {
        for line in text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
        {
            let (name, value) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
            if table::find(name).is_some_and(|setting| setting.kind.adds_up()) {
                self.set(name, value)?;
            } else {
                self.set(name, &unquoted(value).ok_or_else(|| not_a_value(name))?)?;
            }
        }
        Ok(())
    }

    /// Takes the values of variables such as `WEALD_PORT`. Those that are no setting's are left alone: other commands have some too.
    pub fn read_env(
        &mut self,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<(), ConfigError> {
        for (name, value) in variables {
            let Some(name) = name.to_str().and_then(|name| name.strip_prefix("WEALD_")) else {
                continue;
            };
            let name = name.to_ascii_lowercase().replace('_', "-");
            if table::find(&name).is_some() {
                let value = value.into_string().map_err(|_| not_a_value(&name))?;
                self.set(&name, &value)?;
            }
        }
        Ok(())
    }

    /// Takes what `requirepass-file` has, which keeps the password out of the arguments that everybody on the machine can see.
    pub fn read_secrets(&mut self) -> Result<(), ConfigError> {
        let path = self.text("requirepass-file").to_owned();
        if !path.is_empty() {
            let text = read_small(Path::new(&path))?;
            let password = text.trim_end_matches(['\r', '\n']);
            if password.is_empty() {
                return Err(ConfigError::Refused(format!("{path} has no password in it")));
            }
            self.set("requirepass", password)?;
        }
        Ok(())
    }

    /// The page of the documentation that lists all settings.
    pub fn documentation() -> String {
        let mut text =
            String::from("| setting | default | while it runs | what it does |\n| --- | --- | --- | --- |\n");
        for setting in settings().iter().filter(|setting| !setting.inert) {
            let default = if setting.default.is_empty() {
                String::new()
            } else {
                format!("`{}`", setting.default)
            };
            let live = if setting.live { "yes" } else { "" };
            text.push_str(&format!(
                "| `{}` | {default} | {live} | {} |\n",
                setting.name, setting.help
            ));
        }
        text
    }
}

/// Whether a file has lines as `redis.conf` has, not TOML. Those that write such files for a test put numbers behind: `redis.conf.4711`.
pub(super) fn has_lines(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.ends_with(".conf") || name.contains(".conf.")
}

/// A value of a line: its words without their quotes, with a blank between.
fn unquoted(value: &str) -> Option<String> {
    let words: Option<Vec<String>> = weald_resp::split_line(value.as_bytes())?
        .into_iter()
        .map(|word| String::from_utf8(word).ok())
        .collect();
    Some(words?.join(" "))
}

fn not_a_value(name: &str) -> ConfigError {
    ConfigError::Invalid {
        name: name.to_owned(),
        why: "that is no value".to_owned(),
    }
}

pub(super) fn read_small(path: &Path) -> Result<String, ConfigError> {
    use std::io::Read;
    let failed = |source| ConfigError::File {
        path: path.display().to_string(),
        source,
    };
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(FILE_BYTES_MAX)
        .read_to_string(&mut text)
        .map_err(failed)?;
    Ok(text)
}
