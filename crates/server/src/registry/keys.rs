//! Where a command has its keys, and what it does with them.

use smallvec::SmallVec;
use weald_resp::parse_i64;

/// What a command does with the value of a key: what of it the client learns, and how it is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Tells it.
    Read,
    /// Tells no more than whether it is there, its type, or how long it is: needs no permission but for the name.
    Look,
    /// Tells and changes it.
    Update,
    /// Changes it, and tells nothing of it.
    Change,
    /// Adds to it.
    Insert,
    /// Tells what it takes away.
    Take,
    /// Takes away, and tells nothing of it.
    Cut,
    /// Sets it, whatever it was.
    Overwrite,
    /// Sets it where it was not there.
    Create,
    /// Deletes it.
    Remove,
}

impl Access {
    /// Whether the client learns what the value is.
    pub(crate) const fn reads(self) -> bool {
        matches!(self, Access::Read | Access::Update | Access::Take)
    }

    pub(crate) const fn writes(self) -> bool {
        !matches!(self, Access::Read | Access::Look)
    }

    /// As `COMMAND INFO` has it.
    pub(crate) const fn flags(self) -> &'static [&'static str] {
        match self {
            Access::Read => &["RO", "access"],
            Access::Look => &["RO"],
            Access::Update => &["RW", "access", "update"],
            Access::Change => &["RW", "update"],
            Access::Insert => &["RW", "insert"],
            Access::Take => &["RW", "access", "delete"],
            Access::Cut => &["RW", "delete"],
            Access::Overwrite => &["OW", "update"],
            Access::Create => &["OW", "insert"],
            Access::Remove => &["RM", "delete"],
        }
    }
}

/// What a command does that depends on its other arguments.
pub(crate) type Varying = fn(&[&[u8]]) -> Access;

/// Where keys stand among the arguments. The command's name is argument 0.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    /// From `first` to `last`, which counts from the end if it is negative, each `step`th.
    Range { first: usize, last: i32, step: usize },
    /// As many as the argument `count_at` says, after it.
    Counted { count_at: usize },
    /// After the last option that is this word, from `from` on; these words are options that are followed by so many arguments.
    Keyword {
        word: &'static str,
        from: usize,
        others: &'static [(&'static str, usize)],
    },
    /// The argument `at`; or where that is empty all after the word, which is looked for from `from` on as above.
    OneOrAfter {
        at: usize,
        word: &'static str,
        from: usize,
        others: &'static [(&'static str, usize)],
    },
}

/// Some keys of a command.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeySpec {
    pub(crate) place: Place,
    /// The most that it does.
    pub(crate) access: Access,
    varying: Option<Varying>,
}

impl KeySpec {
    pub(crate) const ONE_LOOK: &[KeySpec] = &[KeySpec::one(1, Access::Look)];
    pub(crate) const ONE_CHANGE: &[KeySpec] = &[KeySpec::one(1, Access::Change)];
    pub(crate) const ONE_INSERT: &[KeySpec] = &[KeySpec::one(1, Access::Insert)];
    pub(crate) const ONE_TAKE: &[KeySpec] = &[KeySpec::one(1, Access::Take)];
    pub(crate) const ONE_CUT: &[KeySpec] = &[KeySpec::one(1, Access::Cut)];
    pub(crate) const ONE_CREATE: &[KeySpec] = &[KeySpec::one(1, Access::Create)];
    /// From the first key to the second.
    pub(crate) const MOVES: &[KeySpec] = &[KeySpec::one(1, Access::Take), KeySpec::one(2, Access::Insert)];

    /// What it does depends on other arguments.
    pub(crate) const fn varying(self, varying: Varying) -> KeySpec {
        KeySpec {
            varying: Some(varying),
            ..self
        }
    }

    /// Whether what it does depends on other arguments.
    pub(crate) const fn varies(&self) -> bool {
        self.varying.is_some()
    }

    /// What a command with these arguments does.
    pub(crate) fn access_of(&self, args: &[&[u8]]) -> Access {
        self.varying.map_or(self.access, |varying| varying(args))
    }

    /// One key, at the argument `at`.
    pub(crate) const fn one(at: usize, access: Access) -> KeySpec {
        KeySpec::range(at, at as i32, 1, access)
    }

    /// Keys from `first` to `last`, which counts from the end if it is negative, each `step`th.
    pub(crate) const fn range(first: usize, last: i32, step: usize, access: Access) -> KeySpec {
        KeySpec {
            place: Place::Range { first, last, step },
            access,
            varying: None,
        }
    }

    /// As many keys as the argument `count_at` says, after it.
    pub(crate) const fn counted(count_at: usize, access: Access) -> KeySpec {
        KeySpec {
            place: Place::Counted { count_at },
            access,
            varying: None,
        }
    }

    /// The key after the last option that is this word, from the argument `from` on; `others` are options that are followed by so many arguments, which
    /// may be that word and mean something else.
    pub(crate) const fn keyword(
        word: &'static str,
        from: usize,
        others: &'static [(&'static str, usize)],
        access: Access,
    ) -> KeySpec {
        KeySpec {
            place: Place::Keyword { word, from, others },
            access,
            varying: None,
        }
    }

    /// The key `at`, or where that argument is empty all that come after a word.
    pub(crate) const fn one_or_after(
        at: usize,
        word: &'static str,
        from: usize,
        others: &'static [(&'static str, usize)],
        access: Access,
    ) -> KeySpec {
        KeySpec {
            place: Place::OneOrAfter {
                at,
                word,
                from,
                others,
            },
            access,
            varying: None,
        }
    }

    /// The positions of the keys among `args`; nothing where the arguments make no sense.
    pub(crate) fn positions(&self, args: &[&[u8]]) -> Option<SmallVec<[usize; 4]>> {
        match self.place {
            Place::Range { first, last, step } => {
                let last = if last < 0 {
                    args.len().checked_add_signed(last as isize)?
                } else {
                    last as usize
                };
                if last >= args.len() || first > last {
                    return None;
                }
                Some((first..=last).step_by(step).collect())
            }
            Place::Counted { count_at } => {
                let count = usize::try_from(parse_i64(args.get(count_at)?)?).ok()?;
                let end = (count_at + 1).checked_add(count)?;
                (end <= args.len() && count > 0).then(|| (count_at + 1..end).collect())
            }
            Place::Keyword { word, from, others } => {
                let (mut at, mut found) = (from, None);
                while let Some(arg) = args.get(at) {
                    if arg.eq_ignore_ascii_case(word.as_bytes()) {
                        found = Some(at + 1).filter(|key| *key < args.len()).or(found);
                        at += 1;
                    }
                    let other = others
                        .iter()
                        .find(|(other, _)| arg.eq_ignore_ascii_case(other.as_bytes()));
                    at += 1 + other.map_or(0, |(_, taken)| *taken);
                }
                Some(found.into_iter().collect())
            }
            Place::OneOrAfter {
                at,
                word,
                from,
                others,
            } => {
                let mut next = from;
                while args.get(at)?.is_empty() && next < args.len() {
                    if args[next].eq_ignore_ascii_case(word.as_bytes()) {
                        return Some((next + 1..args.len()).collect());
                    }
                    let other = others
                        .iter()
                        .find(|(other, _)| args[next].eq_ignore_ascii_case(other.as_bytes()));
                    next += 1 + other.map_or(0, |(_, taken)| *taken);
                }
                (at < args.len()).then(|| SmallVec::from_slice(&[at]))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(spec: KeySpec, line: &str, expected: Option<&[usize]>) {
        let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        assert_eq!(spec.positions(&args).as_deref(), expected, "{line}");
    }

    #[test]
    fn keys_are_found_where_they_stand() {
        check(KeySpec::one(1, Access::Read), "get a", Some(&[1]));
        check(
            KeySpec::range(1, -1, 1, Access::Read),
            "mget a b c",
            Some(&[1, 2, 3]),
        );
        check(
            KeySpec::range(1, -1, 2, Access::Read),
            "mset a 1 b 2",
            Some(&[1, 3]),
        );
        check(
            KeySpec::range(1, -2, 1, Access::Read),
            "blpop a b 0",
            Some(&[1, 2]),
        );
        check(
            KeySpec::counted(2, Access::Read),
            "zunionstore d 2 a b weights",
            Some(&[3, 4]),
        );
        check(KeySpec::counted(2, Access::Read), "zunionstore d 5 a b", None);
        check(KeySpec::counted(2, Access::Read), "zunionstore d -1 a b", None);
        const LOGIN: &[(&str, usize)] = &[("auth", 1), ("auth2", 2)];
        for (line, expected) in [
            ("migrate h 1 k 0 9", Some(&[3][..])),
            ("migrate h 1 k 0 9 keys a", Some(&[3])),
            ("migrate h 1  0 9 auth keys KEYS a b", Some(&[9, 10])),
            ("migrate h 1  0 9 auth2 u keys replace", Some(&[3])),
            ("migrate h 1  0 9 keys", Some(&[])),
            ("migrate h 1", None),
        ] {
            let spec = KeySpec::one_or_after(3, "keys", 6, LOGIN, Access::Take);
            check(spec, line, expected);
        }
        const OTHERS: &[(&str, usize)] = &[("limit", 2), ("get", 1), ("by", 1)];
        for (line, expected) in [
            ("sort a by x STORE b", Some(&[5][..])),
            ("sort a by x STORE", Some(&[])),
            ("sort a store b", Some(&[3])),
            ("sort a store b store c", Some(&[5])),
            ("sort a store b store", Some(&[3])),
            ("sort a get store store c", Some(&[5])),
            ("sort a by store limit 0 store store c", Some(&[8])),
            ("sort a store limit store c", Some(&[5])),
            ("sort a by", Some(&[])),
        ] {
            check(
                KeySpec::keyword("store", 2, OTHERS, Access::Overwrite),
                line,
                expected,
            );
        }
    }
}
