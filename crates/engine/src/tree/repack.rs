//! Packs a part of a tree anew: what lies in sparse pages closes up, and pages far back in the file get new places.

use super::apply::Applied;
use super::branch::Branch;
use super::builder::{Builder, separator_before};
use super::leaf::Leaf;
use super::page::{self, HEADER};
use super::separator::Separator;
use super::{MAX_HEIGHT, PageWrite, Root};
use crate::error::Result;
use crate::ids::PagePtr;

/// Which pages are built anew.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Repack<'k> {
    /// What lies before this key stays.
    pub(crate) start: &'k [u8],
    /// Pages from this number on.
    pub(crate) bound: u64,
    /// Leaves that are filled to less than this many of 256 parts. 0 for none; leaves need not be read then.
    pub(crate) fill: usize,
}

/// Builds pages anew, until `budget` leaves were looked at; it is lowered by those that were. Gives the tree, which holds what it held, how many pages
/// were built anew for a reason, and the key to go on with, if there is more.
pub(crate) fn repack<'p, W: PageWrite<'p>>(
    pages: &mut W,
    root: Root,
    what: Repack<'_>,
    budget: &mut u64,
) -> Result<(Applied, u64, Option<Vec<u8>>)> {
    let unchanged = |root| Applied {
        root,
        len_delta: 0,
        large_delta: 0,
    };
    if root.is_empty() {
        return Ok((unchanged(root), 0, None));
    }
    if usize::from(root.level) > MAX_HEIGHT {
        return Err(pages.corrupt(root.ptr, "the tree is too high"));
    }
    if root.level == 0 && root.ptr.id().0 < what.bound {
        *budget = budget.saturating_sub(1);
        return Ok((unchanged(root), 0, None));
    }
    let capacity = pages.page_size() - HEADER;
    let mut packing = Packing {
        builder: Builder::new(pages),
        what,
        capacity,
        budget,
        moved: 0,
        rest: None,
    };
    packing.node(root.level, Separator::LOWEST, root.ptr)?;
    let Packing {
        builder, moved, rest, ..
    } = packing;
    Ok((unchanged(builder.finish()?), moved, rest))
}

struct Packing<'w, 'p, 'k, W> {
    builder: Builder<'w, 'p, W>,
    what: Repack<'k>,
    capacity: usize,
    budget: &'k mut u64,
    moved: u64,
    rest: Option<Vec<u8>>,
}

impl<'p, W: PageWrite<'p>> Packing<'_, 'p, '_, W> {
    fn node(&mut self, level: u8, separator: Separator<'p>, ptr: PagePtr) -> Result<()> {
        let page = self.builder.pages.page(ptr, level)?;
        if level == 0 {
            return self.leaf(Leaf::new(page), separator, ptr);
        }
        let branch = Branch::new(page);
        let first = branch.search(self.what.start);
        if level == 1 && first == 0 && !self.wants_any(branch, ptr)? {
            // Looked at, and nothing to do.
            *self.budget = self.budget.saturating_sub(branch.count() as u64);
            return self.builder.pass(level, separator, ptr);
        }
        self.moved += u64::from(ptr.id().0 >= self.what.bound);
        self.builder.pages.release(ptr);
        self.builder.pass_children(level, branch, separator, 0, first)?;
        let mut index = first;
        while index < branch.count() && self.rest.is_none() {
            let below = separator_before(branch, separator, index);
            if *self.budget == 0 && index > first {
                self.rest = Some(below.to_vec());
                break;
            }
            self.node(level - 1, below, branch.child(index))?;
            index += 1;
        }
        self.builder
            .pass_children(level, branch, separator, index, branch.count())
    }

    /// Whether this branch of leaves, or any of them, is to be built anew, or has to be because of what is pending.
    fn wants_any(&self, branch: Branch<'p>, ptr: PagePtr) -> Result<bool> {
        if ptr.id().0 >= self.what.bound || *self.budget == 0 {
            return Ok(true);
        }
        for child in (0..branch.count()).map(|i| branch.child(i)) {
            if self.wants(child)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn wants(&self, leaf: PagePtr) -> Result<bool> {
        if leaf.id().0 >= self.what.bound {
            return Ok(true);
        }
        if self.what.fill == 0 {
            return Ok(false);
        }
        let used = page::used(self.builder.pages.page(leaf, 0)?) - HEADER;
        Ok(used * 256 < self.what.fill * self.capacity)
    }

    fn leaf(&mut self, leaf: Leaf<'p>, separator: Separator<'p>, ptr: PagePtr) -> Result<()> {
        *self.budget = self.budget.saturating_sub(1);
        if !self.wants(ptr)? {
            return self.builder.pass(0, separator, ptr);
        }
        self.moved += 1;
        self.builder.begin_leaf(separator);
        self.builder.pages.release(ptr);
        self.builder.push_run(leaf, 0, leaf.count())
    }
}
