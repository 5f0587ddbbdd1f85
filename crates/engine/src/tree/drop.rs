//! Takes whole ranges, or the whole of a tree, away: subtrees go as they are, without a look at their keys.

use super::apply::Applied;
use super::branch::Branch;
use super::builder::{Builder, separator_before};
use super::leaf::Leaf;
use super::separator::Separator;
use super::{PageWrite, Root};
use crate::error::Result;
use crate::ids::PagePtr;

/// Deletes the keys from `start` (included) up to `end` (excluded; `None` for no end), and releases their large values.
///
/// Leaves inside the range are read for the counts in their headers only.
pub(crate) fn delete_range<'p, W: PageWrite<'p>>(
    pages: &mut W,
    root: Root,
    start: &[u8],
    end: Option<&[u8]>,
) -> Result<Applied> {
    if root.is_empty() || end.is_some_and(|end| end <= start) {
        return Ok(Applied {
            root,
            len_delta: 0,
            large_delta: 0,
        });
    }
    let mut cut = Cut {
        builder: Builder::new(pages),
        start,
        end,
        dropped: Dropped::default(),
    };
    cut.node(root.level, Separator::LOWEST, root.ptr)?;
    let Cut { builder, dropped, .. } = cut;
    Ok(Applied {
        root: builder.finish()?,
        len_delta: -dropped.entries,
        large_delta: -dropped.large,
    })
}

/// Releases all pages of a tree, and, when `has_large` says that there may be any, its large values; the leaves are not read otherwise.
pub(crate) fn drop_tree<'p, W: PageWrite<'p>>(pages: &mut W, root: Root, has_large: bool) -> Result<()> {
    if root.is_empty() {
        return Ok(());
    }
    let mut dropped = has_large.then(Dropped::default);
    drop_node(pages, root.level, root.ptr, dropped.as_mut())
}

/// What went with the pages.
#[derive(Default)]
struct Dropped {
    entries: i64,
    large: i64,
}

/// Releases a subtree. Leaves are read only if what they held is to be counted.
fn drop_node<'p, W: PageWrite<'p>>(
    pages: &mut W,
    level: u8,
    ptr: PagePtr,
    mut dropped: Option<&mut Dropped>,
) -> Result<()> {
    if level > 0 {
        let branch = Branch::new(pages.page(ptr, level)?);
        for i in 0..branch.count() {
            drop_node(pages, level - 1, branch.child(i), dropped.as_deref_mut())?;
        }
    } else if let Some(dropped) = dropped {
        let leaf = Leaf::new(pages.page(ptr, 0)?);
        drop_entries(pages, leaf, 0, leaf.count(), dropped);
    }
    pages.release(ptr);
    Ok(())
}

fn drop_entries<'p, W: PageWrite<'p>>(
    pages: &mut W,
    leaf: Leaf<'p>,
    from: usize,
    to: usize,
    dropped: &mut Dropped,
) {
    dropped.entries += (to - from) as i64;
    for large in leaf.large_values(from, to) {
        pages.release_large(large);
        dropped.large += 1;
    }
}

struct Cut<'w, 'p, 'k, W> {
    builder: Builder<'w, 'p, W>,
    start: &'k [u8],
    end: Option<&'k [u8]>,
    dropped: Dropped,
}

impl<'p, W: PageWrite<'p>> Cut<'_, 'p, '_, W> {
    /// A subtree that the start or the end of the range may lie in.
    fn node(&mut self, level: u8, separator: Separator<'p>, ptr: PagePtr) -> Result<()> {
        let page = self.builder.pages.page(ptr, level)?;
        if level == 0 {
            return self.leaf(Leaf::new(page), separator, ptr);
        }
        let branch = Branch::new(page);
        let first = branch.search(self.start);
        let last = self
            .end
            .map_or(branch.count() - 1, |end| branch.search(end))
            .max(first);
        self.builder.pages.release(ptr);
        self.builder.pass_children(level, branch, separator, 0, first)?;
        for index in first..=last {
            let child = branch.child(index);
            if index == first || index == last {
                self.node(level - 1, separator_before(branch, separator, index), child)?;
            } else {
                drop_node(self.builder.pages, level - 1, child, Some(&mut self.dropped))?;
            }
        }
        self.builder
            .pass_children(level, branch, separator, last + 1, branch.count())
    }

    fn leaf(&mut self, leaf: Leaf<'p>, separator: Separator<'p>, ptr: PagePtr) -> Result<()> {
        let place = |key| leaf.search(key).unwrap_or_else(|place| place);
        let from = place(self.start);
        let to = self.end.map_or(leaf.count(), place).max(from);
        if from == to {
            return self.builder.pass(0, separator, ptr);
        }
        drop_entries(self.builder.pages, leaf, from, to, &mut self.dropped);
        self.builder.pages.release(ptr);
        self.builder.begin_leaf(separator);
        self.builder.push_run(leaf, 0, from)?;
        self.builder.push_run(leaf, to, leaf.count())
    }
}
