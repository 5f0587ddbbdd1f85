//! A place in a tree that moves both ways.

use super::branch::Branch;
use super::leaf::Leaf;
use super::{MAX_HEIGHT, PageRead, Root};
use crate::error::Result;
use crate::ids::PagePtr;
use crate::op::Entry;

/// A key and what it is set to, lent by the snapshot.
pub(crate) type Item<'p> = (&'p [u8], Entry<'p>);

/// A cursor: on an entry, before the first one (where it begins), or after the last one.
///
/// Every move returns the entry that the cursor is on after it, or `None` if it went past either end; from there it moves back to
/// the entry nearest. After an error it is where it was.
pub(crate) struct Cursor<'p, R> {
    pages: R,
    root: Root,
    /// From level 1 (at 0) up to the root.
    path: [Option<Step<'p>>; MAX_HEIGHT],
    /// An error has left `path` somewhere else than `place`.
    is_lost: bool,
    place: Place<'p>,
}

#[derive(Clone, Copy)]
struct Step<'p> {
    branch: Branch<'p>,
    index: usize,
}

#[derive(Clone, Copy)]
enum Place<'p> {
    Before,
    On { leaf: Leaf<'p>, index: usize },
    After,
}

/// Which child to take on the way down.
#[derive(Clone, Copy)]
enum Way<'k> {
    First,
    Last,
    To(&'k [u8]),
}

impl<'p, R: PageRead<'p>> Cursor<'p, R> {
    pub(crate) fn new(pages: R, root: Root) -> Cursor<'p, R> {
        Cursor {
            pages,
            root,
            path: [None; MAX_HEIGHT],
            is_lost: false,
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
        if self.root.is_empty() {
            return Ok(self.end(Place::After));
        }
        let leaf = self.descend_from_root(Way::First)?;
        Ok(self.settle(leaf, 0))
    }

    /// Goes to the last entry.
    pub(crate) fn last(&mut self) -> Result<Option<Item<'p>>> {
        if self.root.is_empty() {
            return Ok(self.end(Place::Before));
        }
        let leaf = self.descend_from_root(Way::Last)?;
        Ok(self.settle(leaf, leaf.count() - 1))
    }

    /// Goes to the first entry whose key is not below `key`.
    pub(crate) fn seek(&mut self, key: &[u8]) -> Result<Option<Item<'p>>> {
        if self.root.is_empty() {
            return Ok(self.end(Place::After));
        }
        let leaf = self.descend_from_root(Way::To(key))?;
        match leaf.search(key).unwrap_or_else(|index| index) {
            index if index < leaf.count() => Ok(self.settle(leaf, index)),
            _ => self.next_leaf(),
        }
    }

    /// Goes to the last entry whose key is not above `key`.
    pub(crate) fn seek_for_prev(&mut self, key: &[u8]) -> Result<Option<Item<'p>>> {
        if self.root.is_empty() {
            return Ok(self.end(Place::Before));
        }
        let leaf = self.descend_from_root(Way::To(key))?;
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
                if self.is_lost {
                    self.find_again()?;
                }
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
                if self.is_lost {
                    self.find_again()?;
                }
                self.prev_leaf()
            }
            Place::Before => Ok(None),
            Place::After => self.last(),
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

    /// Leads the path back to the entry that the cursor is on.
    #[cold]
    fn find_again(&mut self) -> Result<()> {
        if let Some((key, _)) = self.current() {
            self.descend_from_root(Way::To(key))?;
        }
        Ok(())
    }

    fn next_leaf(&mut self) -> Result<Option<Item<'p>>> {
        for above in 0..usize::from(self.root.level) {
            if let Some(Step { branch, index }) = self.path[above]
                && index + 1 < branch.count()
            {
                let index = index + 1;
                let leaf = self.descend_beside(above, Step { branch, index }, Way::First)?;
                return Ok(self.settle(leaf, 0));
            }
        }
        Ok(self.end(Place::After))
    }

    fn prev_leaf(&mut self) -> Result<Option<Item<'p>>> {
        for above in 0..usize::from(self.root.level) {
            if let Some(Step { branch, index }) = self.path[above]
                && index > 0
            {
                let index = index - 1;
                let leaf = self.descend_beside(above, Step { branch, index }, Way::Last)?;
                return Ok(self.settle(leaf, leaf.count() - 1));
            }
        }
        Ok(self.end(Place::Before))
    }

    fn descend_from_root(&mut self, way: Way<'_>) -> Result<Leaf<'p>> {
        if usize::from(self.root.level) > MAX_HEIGHT {
            return Err(self.pages.corrupt(self.root.ptr, "the tree is too high"));
        }
        self.descend(self.root.level, self.root.ptr, way)
    }

    /// Takes another step in the branch at `path[above]`, and goes down from there.
    fn descend_beside(&mut self, above: usize, step: Step<'p>, way: Way<'_>) -> Result<Leaf<'p>> {
        self.path[above] = Some(step);
        self.descend(above as u8, step.branch.child(step.index), way)
    }

    fn descend(&mut self, level: u8, mut ptr: PagePtr, way: Way<'_>) -> Result<Leaf<'p>> {
        self.is_lost = true;
        for level in (1..=level).rev() {
            let branch = Branch::new(self.pages.page(ptr, level)?);
            let index = match way {
                Way::First => 0,
                Way::Last => branch.count() - 1,
                Way::To(key) => branch.search(key),
            };
            self.path[usize::from(level) - 1] = Some(Step { branch, index });
            ptr = branch.child(index);
            self.pages.prefetch(ptr);
        }
        let leaf = Leaf::new(self.pages.page(ptr, 0)?);
        self.is_lost = false;
        Ok(leaf)
    }
}
