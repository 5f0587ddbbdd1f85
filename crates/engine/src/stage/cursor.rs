//! Walks over the staged points of one tree, either way.

use super::index::TreeIndex;
use super::slots::Position;
use super::{Stage, Staged};

/// A place among the staged points of one tree.
///
/// A cursor begins before the first point. One that ran off an end stays there, and turning round gives the point at that end.
#[derive(Clone)]
pub(crate) struct StageCursor<'a> {
    stage: &'a Stage,
    tree: Option<&'a TreeIndex>,
    at: At,
}

#[derive(Clone, Copy)]
enum At {
    Start,
    Point(Position),
    End,
}

impl<'a> StageCursor<'a> {
    pub(super) fn new(stage: &'a Stage, tree: Option<&'a TreeIndex>) -> StageCursor<'a> {
        StageCursor {
            stage,
            tree,
            at: At::Start,
        }
    }

    /// The point that the cursor is on.
    pub(crate) fn current(&self) -> Option<(&'a [u8], Staged<'a>)> {
        let op = self.op()?;
        Some((self.stage.log.key(op), self.stage.staged(self.tree?, op)))
    }

    #[cfg(test)]
    /// The key of the point that the cursor is on.
    pub(crate) fn key(&self) -> Option<&'a [u8]> {
        Some(self.stage.log.key(self.op()?))
    }

    fn op(&self) -> Option<u32> {
        match self.at {
            At::Point(at) => self.tree?.points.get(at).map(|slot| slot.op),
            At::Start | At::End => None,
        }
    }

    /// Goes to the first point whose key is not less than `key`.
    pub(crate) fn seek(&mut self, key: &[u8]) -> Option<(&'a [u8], Staged<'a>)> {
        let at = self.tree?.points.lower_bound(&self.stage.log, key);
        self.forward_to(at)
    }

    /// Goes to the last point whose key is not greater than `key`.
    pub(crate) fn seek_for_prev(&mut self, key: &[u8]) -> Option<(&'a [u8], Staged<'a>)> {
        let after = self.tree?.points.upper_bound(&self.stage.log, key);
        self.back_from(after)
    }

    pub(crate) fn first(&mut self) -> Option<(&'a [u8], Staged<'a>)> {
        let at = self.tree?.points.start();
        self.forward_to(at)
    }

    pub(crate) fn last(&mut self) -> Option<(&'a [u8], Staged<'a>)> {
        let end = self.tree?.points.end();
        self.back_from(end)
    }

    pub(crate) fn next(&mut self) -> Option<(&'a [u8], Staged<'a>)> {
        match self.at {
            At::Start => self.first(),
            At::Point(at) => {
                let at = self.tree?.points.after(at);
                self.forward_to(at)
            }
            At::End => None,
        }
    }

    pub(crate) fn prev(&mut self) -> Option<(&'a [u8], Staged<'a>)> {
        match self.at {
            At::Start => None,
            At::Point(at) => self.back_from(at),
            At::End => self.last(),
        }
    }

    fn forward_to(&mut self, at: Position) -> Option<(&'a [u8], Staged<'a>)> {
        self.at = At::Point(at);
        let current = self.current();
        if current.is_none() {
            self.at = At::End;
        }
        current
    }

    fn back_from(&mut self, after: Position) -> Option<(&'a [u8], Staged<'a>)> {
        self.at = match self.tree?.points.before(after) {
            Some(at) => At::Point(at),
            None => At::Start,
        };
        self.current()
    }
}
