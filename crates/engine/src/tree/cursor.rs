//! A place in a tree that moves both ways.

use super::leaf::Leaf;
use super::path::Path;
use super::{PageRead, Root};
use crate::error::Result;
use crate::op::Entry;

/// A key and what it is set to, lent by the snapshot.
pub(crate) type Item<'p> = (&'p [u8], Entry<'p>);

/// A cursor: on an entry, before the first one (where it begins), or after the last one.
///
/// Every move returns the entry that the cursor is on after it, or `None` if it went past either end; from there it moves back to
/// the entry nearest. After an error it is where it was.
pub(crate) struct Cursor<'p, R> {
    path: Path<'p, R>,
    place: Place<'p>,
}

#[derive(Clone, Copy)]
enum Place<'p> {
    Before,
    On { leaf: Leaf<'p>, index: usize },
    After,
}

impl<'p, R: PageRead<'p>> Cursor<'p, R> {
    pub(crate) fn new(pages: R, root: Root) -> Cursor<'p, R> {
        Cursor {
            path: Path::new(pages, root),
            place: Place::Before,
        }
    }

    /// The entry that the cursor is on.
    #[inline]
    pub(crate) fn current(&self) -> Option<Item<'p>> {
        match self.place {
            Place::On { leaf, index } => Some(leaf.key_and_entry(index)),
            Place::Before | Place::After => None,
        }
    }

    /// Goes to the first entry.
    pub(crate) fn first(&mut self) -> Result<Option<Item<'p>>> {
        let leaf = self.path.first_leaf()?;
        Ok(self.settle_first(leaf))
    }

    /// Goes to the last entry.
    pub(crate) fn last(&mut self) -> Result<Option<Item<'p>>> {
        let leaf = self.path.last_leaf()?;
        Ok(self.settle_last(leaf))
    }

    /// Goes to the first entry whose key is not below `key`.
    pub(crate) fn seek(&mut self, key: &[u8]) -> Result<Option<Item<'p>>> {
        let Some(leaf) = self.path.leaf_of(key)? else {
            return Ok(self.end(Place::After));
        };
        match leaf.search(key).unwrap_or_else(|index| index) {
            index if index < leaf.count() => Ok(self.settle(leaf, index)),
            _ => self.next_leaf(),
        }
    }

    /// Goes to the last entry whose key is not above `key`.
    pub(crate) fn seek_for_prev(&mut self, key: &[u8]) -> Result<Option<Item<'p>>> {
        let Some(leaf) = self.path.leaf_of(key)? else {
            return Ok(self.end(Place::Before));
        };
        match leaf.search(key) {
            Ok(index) => Ok(self.settle(leaf, index)),
            Err(0) => self.prev_leaf(),
            Err(index) => Ok(self.settle(leaf, index - 1)),
        }
    }

    /// Goes on to the next entry.
    #[inline]
    pub(crate) fn next(&mut self) -> Result<Option<Item<'p>>> {
        match &mut self.place {
            Place::On { leaf, index } if *index + 1 < leaf.count() => {
                *index += 1;
                Ok(Some(leaf.key_and_entry(*index)))
            }
            Place::On { .. } => {
                self.find_again()?;
                self.next_leaf()
            }
            Place::Before => self.first(),
            Place::After => Ok(None),
        }
    }

    /// Goes back to the entry before.
    #[inline]
    pub(crate) fn prev(&mut self) -> Result<Option<Item<'p>>> {
        match &mut self.place {
            Place::On { leaf, index } if *index > 0 => {
                *index -= 1;
                Ok(Some(leaf.key_and_entry(*index)))
            }
            Place::On { .. } => {
                self.find_again()?;
                self.prev_leaf()
            }
            Place::Before => Ok(None),
            Place::After => self.last(),
        }
    }

    fn next_leaf(&mut self) -> Result<Option<Item<'p>>> {
        let leaf = self.path.next_leaf()?;
        Ok(self.settle_first(leaf))
    }

    fn prev_leaf(&mut self) -> Result<Option<Item<'p>>> {
        let leaf = self.path.prev_leaf()?;
        Ok(self.settle_last(leaf))
    }

    /// Leads the path back to the entry that the cursor is on, if an error has led it away.
    fn find_again(&mut self) -> Result<()> {
        if self.path.is_lost()
            && let Some((key, _)) = self.current()
        {
            self.path.leaf_of(key)?;
        }
        Ok(())
    }

    fn settle_first(&mut self, leaf: Option<Leaf<'p>>) -> Option<Item<'p>> {
        match leaf {
            Some(leaf) => self.settle(leaf, 0),
            None => self.end(Place::After),
        }
    }

    fn settle_last(&mut self, leaf: Option<Leaf<'p>>) -> Option<Item<'p>> {
        match leaf {
            Some(leaf) => self.settle(leaf, leaf.count().saturating_sub(1)),
            None => self.end(Place::Before),
        }
    }

    fn settle(&mut self, leaf: Leaf<'p>, index: usize) -> Option<Item<'p>> {
        self.place = Place::On { leaf, index };
        Some(leaf.key_and_entry(index))
    }

    fn end(&mut self, place: Place<'p>) -> Option<Item<'p>> {
        self.place = place;
        None
    }
}
