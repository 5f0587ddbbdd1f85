//! How many replicas the requests of a connection, or of one command, wait for.

use weald_cluster::proto::Level;

/// The level of reads and that of plain writes. Updates, such as `INCR`, take a majority whatever it says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Levels {
    pub(crate) write: Level,
    pub(crate) read: Level,
}

const NAMES: [(&str, Level); 4] = [
    ("cluster", Level::Cluster),
    ("strong", Level::Strong),
    ("balanced", Level::Balanced),
    ("eventual", Level::Eventual),
];

impl Levels {
    /// One name, or the numbers of replicas for writes and for reads: `2 1` or `2/1`.
    pub(super) fn parse(words: &[&[u8]]) -> Option<Levels> {
        let number = |word: &[u8]| {
            let count = weald_resp::parse_i64(word).and_then(|count| u8::try_from(count).ok())?;
            (count > 0).then_some(Level::Count(count))
        };
        match words {
            [word] => {
                if let Some(at) = word.iter().position(|byte| *byte == b'/') {
                    return Levels::parse(&[&word[..at], &word[at + 1..]]);
                }
                let (_, level) = NAMES
                    .iter()
                    .find(|(name, _)| word.eq_ignore_ascii_case(name.as_bytes()))?;
                Some(Levels {
                    write: *level,
                    read: *level,
                })
            }
            [write, read] => Some(Levels {
                write: number(write)?,
                read: number(read)?,
            }),
            _ => None,
        }
    }

    /// The level at which an update reads: it must see what a majority has.
    pub(super) fn for_update(self) -> Level {
        match self.read {
            Level::Strong => Level::Strong,
            _ => Level::Balanced,
        }
    }
}

impl std::fmt::Display for Levels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = |level: Level| {
            NAMES
                .iter()
                .find(|(_, known)| *known == level)
                .map(|(name, _)| *name)
        };
        match (name(self.write), self.write, self.read) {
            (Some(name), ..) => f.write_str(name),
            (None, Level::Count(write), Level::Count(read)) => write!(f, "{write}/{read}"),
            (None, ..) => f.write_str("cluster"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expected: Option<&str>) {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let shown = Levels::parse(&words).map(|levels| levels.to_string());
        assert_eq!(shown.as_deref(), expected, "{line}");
    }

    #[test]
    fn levels_are_names_or_numbers() {
        check("STRONG", Some("strong"));
        check("cluster", Some("cluster"));
        check("2 1", Some("2/1"));
        check("2/1", Some("2/1"));
        check("2", None);
        check("0/1", None);
        check("2/1/1", None);
        check("300 1", None);
        check("-1 1", None);
        check("weak", None);
    }
}
