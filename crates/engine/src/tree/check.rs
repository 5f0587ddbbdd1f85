//! Checks a whole tree: what [`page::verify`](super::page::verify) can't see, because it takes more than one page to see it.

use std::cmp::Ordering;

use super::branch::Branch;
use super::builder::separator_before;
use super::leaf::Leaf;
use super::page::Fault;
use super::separator::Separator;
use super::{MAX_HEIGHT, PageRead, Root};
use crate::error::{Error, Result};
use crate::ids::PagePtr;
use crate::op::LargeRef;

/// What a tree holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) entries: u64,
    pub(crate) large: u64,
    pub(crate) leaves: u64,
    pub(crate) branches: u64,
}

/// What a check meets.
pub(crate) enum Met<'e> {
    /// A page, before it is read.
    Page(PagePtr, u8),
    /// A large value, for the caller to check.
    Large(LargeRef),
    /// Damage. What lies below this page is left out; the check goes on beside it.
    Damage(PagePtr, &'e Error),
}

/// Reads all of a tree and verifies the order of its keys and separators. `meet` is shown everything met, and says of each page whether to
/// enter it: `false` for one that it has met before, which a sound tree never does.
pub(crate) fn check<'p, R: PageRead<'p>>(
    pages: &R,
    root: Root,
    meet: &mut impl FnMut(Met<'_>) -> bool,
) -> Totals {
    let mut totals = Totals::default();
    if root.is_empty() {
        return totals;
    }
    if usize::from(root.level) > MAX_HEIGHT {
        let error = pages.corrupt(root.ptr, "the tree is too high");
        meet(Met::Damage(root.ptr, &error));
        return totals;
    }
    let mut check = Check {
        pages,
        meet,
        totals: &mut totals,
    };
    check.node(root.level, root.ptr, Separator::LOWEST, None);
    totals
}

struct Check<'c, R, M> {
    pages: &'c R,
    meet: &'c mut M,
    totals: &'c mut Totals,
}

impl<'p, R: PageRead<'p>, M: FnMut(Met<'_>) -> bool> Check<'_, R, M> {
    fn node(&mut self, level: u8, ptr: PagePtr, lower: Separator<'p>, upper: Option<Separator<'p>>) {
        if !(self.meet)(Met::Page(ptr, level)) {
            return;
        }
        if level == 0 {
            return self.leaf(ptr, lower, upper);
        }
        let page = match self.pages.page(ptr, level) {
            Ok(page) => page,
            Err(error) => return self.damage(ptr, &error),
        };
        if let Err(fault) = check_branch(Branch::new(page), lower, upper) {
            let error = self.pages.corrupt(ptr, fault);
            self.damage(ptr, &error);
        }
        self.totals.branches += 1;
        let branch = Branch::new(page);
        for i in 0..branch.count() {
            let child_upper = match i + 1 < branch.count() {
                true => Some(branch.separator(i + 1)),
                false => upper,
            };
            self.node(
                level - 1,
                branch.child(i),
                separator_before(branch, lower, i),
                child_upper,
            );
        }
    }

    fn leaf(&mut self, ptr: PagePtr, lower: Separator<'p>, upper: Option<Separator<'p>>) {
        let pages = self.pages;
        let order = pages.with_page(ptr, 0, |page| {
            let leaf = Leaf::new(page);
            self.totals.leaves += 1;
            self.totals.entries += leaf.count() as u64;
            for large in leaf.large_values(0, leaf.count()) {
                self.totals.large += 1;
                (self.meet)(Met::Large(large));
            }
            check_leaf(leaf, lower, upper)
        });
        match order {
            Ok(Ok(())) => {}
            Ok(Err(fault)) => self.damage(ptr, &pages.corrupt(ptr, fault)),
            Err(error) => self.damage(ptr, &error),
        }
    }

    fn damage(&mut self, ptr: PagePtr, error: &Error) {
        (self.meet)(Met::Damage(ptr, error));
    }
}

fn check_leaf(leaf: Leaf<'_>, lower: Separator<'_>, upper: Option<Separator<'_>>) -> Result<(), Fault> {
    leaf.check_order()?;
    let (first, last) = (leaf.key(0), leaf.key(leaf.count() - 1));
    if lower.cmp_key(first) == Ordering::Greater
        || upper.is_some_and(|upper| upper.cmp_key(last) != Ordering::Greater)
    {
        return Err("a key lies outside of what its parent says");
    }
    Ok(())
}

fn check_branch(branch: Branch<'_>, lower: Separator<'_>, upper: Option<Separator<'_>>) -> Result<(), Fault> {
    if branch.count() == 1 {
        return Ok(());
    }
    let (first, last) = (branch.separator(1), branch.separator(branch.count() - 1));
    if lower.cmp(first) != Ordering::Less && lower.len() > 0
        || upper.is_some_and(|upper| last.cmp(upper) != Ordering::Less)
    {
        return Err("a separator lies outside of what its parent says");
    }
    Ok(())
}
