//! Where writers get into each other's way, and how often.

use std::array;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use super::record::Located;

/// Which trees are settled in vain before it is their transaction's turn, since others commit to them as well.
#[derive(Debug)]
pub(crate) struct Turns {
    /// How many more times a tree is left for its turn. Trees share places, which does no harm but to speed.
    crowded: [AtomicU8; PLACES],
    ahead: AtomicU64,
    in_turn: AtomicU64,
    again: AtomicU64,
}

const PLACES: usize = 64;

/// So many times it is not tried again: the work in vain is a small part then, and a writer that is left alone soon has it back.
const TIMES: u8 = 16;

/// How the trees of the commits of a store were brought up to date; see [`TreeStore::turns`](crate::TreeStore::turns).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TreeTurns {
    /// Trees that were settled before their transaction's turn to commit, beside other commits.
    pub ahead: u64,
    /// Trees that were settled while all other commits waited.
    pub in_turn: u64,
    /// How many of those had been settled before in vain, since another commit had changed them.
    pub again: u64,
}

impl Turns {
    pub(crate) fn new() -> Turns {
        Turns {
            crowded: array::from_fn(|_| AtomicU8::new(0)),
            ahead: AtomicU64::new(0),
            in_turn: AtomicU64::new(0),
            again: AtomicU64::new(0),
        }
    }

    /// Whether a tree is better left for its turn.
    pub(crate) fn is_crowded(&self, tree: &Located) -> bool {
        let place = self.place(tree);
        // Two at once may take the same one off, which does no harm.
        match place.load(Ordering::Relaxed) {
            0 => false,
            times => {
                place.store(times - 1, Ordering::Relaxed);
                true
            }
        }
    }

    /// Another commit has changed the tree in between.
    pub(crate) fn note_crowded(&self, tree: &Located) {
        self.place(tree).store(TIMES, Ordering::Relaxed);
    }

    /// A commit had so many trees.
    pub(crate) fn count(&self, ahead: usize, in_turn: usize, again: usize) {
        for (counter, trees) in [
            (&self.ahead, ahead),
            (&self.in_turn, in_turn),
            (&self.again, again),
        ] {
            if trees > 0 {
                counter.fetch_add(trees as u64, Ordering::Relaxed);
            }
        }
    }

    pub(crate) fn counts(&self) -> TreeTurns {
        TreeTurns {
            ahead: self.ahead.load(Ordering::Relaxed),
            in_turn: self.in_turn.load(Ordering::Relaxed),
            again: self.again.load(Ordering::Relaxed),
        }
    }

    fn place(&self, tree: &Located) -> &AtomicU8 {
        &self.crowded[usize::from(tree.prefix[0]) % PLACES]
    }
}
