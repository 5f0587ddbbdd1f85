//! Walking over the keys of a subtree, both ways.

use std::ops::Bound;

use weald_proof::Direction;

use crate::context::StorageContext;
use crate::cost::CostResult;
use crate::family::Family;
use crate::source::OwnedPair;

/// An iterator over one family of one subtree.
///
/// It never leaves the subtree. Every move looks for its pair anew, so it sees what is written while it is about. A move that
/// fails says so and leaves it where it was.
pub struct RawIterator<'c> {
    context: &'c dyn StorageContext,
    family: Family,
    place: Place,
}

enum Place {
    /// Before the first pair.
    Start,
    On(OwnedPair),
    /// After the last pair.
    End,
}

impl<'c> RawIterator<'c> {
    pub(crate) fn new(context: &'c dyn StorageContext, family: Family) -> RawIterator<'c> {
        RawIterator {
            context,
            family,
            place: Place::Start,
        }
    }

    /// Goes to the first pair; whether there is one.
    pub fn seek_to_first(&mut self) -> CostResult<bool> {
        self.go(Bound::Unbounded, Direction::Ascending)
    }

    /// Goes to the last pair; whether there is one.
    pub fn seek_to_last(&mut self) -> CostResult<bool> {
        self.go(Bound::Unbounded, Direction::Descending)
    }

    /// Goes to the first pair whose key is not less than `key`; whether there is one.
    pub fn seek(&mut self, key: &[u8]) -> CostResult<bool> {
        self.go(Bound::Included(key), Direction::Ascending)
    }

    /// Goes to the last pair whose key is not greater than `key`; whether there is one.
    pub fn seek_for_prev(&mut self, key: &[u8]) -> CostResult<bool> {
        self.go(Bound::Included(key), Direction::Descending)
    }

    /// Goes to the next pair, from before the first to the first; whether there is one.
    #[expect(
        clippy::should_implement_trait,
        reason = "it moves both ways, can fail and has a cost"
    )]
    pub fn next(&mut self) -> CostResult<bool> {
        match std::mem::replace(&mut self.place, Place::End) {
            Place::Start => self.keep(Place::Start, Bound::Unbounded, Direction::Ascending),
            Place::On((key, value)) => {
                let from = key.clone();
                self.keep(
                    Place::On((key, value)),
                    Bound::Excluded(&from),
                    Direction::Ascending,
                )
            }
            Place::End => self.nowhere(),
        }
    }

    /// Goes to the pair before, from after the last to the last; whether there is one.
    pub fn prev(&mut self) -> CostResult<bool> {
        match std::mem::replace(&mut self.place, Place::Start) {
            Place::Start => self.nowhere(),
            Place::On((key, value)) => {
                let from = key.clone();
                self.keep(
                    Place::On((key, value)),
                    Bound::Excluded(&from),
                    Direction::Descending,
                )
            }
            Place::End => self.keep(Place::End, Bound::Unbounded, Direction::Descending),
        }
    }

    /// Whether it is on a pair.
    #[must_use]
    pub fn valid(&self) -> bool {
        matches!(self.place, Place::On(_))
    }

    /// The key of the pair that it is on, without the prefix.
    #[must_use]
    pub fn key(&self) -> Option<&[u8]> {
        self.pair().map(|(key, _)| &key[..])
    }

    /// The value of the pair that it is on.
    #[must_use]
    pub fn value(&self) -> Option<&[u8]> {
        self.pair().map(|(_, value)| &value[..])
    }

    fn pair(&self) -> Option<&OwnedPair> {
        match &self.place {
            Place::On(pair) => Some(pair),
            _ => None,
        }
    }

    fn nowhere(&self) -> CostResult<bool> {
        CostResult {
            value: Ok(false),
            cost: Default::default(),
        }
    }

    /// Goes back to `old` first, for the case that the move fails.
    fn keep(&mut self, old: Place, from: Bound<&[u8]>, direction: Direction) -> CostResult<bool> {
        self.place = old;
        self.go(from, direction)
    }

    fn go(&mut self, from: Bound<&[u8]>, direction: Direction) -> CostResult<bool> {
        let found = self.context.neighbour(self.family, from, direction);
        let cost = found.cost;
        let value = found.value.map(|pair| {
            self.place = match (pair, direction) {
                (Some(pair), _) => Place::On(pair),
                (None, Direction::Ascending) => Place::End,
                (None, Direction::Descending) => Place::Start,
            };
            self.valid()
        });
        CostResult { value, cost }
    }
}
