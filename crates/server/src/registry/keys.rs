//! Where a command has its keys, and what it does with them.

use smallvec::SmallVec;
use weald_resp::parse_i64;

/// What a command does with the value of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Reads it (`RO`).
    Read,
    /// Reads and changes it (`RW`).
    Update,
    /// Sets it, whatever it was (`OW`).
    Overwrite,
    /// Deletes it (`RM`).
    Remove,
}

impl Access {
    pub(crate) const fn reads(self) -> bool {
        matches!(self, Access::Read | Access::Update)
    }

    pub(crate) const fn writes(self) -> bool {
        !matches!(self, Access::Read)
    }
}

/// Where keys stand among the arguments. The command's name is argument 0.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    /// From `first` to `last`, which counts from the end if it is negative, each `step`th.
    Range { first: usize, last: i32, step: usize },
    /// As many as the argument `count_at` says, after it.
    Counted { count_at: usize },
    /// After a word that is looked for from `from` on.
    Keyword { word: &'static str, from: usize },
}

/// Some keys of a command.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeySpec {
    pub(crate) place: Place,
    pub(crate) access: Access,
}

impl KeySpec {
    /// One key, at the argument `at`.
    pub(crate) const fn one(at: usize, access: Access) -> KeySpec {
        KeySpec::range(at, at as i32, 1, access)
    }

    /// Keys from `first` to `last`, which counts from the end if it is negative, each `step`th.
    pub(crate) const fn range(first: usize, last: i32, step: usize, access: Access) -> KeySpec {
        KeySpec {
            place: Place::Range { first, last, step },
            access,
        }
    }

    /// As many keys as the argument `count_at` says, after it.
    pub(crate) const fn counted(count_at: usize, access: Access) -> KeySpec {
        KeySpec {
            place: Place::Counted { count_at },
            access,
        }
    }

    /// The key after a word, such as `STORE`, that is looked for from the argument `from` on.
    pub(crate) const fn keyword(word: &'static str, from: usize, access: Access) -> KeySpec {
        KeySpec {
            place: Place::Keyword { word, from },
            access,
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
            Place::Keyword { word, from } => {
                let found = (from..args.len()).find(|i| args[*i].eq_ignore_ascii_case(word.as_bytes()));
                Some(
                    found
                        .filter(|i| i + 1 < args.len())
                        .map(|i| i + 1)
                        .into_iter()
                        .collect(),
                )
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
        check(
            KeySpec::keyword("store", 2, Access::Overwrite),
            "sort a by x STORE b",
            Some(&[5]),
        );
        check(
            KeySpec::keyword("store", 2, Access::Overwrite),
            "sort a by x STORE",
            Some(&[]),
        );
    }
}
