//! The pairs of a range, from both ends.

use std::ops::{Bound, RangeBounds};

use crate::error::Result;
use crate::op::Entry;
use crate::transaction::Pair;
use crate::transaction::bounds::Bounds;
use crate::transaction::bucket::{Bucket, View};
use crate::transaction::merged::Merged;
use crate::transaction::reads::Observed;
use crate::transaction::walk::Walk;

type Item<'t> = (&'t [u8], Entry<'t>);

/// A range of keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyRange {
    pub(crate) start: Bound<Vec<u8>>,
    pub(crate) end: Bound<Vec<u8>>,
}

impl KeyRange {
    pub(crate) fn all() -> KeyRange {
        KeyRange {
            start: Bound::Unbounded,
            end: Bound::Unbounded,
        }
    }

    pub(crate) fn of<K: AsRef<[u8]>>(range: &impl RangeBounds<K>) -> KeyRange {
        let own = |bound: Bound<&K>| bound.map(|key| key.as_ref().to_vec());
        KeyRange {
            start: own(range.start_bound()),
            end: own(range.end_bound()),
        }
    }

    pub(crate) fn from_half_open(start: &[u8], end: Option<&[u8]>) -> KeyRange {
        KeyRange {
            start: Bound::Included(start.to_vec()),
            end: end.map_or(Bound::Unbounded, |end| Bound::Excluded(end.to_vec())),
        }
    }

    /// The same range as a start that is included and an end that is not.
    pub(crate) fn half_open(&self) -> (Vec<u8>, Option<Vec<u8>>) {
        let next = |key: &Vec<u8>| {
            let mut next = key.clone();
            next.push(0);
            next
        };
        let start = match &self.start {
            Bound::Unbounded => Vec::new(),
            Bound::Included(key) => key.clone(),
            Bound::Excluded(key) => next(key),
        };
        let end = match &self.end {
            Bound::Unbounded => None,
            Bound::Included(key) => Some(next(key)),
            Bound::Excluded(key) => Some(key.clone()),
        };
        (start, end)
    }

    /// Bytes of its keys.
    pub(crate) fn bytes(&self) -> usize {
        let len = |bound: &Bound<Vec<u8>>| match bound {
            Bound::Unbounded => 0,
            Bound::Included(key) | Bound::Excluded(key) => key.len(),
        };
        len(&self.start) + len(&self.end)
    }
}

/// The pairs of a bucket in a range, in order, from either end. After an error it ends.
pub struct Iter<'t> {
    view: View<'t>,
    source: Source<'t>,
    bounds: Bounds,
    done: bool,
    observed: Option<Observed<'t>>,
}

/// Where the entries come from.
#[expect(
    clippy::large_enum_variant,
    reason = "the large one is the usual one, and a box would cost more than it saves"
)]
enum Source<'t> {
    /// The tree alone: nothing is staged over it.
    Tree(Walk<'t>),
    Merged(Box<Merged<'t>>),
}

impl<'t> Iter<'t> {
    #[inline]
    pub(super) fn new(bucket: &Bucket<'t>, bounds: Bounds) -> Iter<'t> {
        let view = bucket.view;
        Iter {
            view,
            source: if bucket.is_untouched() {
                Source::Tree(Walk::new(&view, bucket.record.root))
            } else {
                Source::Merged(Box::new(Merged::new(*bucket)))
            },
            observed: view
                .reads
                .map(|reads| reads.observe(bucket.tree, &bounds.to_range())),
            bounds,
            done: false,
        }
    }

    /// What a pair takes that is not given in passing.
    #[inline(never)]
    fn forward(&mut self) -> Option<Result<Pair<'t>>> {
        let found = self.find_forward();
        self.pair(found)
    }

    fn find_forward(&mut self) -> Result<Option<Item<'t>>> {
        let found = match &mut self.source {
            Source::Tree(walk) => walk.forward(&self.view, &self.bounds),
            Source::Merged(merged) => merged.forward(&self.bounds),
        };
        if let Some(observed) = &mut self.observed {
            observed.forward(found.as_ref().ok().copied().flatten().map(|(key, _)| key));
        }
        found
    }

    #[inline(never)]
    fn backward(&mut self) -> Option<Result<Pair<'t>>> {
        let found = self.find_backward();
        self.pair(found)
    }

    fn find_backward(&mut self) -> Result<Option<Item<'t>>> {
        let found = match &mut self.source {
            Source::Tree(walk) => walk.backward(&self.view, &self.bounds),
            Source::Merged(merged) => merged.backward(&self.bounds),
        };
        if let Some(observed) = &mut self.observed {
            observed.backward(found.as_ref().ok().copied().flatten().map(|(key, _)| key));
        }
        found
    }

    fn pair(&mut self, found: Result<Option<Item<'t>>>) -> Option<Result<Pair<'t>>> {
        let pair = found.and_then(|found| match found {
            Some((key, entry)) => self.view.value(&entry).map(|value| Some((key, value))),
            None => Ok(None),
        });
        self.done = !matches!(pair, Ok(Some(_)));
        pair.transpose()
    }
}

impl<'t> Iterator for Iter<'t> {
    type Item = Result<Pair<'t>>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        if let Source::Tree(walk) = &mut self.source
            && let Some(pair) = walk.forward_plain(&self.view)
        {
            if let Some(observed) = &mut self.observed {
                observed.forward(Some(pair.0));
            }
            return Some(Ok(pair));
        }
        self.forward()
    }
}

impl DoubleEndedIterator for Iter<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        if let Source::Tree(walk) = &mut self.source
            && let Some(pair) = walk.backward_plain(&self.view)
        {
            if let Some(observed) = &mut self.observed {
                observed.backward(Some(pair.0));
            }
            return Some(Ok(pair));
        }
        self.backward()
    }
}

/// The keys of a bucket in a range, in order, from either end. After an error it ends.
///
/// Unlike [`Iter`] it never reads a value that has pages of its own.
pub struct Keys<'t>(Iter<'t>);

impl<'t> Keys<'t> {
    pub(super) fn new(bucket: &Bucket<'t>, bounds: Bounds) -> Keys<'t> {
        Keys(Iter::new(bucket, bounds))
    }

    fn key(&mut self, found: Result<Option<Item<'t>>>) -> Option<Result<&'t [u8]>> {
        self.0.done = !matches!(found, Ok(Some(_)));
        found.map(|found| found.map(|(key, _)| key)).transpose()
    }
}

impl<'t> Iterator for Keys<'t> {
    type Item = Result<&'t [u8]>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.done {
            return None;
        }
        let found = self.0.find_forward();
        self.key(found)
    }
}

impl DoubleEndedIterator for Keys<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.0.done {
            return None;
        }
        let found = self.0.find_backward();
        self.key(found)
    }
}
