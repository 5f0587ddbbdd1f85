//! The way down to a leaf, and on to the leaves beside it.

use super::branch::Branch;
use super::leaf::Leaf;
use super::{MAX_HEIGHT, PageRead, Root};
use crate::error::Result;
use crate::ids::PagePtr;

/// The branches above a leaf, and which child was taken in each.
///
/// It is made and moved often, so only as many levels have a place in it as most trees have.
pub(crate) struct Path<'p, R> {
    pages: R,
    root: Root,
    /// From level 1 (at 0) up.
    low: [Option<Step<'p>>; LOW],
    /// The levels above those, in trees that have them.
    high: Vec<Option<Step<'p>>>,
    is_lost: bool,
}

/// Levels of branches that are kept without allocating.
const LOW: usize = 4;

#[derive(Clone, Copy)]
struct Step<'p> {
    branch: Branch<'p>,
    index: usize,
}

/// Which child to take on the way down.
#[derive(Clone, Copy)]
enum Way<'k> {
    First,
    Last,
    To(&'k [u8]),
}

impl<'p, R: PageRead<'p>> Path<'p, R> {
    #[inline]
    pub(crate) fn new(pages: R, root: Root) -> Path<'p, R> {
        Path {
            pages,
            root,
            low: [None; LOW],
            high: Vec::new(),
            is_lost: false,
        }
    }

    /// Whether an error has left the path somewhere else than the last leaf that it gave.
    pub(crate) fn is_lost(&self) -> bool {
        self.is_lost
    }

    /// The first leaf; `None` in an empty tree.
    pub(crate) fn first_leaf(&mut self) -> Result<Option<Leaf<'p>>> {
        self.descend_from_root(Way::First)
    }

    /// The last leaf; `None` in an empty tree.
    pub(crate) fn last_leaf(&mut self) -> Result<Option<Leaf<'p>>> {
        self.descend_from_root(Way::Last)
    }

    /// The leaf that `key` belongs to; `None` in an empty tree.
    pub(crate) fn leaf_of(&mut self, key: &[u8]) -> Result<Option<Leaf<'p>>> {
        self.descend_from_root(Way::To(key))
    }

    /// The leaf after the one that was given last.
    pub(crate) fn next_leaf(&mut self) -> Result<Option<Leaf<'p>>> {
        for above in 0..usize::from(self.root.level) {
            if let Some(Step { branch, index }) = *self.step(above)
                && index + 1 < branch.count()
            {
                let index = index + 1;
                return self.descend_beside(above, Step { branch, index }, Way::First);
            }
        }
        Ok(None)
    }

    /// The leaf before the one that was given last.
    pub(crate) fn prev_leaf(&mut self) -> Result<Option<Leaf<'p>>> {
        for above in 0..usize::from(self.root.level) {
            if let Some(Step { branch, index }) = *self.step(above)
                && index > 0
            {
                let index = index - 1;
                return self.descend_beside(above, Step { branch, index }, Way::Last);
            }
        }
        Ok(None)
    }

    #[inline]
    fn step(&mut self, above: usize) -> &mut Option<Step<'p>> {
        match above.checked_sub(LOW) {
            None => &mut self.low[above],
            Some(above) => &mut self.high[above],
        }
    }

    fn descend_from_root(&mut self, way: Way<'_>) -> Result<Option<Leaf<'p>>> {
        if self.root.is_empty() {
            return Ok(None);
        }
        let height = usize::from(self.root.level);
        if height > LOW {
            if height > MAX_HEIGHT {
                return Err(self.pages.corrupt(self.root.ptr, "the tree is too high"));
            }
            self.high.resize(height - LOW, None);
        }
        self.descend(self.root.level, self.root.ptr, way)
    }

    /// Takes another step in the branch that is `above` levels over level 1, and goes down from there.
    fn descend_beside(&mut self, above: usize, step: Step<'p>, way: Way<'_>) -> Result<Option<Leaf<'p>>> {
        *self.step(above) = Some(step);
        self.descend(above as u8, step.branch.child(step.index), way)
    }

    #[inline]
    fn descend(&mut self, level: u8, mut ptr: PagePtr, way: Way<'_>) -> Result<Option<Leaf<'p>>> {
        self.is_lost = true;
        for level in (1..=level).rev() {
            let branch = Branch::new(self.pages.page(ptr, level)?);
            let index = match way {
                Way::First => 0,
                Way::Last => branch.count() - 1,
                Way::To(key) => branch.search(key),
            };
            *self.step(usize::from(level) - 1) = Some(Step { branch, index });
            ptr = branch.child(index);
        }
        let leaf = Leaf::new(self.pages.page(ptr, 0)?);
        self.is_lost = false;
        Ok(Some(leaf))
    }
}
