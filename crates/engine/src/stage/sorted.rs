//! A whole stage in order, as a commit applies it.

use super::index::{Index, TreeIndex};
use super::{Stage, Staged};
use crate::ids::TreeId;

/// Everything that is staged, by tree.
pub(crate) struct Sorted<'a> {
    stage: &'a Stage,
    /// `None` when nothing is staged.
    index: Option<&'a Index>,
}

/// Everything that is staged for one tree. A commit applies the drop or the ranges first, then the points.
#[derive(Clone, Copy)]
pub(crate) struct SortedTree<'a> {
    stage: &'a Stage,
    index: &'a TreeIndex,
    pub(crate) tree: TreeId,
    /// The whole tree goes; there are no ranges and no points.
    pub(crate) dropped: bool,
}

impl<'a> Sorted<'a> {
    pub(super) fn new(stage: &'a Stage, index: Option<&'a Index>) -> Sorted<'a> {
        Sorted { stage, index }
    }

    /// The trees that something is staged for, in ascending order.
    pub(crate) fn trees(&self) -> impl Iterator<Item = SortedTree<'a>> + use<'a> {
        let stage = self.stage;
        let trees = self.index.into_iter().flat_map(Index::trees);
        trees.map(move |(tree, index)| SortedTree {
            stage,
            index,
            tree,
            dropped: index.dropped,
        })
    }
}

impl<'a> SortedTree<'a> {
    /// The deleted ranges of the base, ascending, disjoint and apart; the last may have no end.
    pub(crate) fn ranges(&self) -> impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)> + use<'a> {
        let log = &self.stage.log;
        self.index
            .ranges
            .iter()
            .map(|range| (log.key(range.op), log.range_end(range.end)))
    }

    /// What is staged for each key, ascending.
    pub(crate) fn points(&self) -> impl Iterator<Item = (&'a [u8], Staged<'a>)> + use<'a> {
        let (stage, index) = (self.stage, self.index);
        index
            .points
            .iter()
            .map(move |slot| (stage.log.key(slot.op), stage.staged(index, slot.op)))
    }

    /// Whether the points came in another order than they have.
    pub(crate) fn is_mixed(&self) -> bool {
        self.index.mixed
    }

    /// How many points there are.
    pub(crate) fn points_len(&self) -> usize {
        self.index.points.len()
    }
}
