//! Names that clients have sent lately, so that most commands are found without a search.

use crate::registry::Found;

/// Places for names, a power of two.
const PLACES: usize = 32;

/// Longer names are not kept.
const NAME_MAX: usize = 16;

/// Names in whatever letters they were sent, each with its command. Kept are only commands that are found by one word.
#[derive(Default)]
pub(crate) struct Recent {
    places: [Option<Kept>; PLACES],
}

struct Kept {
    name: [u8; NAME_MAX],
    len: usize,
    found: Found,
}

fn place(name: &[u8]) -> usize {
    let first = name.first().copied().unwrap_or(0);
    (usize::from(first) + 5 * name.len()) % PLACES
}

impl Recent {
    /// The command of a name that was kept.
    #[inline]
    pub(crate) fn find(&self, name: &[u8]) -> Option<Found> {
        let kept = self.places[place(name)].as_ref()?;
        (kept.len == name.len() && kept.name[..kept.len] == *name).then_some(kept.found)
    }

    /// Keeps the command of a name, in the place of another perhaps.
    pub(crate) fn keep(&mut self, name: &[u8], found: Found) {
        let mut kept = Kept {
            name: [0; NAME_MAX],
            len: name.len(),
            found,
        };
        if let Some(room) = kept.name.get_mut(..name.len())
            && found.command.subcommands().is_empty()
            && !found.command.name.contains('|')
        {
            room.copy_from_slice(name);
            self.places[place(name)] = Some(kept);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::registry;

    #[test]
    fn only_the_very_name_is_found_again() {
        let mut recent = Recent::default();
        let get = registry().find(b"get").expect("there is one");
        recent.keep(b"GeT", get);
        assert_eq!(recent.find(b"GeT").map(|found| found.id), Some(get.id));
        for other in [&b"get"[..], b"GeT ", b"Ge", b"GeTx", b"", b" ", &[b'G'; 100]] {
            assert!(recent.find(other).is_none(), "{other:?}");
        }
    }

    #[test]
    fn what_has_subcommands_or_a_long_name_is_not_kept() {
        let mut recent = Recent::default();
        let client = registry().find(b"client").expect("there is one");
        recent.keep(b"client", client);
        recent.keep(b"client", registry().find(b"client|id").expect("there is one"));
        recent.keep(&[b'x'; 40], registry().find(b"get").expect("there is one"));
        assert!(recent.places.iter().all(Option::is_none));
    }
}
