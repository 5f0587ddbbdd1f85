//! `CONFIG REWRITE`: what has changed since the start goes into the file that the configuration came from. All else in it stays as it is, comments included.
//!
//! What flags and the environment have said is not written: they say it again at the next start, and secrets may be among it.

use std::io;
use std::path::Path;

use crate::config::source::{has_lines, read_small};
use crate::config::{Config, ConfigError, Setting, settings, table};
use crate::files;

/// Before the lines that the file did not have.
const HEADING: &str = "# Written by CONFIG REWRITE\n";

/// Why the file was not written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RewriteError {
    #[error(transparent)]
    Read(#[from] ConfigError),
    #[error("{0}")]
    Write(#[from] io::Error),
}

/// What is to be written: settings with what they are now, and no value where they are not to be named any more.
pub(crate) struct Rewrite {
    changes: Vec<(&'static Setting, Option<String>)>,
}

/// A part of a file: one setting, or none, with all that stands around it.
struct Statement {
    setting: Option<&'static Setting>,
    text: String,
}

impl Rewrite {
    /// What is another in `now` than it was.
    pub(crate) fn between(was: &Config, now: &Config) -> Rewrite {
        let changes = settings()
            .iter()
            .filter(|setting| was.text(setting.name) != now.text(setting.name))
            .map(|setting| (setting, Some(now.text(setting.name).to_owned())))
            .collect();
        Rewrite { changes }
    }

    /// The users are these lines now, without the word `user`.
    pub(crate) fn users(&mut self, lines: &[String]) {
        if let Some(user) = table::find("user") {
            self.changes
                .push((user, Some(lines.join("\n")).filter(|lines| !lines.is_empty())));
        }
    }

    /// Whether a setting is to be written.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.changes.iter().any(|(setting, _)| setting.name == name)
    }

    /// Writes it into the file, whole or not at all.
    pub(crate) fn write(&self, path: &Path) -> Result<(), RewriteError> {
        let text = read_small(path)?;
        let text = if has_lines(path) {
            self.apply(&lines_of(&text), line)
        } else {
            self.apply(&statements_of(&text)?, toml)
        };
        Ok(files::replace(path, text.as_bytes())?)
    }

    fn apply(&self, statements: &[Statement], show: fn(&Setting, &str) -> String) -> String {
        let mut text = String::new();
        let mut written = Vec::new();
        for statement in statements {
            let change = statement.setting.and_then(|setting| {
                self.changes
                    .iter()
                    .find(|(changed, _)| changed.name == setting.name)
            });
            let Some((setting, value)) = change else {
                text.push_str(&statement.text);
                continue;
            };
            if !written.contains(&setting.name) {
                written.push(setting.name);
                text.extend(value.as_deref().map(|value| show(setting, value)));
            }
        }
        // What is said in other words than the setting's own is so where those are written.
        let mut missing = self
            .changes
            .iter()
            .filter(|(setting, _)| setting.alias_of.is_none() && !written.contains(&setting.name))
            .peekable();
        if missing.peek().is_some() {
            if !text.is_empty() && !text.ends_with('\n') {
                text.push('\n');
            }
            if !text.contains(HEADING) {
                text.push_str(HEADING);
            }
        }
        for (setting, value) in missing {
            text.extend(value.as_deref().map(|value| show(setting, value)));
        }
        text
    }
}

/// The statements of a file of lines.
fn lines_of(text: &str) -> Vec<Statement> {
    let statement = |line: &str| {
        let name = line.split_whitespace().next().unwrap_or_default();
        Statement {
            setting: table::find(name),
            text: line.to_owned(),
        }
    };
    text.split_inclusive('\n').map(statement).collect()
}

/// The statements of a TOML file: as many lines as make sense together.
fn statements_of(text: &str) -> Result<Vec<Statement>, ConfigError> {
    let mut statements = Vec::new();
    let mut open = String::new();
    for line in text.split_inclusive('\n') {
        open.push_str(line);
        if let Ok(table) = open.parse::<toml::Table>() {
            statements.push(Statement {
                setting: table.keys().next().and_then(|name| table::find(name)),
                text: std::mem::take(&mut open),
            });
        }
    }
    if open.is_empty() {
        Ok(statements)
    } else {
        Err(ConfigError::Toml("the file has been changed since".to_owned()))
    }
}

/// A setting as TOML.
fn toml(setting: &Setting, value: &str) -> String {
    format!("{} = {}\n", setting.name, setting.kind.toml(value))
}

/// A setting as a line, or several.
fn line(setting: &Setting, value: &str) -> String {
    if setting.kind.adds_up() {
        return value
            .lines()
            .map(|line| format!("{} {line}\n", setting.name))
            .collect();
    }
    let is_plain = |c: char| !c.is_control() && !"\"'\\#".contains(c);
    let words: Vec<&str> = value.split(' ').collect();
    let plain = !value.is_empty() && value.chars().all(is_plain) && !words.contains(&"");
    if plain {
        format!("{} {value}\n", setting.name)
    } else {
        format!("{} {}\n", setting.name, quoted(value))
    }
}

/// A text as one word of a line.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_ascii_control() => quoted.push_str(&format!("\\x{:02x}", c as u32)),
            c => quoted.push(c),
        }
    }
    quoted + "\""
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(name: &str, text: &str, changes: &[(&str, &str)]) -> String {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join(name);
        std::fs::write(&path, text).expect("a file");
        let mut config = Config::default();
        config.read_file(&path).expect("a configuration");
        let was = config.clone();
        for (name, value) in changes {
            config.set(name, value).expect("a value");
        }
        Rewrite::between(&was, &config)
            .write(&path)
            .expect("it is written");
        let mut read = Config::default();
        read.read_file(&path).expect("what was written is read");
        assert_eq!(read, config, "it says the same");
        std::fs::read_to_string(&path).expect("a text")
    }

    #[test]
    fn only_what_has_changed_is_written() {
        let text = "# mine\nport 7000\nmaxclients 10\n\nmaxclients 12\nslave-read-only yes\nuser alice on >\"a b\" ~*";
        assert_eq!(rewritten("redis.conf", text, &[]), text);
        let changes = [
            ("maxclients", "99"),
            ("replica-read-only", "no"),
            ("requirepass", " \"\\\u{1}"),
            ("save", ""),
            ("durability", "none"),
        ];
        assert_eq!(
            rewritten("redis.conf", text, &changes),
            "# mine\nport 7000\nmaxclients 99\n\nreplica-read-only no\nuser alice on >\"a b\" ~*\n# Written by CONFIG REWRITE\ndurability none\nrequirepass \" \\\"\\\\\\x01\"\n"
        );
    }

    #[test]
    fn what_was_said_in_words_of_redis_is_said_in_them_again() {
        let text = "durability none\nappendfsync no\n";
        assert_eq!(
            rewritten("redis.conf.1", text, &[("appendfsync", "always")]),
            "durability immediate\nappendfsync always\n"
        );
    }

    #[test]
    fn toml_is_rewritten_too() {
        let text = "# mine\nport = 7000\nbind = [\n  \"127.0.0.1\", # here\n  \"::1\",\n]\nrename-command = [\"KEYS \\\"\\\"\"]";
        assert_eq!(
            rewritten("weald.toml", text, &[("bind", "127.0.0.1"), ("maxclients", "9")]),
            "# mine\nport = 7000\nbind = \"127.0.0.1\"\nrename-command = [\"KEYS \\\"\\\"\"]\n# Written by CONFIG REWRITE\nmaxclients = 9\n"
        );
    }

    #[test]
    fn users_take_the_place_of_those_that_were_named() {
        let statements = lines_of("user a on\nport 1\nuser b on\n");
        let mut rewrite = Rewrite { changes: Vec::new() };
        rewrite.users(&["a off".to_owned(), "c on".to_owned()]);
        assert_eq!(
            rewrite.apply(&statements, line),
            "user a off\nuser c on\nport 1\n"
        );
        let statements = statements_of("user = [\"a on\"]\n").expect("TOML");
        assert_eq!(rewrite.apply(&statements, toml), "user = [\"a off\", \"c on\"]\n");
    }
}
