//! Walks over the pages of a tree.

use super::branch::Branch;
use super::page;
use super::{PageRead, Root};
use crate::error::Result;
use crate::ids::{PageId, PagePtr, TxId};

/// Shows `visit` every page of the tree that was born in commit `since` or later, parents before children, in key order, with its
/// level. Leaves are not read. A page that `visit` says `false` of is not entered.
///
/// Pointers hold the low bits of a birth only: a page that is 2^24 commits older than its parent may be shown though it need not.
pub(crate) fn pages<'p, R: PageRead<'p>>(
    pages: &R,
    root: Root,
    since: TxId,
    visit: &mut impl FnMut(PagePtr, u8) -> Result<bool>,
) -> Result<()> {
    if root.is_empty() {
        return Ok(());
    }
    if since.0 > 0 && page::birth(pages.page(root.ptr, root.level)?) < since {
        return Ok(());
    }
    walk(pages, root.level, root.ptr, since, visit)
}

fn walk<'p, R: PageRead<'p>>(
    pages: &R,
    level: u8,
    ptr: PagePtr,
    since: TxId,
    visit: &mut impl FnMut(PagePtr, u8) -> Result<bool>,
) -> Result<()> {
    if !visit(ptr, level)? || level == 0 {
        return Ok(());
    }
    let page = pages.page(ptr, level)?;
    let birth = page::birth(page);
    let branch = Branch::new(page);
    for child in (0..branch.count()).map(|i| branch.child(i)) {
        if birth_before(child, birth) >= since {
            walk(pages, level - 1, child, since, visit)?;
        }
    }
    Ok(())
}

/// The latest birth, not after the parent's, that the low bits in `ptr` can stand for.
pub(crate) fn birth_before(ptr: PagePtr, parent: TxId) -> TxId {
    let shift = PageId::BITS;
    let low = |birth: u64| birth << shift >> shift;
    let age = low(parent.0.wrapping_sub(ptr.to_bits() >> shift));
    TxId(parent.0.saturating_sub(age))
}
