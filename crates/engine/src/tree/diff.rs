//! What differs between two versions of a tree, in time proportional to the difference: subtrees that both share are skipped.

use std::cmp::Ordering;
use std::ops::ControlFlow;

use super::branch::Branch;
use super::leaf::Leaf;
use super::separator::Separator;
use super::{MAX_HEIGHT, PageRead, Root};
use crate::error::Result;
use crate::ids::PagePtr;
use crate::op::Entry;

/// Shows `visit` each key from `start` up to `end` (excluded; `None` for no end) that is not the same in both trees, in order, with what it is
/// set to in the old and in the new one. Stops when `visit` breaks, and returns what it broke with.
pub(crate) fn diff<'p, R, B>(
    pages: &R,
    old: Root,
    new: Root,
    start: &[u8],
    end: Option<&[u8]>,
    mut visit: impl FnMut(&'p [u8], Option<Entry<'p>>, Option<Entry<'p>>) -> ControlFlow<B>,
) -> Result<ControlFlow<B>>
where
    R: PageRead<'p>,
{
    let mut old = Side::new(pages, old, start)?;
    let mut new = Side::new(pages, new, start)?;
    loop {
        old.stop_at(end);
        new.stop_at(end);
        match (old.place, new.place) {
            (Place::End, Place::End) => return Ok(ControlFlow::Continue(())),

            (Place::Subtree { level, ptr }, Place::Subtree { level: l, ptr: p })
                if (level, ptr) == (l, p) =>
            {
                old.leave(level);
                new.leave(level);
            }
            (Place::Subtree { level, .. }, Place::Subtree { level: other, .. }) => {
                // What begins first is entered first: what begins later may be shared with something yet to come.
                let order = old.lower(level).cmp(new.lower(other)).then(other.cmp(&level));
                if order != Ordering::Greater {
                    old.enter()?;
                }
                if order != Ordering::Less {
                    new.enter()?;
                }
            }

            (Place::Subtree { level, .. }, Place::Entry { leaf, index }) => {
                if old.lower(level).cmp_key(leaf.key(index)) != Ordering::Greater {
                    old.enter()?;
                } else if let ControlFlow::Break(value) = visit(leaf.key(index), None, new.take()) {
                    return Ok(ControlFlow::Break(value));
                }
            }
            (Place::Entry { leaf, index }, Place::Subtree { level, .. }) => {
                if new.lower(level).cmp_key(leaf.key(index)) != Ordering::Greater {
                    new.enter()?;
                } else if let ControlFlow::Break(value) = visit(leaf.key(index), old.take(), None) {
                    return Ok(ControlFlow::Break(value));
                }
            }
            (Place::Subtree { .. }, Place::End) => old.enter()?,
            (Place::End, Place::Subtree { .. }) => new.enter()?,

            (Place::Entry { leaf, index }, Place::Entry { leaf: l, index: i }) => {
                let (key, other) = (leaf.key(index), l.key(i));
                let order = key.cmp(other);
                let was = if order == Ordering::Greater {
                    None
                } else {
                    old.take()
                };
                let is = if order == Ordering::Less { None } else { new.take() };
                if was != is
                    && let ControlFlow::Break(value) = visit(key.min(other), was, is)
                {
                    return Ok(ControlFlow::Break(value));
                }
            }
            (Place::Entry { leaf, index }, Place::End) => {
                if let ControlFlow::Break(value) = visit(leaf.key(index), old.take(), None) {
                    return Ok(ControlFlow::Break(value));
                }
            }
            (Place::End, Place::Entry { leaf, index }) => {
                if let ControlFlow::Break(value) = visit(leaf.key(index), None, new.take()) {
                    return Ok(ControlFlow::Break(value));
                }
            }
        }
    }
}

/// A place in one of the trees: before a subtree not yet looked into, or on an entry.
struct Side<'p, 'r, R> {
    pages: &'r R,
    root: Root,
    /// From level 1 (at 0) up to the root.
    path: [Option<(Branch<'p>, usize)>; MAX_HEIGHT],
    place: Place<'p>,
    /// Where to begin, as long as that can lie inside the subtree at hand.
    start: Option<&'r [u8]>,
}

#[derive(Clone, Copy)]
enum Place<'p> {
    Subtree { level: u8, ptr: PagePtr },
    Entry { leaf: Leaf<'p>, index: usize },
    End,
}

impl<'p, 'r, R: PageRead<'p>> Side<'p, 'r, R> {
    fn new(pages: &'r R, root: Root, start: &'r [u8]) -> Result<Self> {
        if usize::from(root.level) > MAX_HEIGHT {
            return Err(pages.corrupt(root.ptr, "the tree is too high"));
        }
        let place = match root.is_empty() {
            true => Place::End,
            false => Place::Subtree {
                level: root.level,
                ptr: root.ptr,
            },
        };
        Ok(Side {
            pages,
            root,
            path: [None; MAX_HEIGHT],
            place,
            start: Some(start),
        })
    }

    /// What no key of the subtree at `level` that this is before or in lies below.
    fn lower(&self, level: u8) -> Separator<'p> {
        self.path[usize::from(level)..usize::from(self.root.level)]
            .iter()
            .flatten()
            .find(|(_, index)| *index > 0)
            .map_or(Separator::LOWEST, |(branch, index)| branch.separator(*index))
    }

    fn stop_at(&mut self, end: Option<&[u8]>) {
        let Some(end) = end else { return };
        let is_past = match self.place {
            Place::Subtree { level, .. } => self.lower(level).cmp_key(end) != Ordering::Less,
            Place::Entry { leaf, index } => leaf.key(index) >= end,
            Place::End => return,
        };
        if is_past {
            self.place = Place::End;
        }
    }

    /// Goes into the subtree at hand.
    fn enter(&mut self) -> Result<()> {
        let Place::Subtree { level, ptr } = self.place else {
            return Ok(());
        };
        let page = self.pages.page(ptr, level)?;
        if level == 0 {
            let leaf = Leaf::new(page);
            let index = self
                .start
                .map_or(0, |start| leaf.search(start).unwrap_or_else(|index| index));
            if index < leaf.count() {
                self.place = Place::Entry { leaf, index };
            } else {
                self.leave(0);
            }
            return Ok(());
        }
        let branch = Branch::new(page);
        let index = self.start.map_or(0, |start| branch.search(start));
        self.path[usize::from(level) - 1] = Some((branch, index));
        self.place = Place::Subtree {
            level: level - 1,
            ptr: branch.child(index),
        };
        Ok(())
    }

    /// Goes past the subtree at `level` that this is before or in.
    fn leave(&mut self, level: u8) {
        self.start = None;
        for above in level..self.root.level {
            if let Some((branch, index)) = &mut self.path[usize::from(above)]
                && *index + 1 < branch.count()
            {
                *index += 1;
                self.place = Place::Subtree {
                    level: above,
                    ptr: branch.child(*index),
                };
                return;
            }
        }
        self.place = Place::End;
    }

    /// The entry at hand, which is gone past.
    fn take(&mut self) -> Option<Entry<'p>> {
        let Place::Entry { leaf, index } = self.place else {
            return None;
        };
        if index + 1 < leaf.count() {
            self.place = Place::Entry {
                leaf,
                index: index + 1,
            };
        } else {
            self.leave(0);
        }
        Some(leaf.entry(index))
    }
}
