//! Packs a stream of entries and unchanged subtrees, in key order, into the pages of a tree.
//!
//! Each level has what is pending: cells that have yet to become pages. When two pages' worth are pending, a full page is built, and
//! its pointer becomes a cell of the level above. When an unchanged subtree follows, what is pending below it has to become pages
//! first; if that is less than a quarter of a page, the subtree's own first page is taken apart and joins it. So every page is at
//! least about a third full, but for the last ones of each level, which nothing follows.

use super::branch::{self, Branch, Child};
use super::leaf::{self, Leaf, Part};
use super::page::HEADER;
use super::separator::Separator;
use super::{MAX_HEIGHT, PageWrite, Root};
use crate::error::Result;
use crate::ids::PagePtr;
use std::cmp::Ordering;
use std::marker::PhantomData;

pub(super) struct Builder<'w, 'p, W> {
    pub(super) pages: &'w mut W,
    /// Bytes of a page after the header.
    capacity: usize,
    /// How a leaf is filled that more than one page's worth follows.
    fill: Fill,
    leaves: Leaves<'p>,
    /// Levels 1 and up.
    branches: Vec<Branches<'p>>,
    lifetime: PhantomData<&'p ()>,
}

/// Entries that have yet to become leaves.
#[derive(Default)]
struct Leaves<'t> {
    parts: Vec<Part<'t>>,
    /// The parts before this one are in pages already.
    start: usize,
    /// Bytes that the pending ones take in a leaf.
    bytes: usize,
    /// Before the first pending entry.
    separator: Separator<'t>,
}

/// Children that have yet to become branches.
#[derive(Default)]
struct Branches<'t> {
    /// None of them empty; the first is a single child.
    parts: Vec<branch::Part<'t>>,
    /// How many children there are.
    count: usize,
    /// Bytes of all their separators.
    separators: usize,
    /// How many children there may be before it is worth to compute again whether a full page is pending.
    look_again_at: usize,
}

impl<'t> Branches<'t> {
    /// Bytes that all take in one branch, if it were large enough.
    fn bytes(&self) -> usize {
        self.parts.first().map_or(0, |first| {
            let stored = self.separators - first.first().len();
            branch::bytes(self.count, stored, branch::shared_prefix(&self.parts))
        })
    }
}

/// How much of what is pending goes into the next page.
#[derive(Clone, Copy)]
enum Fill {
    /// As much as fits.
    Full,
    /// About this many bytes.
    About(usize),
}

impl<'w, 'p, W: PageWrite<'p>> Builder<'w, 'p, W> {
    pub(super) fn new(pages: &'w mut W) -> Self {
        Builder {
            capacity: pages.page_size() - HEADER,
            fill: Fill::Full,
            pages,
            leaves: Leaves::default(),
            branches: Vec::new(),
            lifetime: PhantomData,
        }
    }

    /// Leaves a twelfth of each leaf free that is built from here on.
    pub(super) fn leave_room(&mut self) {
        self.fill = Fill::About(self.capacity / 12 * 11);
    }

    /// The entries that follow come from a leaf that `separator` stands before, and which is replaced.
    pub(super) fn begin_leaf(&mut self, separator: Separator<'p>) {
        if self.leaves.bytes == 0 {
            self.leaves.separator = separator;
        }
    }

    pub(super) fn push_run(&mut self, leaf: Leaf<'p>, from: usize, to: usize) -> Result<()> {
        if from == to {
            return Ok(());
        }
        self.push(Part::Run { leaf, from, to })
    }

    /// Entries that follow; not none.
    #[inline]
    pub(super) fn push(&mut self, part: Part<'p>) -> Result<()> {
        self.leaves.bytes += part.bytes();
        self.leaves.parts.push(part);
        self.build_full_leaves()
    }

    /// Whether there are entries that have yet to become leaves.
    pub(super) fn has_entries(&self) -> bool {
        self.leaves.bytes > 0
    }

    #[inline]
    fn build_full_leaves(&mut self) -> Result<()> {
        while self.leaves.bytes >= 2 * self.capacity {
            self.build_leaf(self.fill)?;
        }
        Ok(())
    }

    /// An unchanged subtree follows, with its root at `level` and `separator` before it.
    pub(super) fn pass(&mut self, level: u8, separator: Separator<'p>, ptr: PagePtr) -> Result<()> {
        for below in 0..=level {
            if !self.is_pending(below) {
                continue;
            }
            if self.is_underfull(below) {
                return self.pass_open(level, separator, ptr);
            }
            self.build_pending(below, false)?;
        }
        self.push_child(level + 1, separator, ptr)
    }

    /// [`pass`](Self::pass), but the subtree's own root is taken apart.
    fn pass_open(&mut self, level: u8, separator: Separator<'p>, ptr: PagePtr) -> Result<()> {
        let page = self.pages.page(ptr, level)?;
        self.pages.release(ptr);
        if level == 0 {
            let leaf = Leaf::new(page);
            self.begin_leaf(separator);
            return self.push_run(leaf, 0, leaf.count());
        }
        let branch = Branch::new(page);
        self.pass_children(level, branch, separator, 0, branch.count())
    }

    /// Passes the children `from..to` of a branch at `level`, which is replaced and has `separator` before it.
    pub(super) fn pass_children(
        &mut self,
        level: u8,
        branch: Branch<'p>,
        separator: Separator<'p>,
        from: usize,
        to: usize,
    ) -> Result<()> {
        let mut i = from;
        while i < to && (0..level).any(|below| self.is_pending(below)) {
            self.pass(level - 1, separator_before(branch, separator, i), branch.child(i))?;
            i += 1;
        }
        if i == 0 && i < to {
            self.push_child(level, separator, branch.child(0))?;
            i = 1;
        }
        if i < to {
            self.push_part(level, branch.part(i, to))?;
        }
        Ok(())
    }

    fn is_pending(&self, level: u8) -> bool {
        match level {
            0 => self.leaves.bytes > 0,
            _ => self
                .branches
                .get(usize::from(level) - 1)
                .is_some_and(|b| b.count > 0),
        }
    }

    fn pending_bytes(&self, level: u8) -> usize {
        match level {
            0 => self.leaves.bytes,
            _ => self.branches[usize::from(level) - 1].bytes(),
        }
    }

    fn is_underfull(&self, level: u8) -> bool {
        self.pending_bytes(level) < self.capacity / 4
    }

    /// Makes pages of all that is pending at `level`. `last` when nothing follows any more.
    fn build_pending(&mut self, level: u8, last: bool) -> Result<()> {
        // At the end of the tree, where appends go, a full page stays full.
        let append = last && (level > 0 || matches!(self.leaves.parts.last(), Some(Part::Put { .. })));
        while self.is_pending(level) {
            let pending = self.pending_bytes(level);
            let pages = pending.div_ceil(self.capacity);
            let fill = if pages == 1 || append {
                Fill::Full
            } else {
                Fill::About(pending / pages)
            };
            match level {
                0 => self.build_leaf(fill)?,
                _ => self.build_branch(level, fill)?,
            }
        }
        Ok(())
    }

    fn build_leaf(&mut self, fill: Fill) -> Result<()> {
        let (end, taken) = self.leaves.cut(fill, self.capacity);
        let leaves = &mut self.leaves;
        let parts = &leaves.parts[leaves.start..end];
        let ptr = self.pages.create(0, |page| leaf::fill(page, parts))?;

        let separator = leaves.separator;
        leaves.start = end;
        leaves.bytes -= taken;
        match (leaves.parts[end - 1], leaves.parts.get(end)) {
            (last, Some(next)) => leaves.separator = Separator::between(last.last_key(), next.first_key()),
            (_, None) => {
                leaves.parts.clear();
                leaves.start = 0;
            }
        }
        if leaves.start > leaves.parts.len() / 2 {
            leaves.parts.drain(..leaves.start);
            leaves.start = 0;
        }
        self.push_child(1, separator, ptr)
    }

    fn push_child(&mut self, level: u8, separator: Separator<'p>, ptr: PagePtr) -> Result<()> {
        self.push_part(level, branch::Part::One(Child { separator, ptr }))
    }

    fn push_part(&mut self, level: u8, part: branch::Part<'p>) -> Result<()> {
        let index = usize::from(level) - 1;
        while self.branches.len() <= index {
            self.branches.push(Branches::default());
        }
        let pending = &mut self.branches[index];
        match (pending.parts.last(), part) {
            // Whoever forged pages could part them by separators in any order, which the shared prefix relies on.
            (Some(before), _) if before.last().cmp(part.first()) != Ordering::Less => {
                return Err(self.pages.corrupt(PagePtr::NULL, "separators are out of order"));
            }
            (None, branch::Part::Run { branch, from, to }) => {
                pending.parts.push(branch::Part::One(branch.one(from)));
                if from + 1 < to {
                    pending.parts.push(branch.part(from + 1, to));
                }
            }
            _ => pending.parts.push(part),
        }
        pending.count += part.count();
        pending.separators += part.separators();
        if pending.count < pending.look_again_at {
            return Ok(());
        }
        while self.branches[index].bytes() >= 2 * self.capacity {
            self.build_branch(level, Fill::Full)?;
        }
        let pending = &mut self.branches[index];
        pending.look_again_at = pending.count + pending.count / 4 + 1;
        Ok(())
    }

    fn build_branch(&mut self, level: u8, fill: Fill) -> Result<()> {
        let pending = &mut self.branches[usize::from(level) - 1];
        let end = pending.cut(fill, self.capacity);
        let parts = &pending.parts[..end];
        let ptr = self
            .pages
            .create(level, |page| branch::fill(page, level, parts))?;
        let separator = parts[0].first();
        pending.count -= parts.iter().map(branch::Part::count).sum::<usize>();
        pending.separators -= parts.iter().map(branch::Part::separators).sum::<usize>();
        pending.parts.drain(..end);
        pending.look_again_at = 0;
        self.push_child(level + 1, separator, ptr)
    }

    /// Nothing follows: builds what is pending, and returns the root.
    pub(super) fn finish(mut self) -> Result<Root> {
        self.build_pending(0, true)?;
        let mut level = 1;
        loop {
            let pending = self.branches.get(usize::from(level) - 1..).unwrap_or_default();
            match pending.iter().map(|here| here.count).sum() {
                0 => return Ok(Root::EMPTY),
                1 => {
                    if let Some([branch::Part::One(child)]) = pending.first().map(|here| &here.parts[..]) {
                        let root = Root {
                            ptr: child.ptr,
                            level: level - 1,
                        };
                        return self.collapse(root);
                    }
                }
                _ => {}
            }
            if usize::from(level) >= MAX_HEIGHT {
                return Err(self.pages.corrupt(PagePtr::NULL, "the tree is too high"));
            }
            self.build_pending(level, true)?;
            level += 1;
        }
    }

    /// Takes branches away from the top that have one child only.
    fn collapse(self, mut root: Root) -> Result<Root> {
        while root.level > 0 {
            let branch = Branch::new(self.pages.page(root.ptr, root.level)?);
            if branch.count() > 1 {
                break;
            }
            self.pages.release(root.ptr);
            root = Root {
                ptr: branch.child(0),
                level: root.level - 1,
            };
        }
        Ok(root)
    }
}

/// The separator before child `index` of a branch that `own` stands before.
pub(super) fn separator_before<'p>(branch: Branch<'p>, own: Separator<'p>, index: usize) -> Separator<'p> {
    if index == 0 { own } else { branch.separator(index) }
}

impl<'t> Leaves<'t> {
    /// Chooses what goes into the next leaf, splitting a part if need be. Returns the index after its last part, and its bytes.
    fn cut(&mut self, fill: Fill, capacity: usize) -> (usize, usize) {
        let fits = |before: usize, last: usize| match fill {
            Fill::Full => before + last <= capacity,
            Fill::About(target) => before + last / 2 <= target && before + last <= capacity,
        };
        let mut taken = 0;
        let mut at = self.start;
        while let Some(part) = self.parts.get(at) {
            let bytes = part.bytes();
            match *part {
                Part::Put { .. } if fits(taken, bytes) => {}
                Part::Put { .. } => break,
                Part::Run { leaf, from, to } => {
                    let end = super::search::partition(from, to, |i| {
                        fits(taken + leaf.bytes(from, i), leaf.bytes(i, i + 1))
                    });
                    if end < to {
                        if end > from {
                            taken += leaf.bytes(from, end);
                            self.parts[at] = Part::Run { leaf, from: end, to };
                            self.parts.insert(at, Part::Run { leaf, from, to: end });
                            at += 1;
                        }
                        break;
                    }
                }
            }
            taken += bytes;
            at += 1;
        }
        assert!(at > self.start, "any two entries fit into a leaf");
        (at, taken)
    }
}

impl<'t> Branches<'t> {
    /// Chooses what goes into the next branch, splitting a part if need be. Returns the index after its last part.
    fn cut(&mut self, fill: Fill, capacity: usize) -> usize {
        // An even split goes by what all together share: less than the children of one page do, but the same measure for each.
        let (limit, shared_by_all) = match fill {
            Fill::Full => (capacity, usize::MAX),
            Fill::About(target) => (target.min(capacity), branch::shared_prefix(&self.parts)),
        };
        let Some(base) = self.parts.get(1).map(branch::Part::first) else {
            return self.parts.len();
        };
        let fits = |count: usize, separators: usize, last: Separator<'t>| {
            let shared = base.common(last).min(shared_by_all);
            // Two children always fit, and a branch should have them.
            count <= 2 || branch::bytes(count, separators, shared) <= limit
        };
        let (mut count, mut separators) = (1, 0);
        for at in 1..self.parts.len() {
            let part = self.parts[at];
            if fits(count + part.count(), separators + part.separators(), part.last()) {
                count += part.count();
                separators += part.separators();
                continue;
            }
            let branch::Part::Run { branch, from, to } = part else {
                return at;
            };
            let cut = super::search::partition(from, to, |i| {
                let taken = branch.part(from, i + 1);
                fits(
                    count + taken.count(),
                    separators + taken.separators(),
                    taken.last(),
                )
            });
            let rest = branch::Part::One(branch.one(cut));
            let tail = (cut + 1 < to).then(|| branch.part(cut + 1, to));
            let head = (from < cut).then(|| branch.part(from, cut));
            let end = at + usize::from(head.is_some());
            self.parts
                .splice(at..=at, head.into_iter().chain([rest]).chain(tail));
            return end;
        }
        self.parts.len()
    }
}
