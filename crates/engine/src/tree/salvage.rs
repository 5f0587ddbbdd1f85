//! Reads what can be read of a damaged tree.

use super::branch::Branch;
use super::builder::separator_before;
use super::leaf::Leaf;
use super::page;
use super::separator::Separator;
use super::{MAX_HEIGHT, PageRead, Root};
use crate::error::{Error, Result};
use crate::ids::{PageId, PagePtr, TxId};

/// What a salvage meets.
pub(crate) enum Salvaged {
    /// A leaf, in key order, which is not read yet: it would stay in memory.
    Leaf,
    /// A branch that can't be read.
    Lost(Error),
}

/// The keys that a page leads to.
#[derive(Clone, Debug)]
pub(crate) struct KeySpan {
    pub(crate) lower: Vec<u8>,
    /// Not included; `None` for no end.
    pub(crate) upper: Option<Vec<u8>>,
}

/// Shows `visit` all leaves that can be reached, and where there should be more. `enter` is asked about each page before it is read:
/// `false` for one that was met before.
pub(crate) fn salvage<'p, R: PageRead<'p>>(
    pages: &R,
    root: Root,
    enter: &mut impl FnMut(PagePtr) -> bool,
    visit: &mut impl FnMut(PagePtr, KeySpan, Salvaged) -> Result<()>,
) -> Result<()> {
    if root.is_empty() {
        return Ok(());
    }
    if usize::from(root.level) > MAX_HEIGHT {
        let error = pages.corrupt(root.ptr, "the tree is too high");
        let all = KeySpan {
            lower: Vec::new(),
            upper: None,
        };
        return visit(root.ptr, all, Salvaged::Lost(error));
    }
    node(
        pages,
        root.level,
        root.ptr,
        (Separator::LOWEST, None),
        enter,
        visit,
    )
}

fn node<'p, R: PageRead<'p>>(
    pages: &R,
    level: u8,
    ptr: PagePtr,
    bounds: (Separator<'p>, Option<Separator<'p>>),
    enter: &mut impl FnMut(PagePtr) -> bool,
    visit: &mut impl FnMut(PagePtr, KeySpan, Salvaged) -> Result<()>,
) -> Result<()> {
    let span = || KeySpan {
        lower: bounds.0.to_vec(),
        upper: bounds.1.map(Separator::to_vec),
    };
    if !enter(ptr) {
        let error = pages.corrupt(ptr, "something else refers to it too");
        return visit(ptr, span(), Salvaged::Lost(error));
    }
    if level == 0 {
        return visit(ptr, span(), Salvaged::Leaf);
    }
    let page = match pages.page(ptr, level) {
        Ok(page) => page,
        Err(error) => return visit(ptr, span(), Salvaged::Lost(error)),
    };
    let branch = Branch::new(page);
    for i in 0..branch.count() {
        let upper = match i + 1 < branch.count() {
            true => Some(branch.separator(i + 1)),
            false => bounds.1,
        };
        let bounds = (separator_before(branch, bounds.0, i), upper);
        node(pages, level - 1, branch.child(i), bounds, enter, visit)?;
    }
    Ok(())
}

/// The birth of the leaf that these bytes are, if they are one and belong at this place of the file.
pub(crate) fn as_leaf(bytes: &[u8], id: PageId) -> Option<(TxId, Leaf<'_>)> {
    if bytes.len() < page::GENERIC {
        return None;
    }
    let birth = page::birth(bytes);
    page::verify(bytes, PagePtr::new(id, birth), 0).ok()?;
    let leaf = Leaf::new(bytes);
    leaf.check_order().ok()?;
    Some((birth, leaf))
}
