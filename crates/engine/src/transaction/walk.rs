//! A range of a bucket that its transaction has not written to, from both ends.
//!
//! ```text
//!  Walk ─┬─ Edge (front) ─┬─ Path: the branches above
//!        │                └─ Leaf, and which of its entries are left
//!        └─ Edge (back), made when it is first asked for
//! ```
//!
//! Where the range ends is found once for each leaf. What remains for each pair is to decode it, to look whether the mapping has
//! failed, and, only where both ends have begun, whether they have met.

use std::ops::Bound;

use crate::error::Result;
use crate::op::Entry;
use crate::store::Snapshot;
use crate::transaction::Pair;
use crate::transaction::bounds::Bounds;
use crate::transaction::bucket::View;
use crate::tree::{Leaf, Path, Root};

type Item<'t> = (&'t [u8], Entry<'t>);

/// The entries of a range as the tree has them.
pub(super) struct Walk<'t> {
    root: Root,
    front: Edge<'t>,
    back: Option<Box<Edge<'t>>>,
}

/// How far one end has come.
struct Edge<'t> {
    path: Path<'t, Snapshot<'t>>,
    leaf: Leaf<'t>,
    /// The entries of the leaf that are left: the front takes the first of them, the back the last.
    from: usize,
    to: usize,
    /// It has given an entry.
    has_begun: bool,
    /// The range ends with this leaf.
    is_last: bool,
    /// Pairs can be given as they are: none is large, none expires, and the other end has not begun.
    is_plain: bool,
}

impl<'t> Walk<'t> {
    #[inline]
    pub(super) fn new(view: &View<'t>, root: Root) -> Walk<'t> {
        Walk {
            root,
            front: Edge::new(view, root),
            back: None,
        }
    }

    /// The next pair from the front, if it takes no more than decoding it. `None` says nothing: see [`forward`](Self::forward).
    #[inline]
    pub(super) fn forward_plain(&mut self, view: &View<'t>) -> Option<Pair<'t>> {
        let edge = &mut self.front;
        if !edge.is_plain || edge.from >= edge.to {
            return None;
        }
        let pair = edge.leaf.pair(edge.from);
        if view.has_faulted() {
            return None;
        }
        edge.from += 1;
        Some(pair)
    }

    /// The next pair from the back, likewise.
    #[inline]
    pub(super) fn backward_plain(&mut self, view: &View<'t>) -> Option<Pair<'t>> {
        let edge = self.back.as_mut()?;
        if !edge.is_plain || edge.from >= edge.to {
            return None;
        }
        let pair = edge.leaf.pair(edge.to - 1);
        if view.has_faulted() {
            return None;
        }
        edge.to -= 1;
        Some(pair)
    }

    /// The next entry from the front. After `None` or an error neither end must be asked again.
    pub(super) fn forward(&mut self, view: &View<'t>, bounds: &Bounds) -> Result<Option<Item<'t>>> {
        let edge = &mut self.front;
        if !edge.has_begun {
            edge.begin_forward(bounds)?;
            if let Some(back) = &mut self.back {
                back.is_plain = false;
            }
        }
        loop {
            edge.is_plain &= self.back.is_none();
            while edge.from < edge.to {
                let item = edge.leaf.key_and_entry(edge.from);
                view.check_mapping()?;
                // The other end is on what it gave last.
                if let Some(back) = &self.back
                    && item.0 >= back.leaf.key(back.to)
                {
                    return Ok(None);
                }
                edge.from += 1;
                if view.is_visible(&item.1) {
                    return Ok(Some(item));
                }
            }
            if edge.is_last || !edge.enter_next(bounds)? {
                view.check_mapping()?;
                return Ok(None);
            }
        }
    }

    /// The next entry from the back, likewise.
    pub(super) fn backward(&mut self, view: &View<'t>, bounds: &Bounds) -> Result<Option<Item<'t>>> {
        let edge = match &mut self.back {
            Some(edge) => edge,
            None => {
                self.front.is_plain = false;
                let edge = self.back.insert(Box::new(Edge::new(view, self.root)));
                edge.begin_backward(bounds)?;
                edge
            }
        };
        let front = Some(&self.front).filter(|front| front.has_begun);
        loop {
            edge.is_plain &= front.is_none();
            while edge.from < edge.to {
                let item = edge.leaf.key_and_entry(edge.to - 1);
                view.check_mapping()?;
                if let Some(front) = front
                    && item.0 <= front.leaf.key(front.from - 1)
                {
                    return Ok(None);
                }
                edge.to -= 1;
                if view.is_visible(&item.1) {
                    return Ok(Some(item));
                }
            }
            if edge.is_last || !edge.enter_prev(bounds)? {
                view.check_mapping()?;
                return Ok(None);
            }
        }
    }
}

impl<'t> Edge<'t> {
    #[inline]
    fn new(view: &View<'t>, root: Root) -> Edge<'t> {
        Edge {
            path: Path::new(view.pages, root),
            leaf: Leaf::default(),
            from: 0,
            to: 0,
            has_begun: false,
            is_last: false,
            is_plain: false,
        }
    }

    /// Goes to where the range starts.
    fn begin_forward(&mut self, bounds: &Bounds) -> Result<()> {
        self.has_begun = true;
        let leaf = match &bounds.start {
            Bound::Unbounded => self.path.first_leaf()?,
            Bound::Included(key) | Bound::Excluded(key) => self.path.leaf_of(key)?,
        };
        if let Some(leaf) = leaf {
            self.enter_forward(leaf, bounds);
            self.from = start_in(leaf, bounds);
        }
        Ok(())
    }

    /// Goes to where the range ends.
    fn begin_backward(&mut self, bounds: &Bounds) -> Result<()> {
        self.has_begun = true;
        let leaf = match &bounds.end {
            Bound::Unbounded => self.path.last_leaf()?,
            Bound::Included(key) | Bound::Excluded(key) => self.path.leaf_of(key)?,
        };
        if let Some(leaf) = leaf {
            self.enter_backward(leaf, bounds);
            self.to = end_in(leaf, bounds);
        }
        Ok(())
    }

    /// Goes on to the next leaf, if there is one.
    fn enter_next(&mut self, bounds: &Bounds) -> Result<bool> {
        let leaf = self.path.next_leaf()?;
        leaf.inspect(|leaf| self.enter_forward(*leaf, bounds));
        Ok(leaf.is_some())
    }

    /// Goes back to the leaf before, if there is one.
    fn enter_prev(&mut self, bounds: &Bounds) -> Result<bool> {
        let leaf = self.path.prev_leaf()?;
        leaf.inspect(|leaf| self.enter_backward(*leaf, bounds));
        Ok(leaf.is_some())
    }

    fn enter_forward(&mut self, leaf: Leaf<'t>, bounds: &Bounds) {
        let last = leaf.count().saturating_sub(1);
        self.is_last = bounds.has_end() && !bounds.is_before_end(leaf.key(last));
        self.from = 0;
        self.to = if self.is_last {
            end_in(leaf, bounds)
        } else {
            leaf.count()
        };
        self.is_plain = leaf.is_plain();
        self.leaf = leaf;
    }

    fn enter_backward(&mut self, leaf: Leaf<'t>, bounds: &Bounds) {
        self.is_last = bounds.has_start() && !bounds.is_after_start(leaf.key(0));
        self.from = if self.is_last { start_in(leaf, bounds) } else { 0 };
        self.to = leaf.count();
        self.is_plain = leaf.is_plain();
        self.leaf = leaf;
    }
}

/// The index in a leaf that a range starts with.
fn start_in(leaf: Leaf<'_>, bounds: &Bounds) -> usize {
    match &bounds.start {
        Bound::Unbounded => 0,
        Bound::Included(key) => leaf.search(key).unwrap_or_else(|index| index),
        Bound::Excluded(key) => leaf.search(key).map_or_else(|index| index, |index| index + 1),
    }
}

/// The index in a leaf that a range ends before.
fn end_in(leaf: Leaf<'_>, bounds: &Bounds) -> usize {
    match &bounds.end {
        Bound::Unbounded => leaf.count(),
        Bound::Included(key) => leaf.search(key).map_or_else(|index| index, |index| index + 1),
        Bound::Excluded(key) => leaf.search(key).unwrap_or_else(|index| index),
    }
}
