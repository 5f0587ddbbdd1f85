//! What a value may be.

use crate::config::memory::parse_bytes;
use crate::config::settings::OutputLimit;
use crate::notify::Notified;

/// A text as TOML has it.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04x}", c as u32)),
            c => quoted.push(c),
        }
    }
    quoted + "\""
}

/// What a value may be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Integer {
        min: i64,
        max: i64,
    },
    /// A number of bytes, perhaps with a unit.
    Bytes {
        min: u64,
        max: u64,
    },
    /// The same, or a share of `maxmemory` in per cent.
    BytesOrPercent {
        max: u64,
    },
    Bool,
    OneOf(&'static [&'static str]),
    Text,
    /// Letters for kinds of events.
    Events,
    /// Classes of clients with limits.
    OutputLimits,
    /// A number in octal, as permissions are written.
    Octal,
    /// Shares in per cent, with blanks between.
    Percentiles,
    /// What may be said several times, each adding a line: words, as many as that.
    Lines {
        min: usize,
        max: usize,
    },
}

impl Kind {
    /// Whether it may be said several times, and each adds to what was said before.
    pub(crate) fn adds_up(self) -> bool {
        matches!(self, Kind::Lines { .. })
    }

    /// The value as it is kept, or what is wrong with it, in the words of Redis.
    pub(crate) fn check(self, value: &str) -> Result<String, String> {
        match self {
            Kind::Integer { min, max } => {
                let number: i64 = value
                    .parse()
                    .map_err(|_| "argument couldn't be parsed into an integer".to_owned())?;
                if !(min..=max).contains(&number) {
                    return Err(format!("argument must be between {min} and {max} inclusive"));
                }
                Ok(number.to_string())
            }
            Kind::Bytes { min, max } => {
                let bytes = parse_bytes(value).ok_or("argument must be a memory value")?;
                if !(min..=max).contains(&bytes) {
                    return Err(format!("argument must be between {min} and {max} inclusive"));
                }
                Ok(bytes.to_string())
            }
            Kind::BytesOrPercent { max } => match value.strip_suffix('%').map(str::parse::<u64>) {
                Some(Ok(percent)) if percent <= 100 => Ok(format!("{percent}%")),
                Some(Ok(_)) => Err("percentage argument must be less or equal to 100".to_owned()),
                Some(Err(_)) => Err("argument must be a memory or percent value".to_owned()),
                None if parse_bytes(value).is_none() => {
                    Err("argument must be a memory or percent value".to_owned())
                }
                None => Kind::Bytes { min: 0, max }.check(value),
            },
            Kind::Bool => match value.to_ascii_lowercase().as_str() {
                "yes" | "true" => Ok("yes".to_owned()),
                "no" | "false" => Ok("no".to_owned()),
                _ => Err("argument must be 'yes' or 'no'".to_owned()),
            },
            Kind::OneOf(words) => words
                .iter()
                .find(|word| word.eq_ignore_ascii_case(value))
                .map(|word| (*word).to_owned())
                .ok_or_else(|| format!("argument(s) must be one of the following: {}", words.join(", "))),
            Kind::Text => Ok(value.to_owned()),
            Kind::Events => Notified::parse(value)
                .map(|notified| notified.to_string())
                .ok_or_else(|| "Invalid event class character. Use 'Ag$lshzxeKEtmdn'.".to_owned()),
            Kind::OutputLimits => OutputLimit::parse_all(value).map(|limits| OutputLimit::show_all(&limits)),
            Kind::Percentiles => {
                let share = |word: &str| {
                    word.parse()
                        .ok()
                        .filter(|share: &f64| (0.0..=100.0).contains(share))
                };
                let shares: Option<Vec<f64>> = value.split_whitespace().map(share).collect();
                let Some(shares) = shares else {
                    return Err("argument(s) must be numbers between 0.0 and 100.0".to_owned());
                };
                let words: Vec<String> = shares.iter().map(f64::to_string).collect();
                Ok(words.join(" "))
            }
            Kind::Lines { min, max } => {
                let lines: Vec<&str> = value
                    .lines()
                    .map(str::trim)
                    .filter(|line| !line.is_empty())
                    .collect();
                for line in &lines {
                    let words = weald_resp::split_line(line.as_bytes())
                        .ok_or("a quote is not closed, or something follows it")?;
                    if !(min..=max).contains(&words.len()) {
                        return Err("wrong number of arguments".to_owned());
                    }
                }
                Ok(lines.join("\n"))
            }
            Kind::Octal => match u32::from_str_radix(value, 8) {
                Ok(mode) if mode <= 0o777 => Ok(format!("{mode:o}")),
                _ => Err("argument couldn't be parsed into an integer".to_owned()),
            },
        }
    }

    /// A checked value as it stands in a file.
    pub(crate) fn toml(self, value: &str) -> String {
        match self {
            Kind::Integer { .. } | Kind::Bytes { .. } => value.to_owned(),
            Kind::Bool => (value == "yes").to_string(),
            Kind::BytesOrPercent { .. } if !value.ends_with('%') => value.to_owned(),
            Kind::Lines { .. } => {
                let lines: Vec<String> = value.lines().map(quoted).collect();
                format!("[{}]", lines.join(", "))
            }
            _ => quoted(value),
        }
    }
}
