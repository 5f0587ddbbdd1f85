//! The pairs of a range, from both ends.

use std::ops::{Bound, RangeBounds};

use crate::error::Result;
use crate::op::Entry;
use crate::transaction::Pair;
use crate::transaction::bucket::Bucket;
use crate::transaction::cursor::Cursor;
use crate::transaction::reads::Observed;

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

    pub(crate) fn prefix(prefix: &[u8]) -> KeyRange {
        KeyRange {
            start: Bound::Included(prefix.to_vec()),
            end: after_prefix(prefix).map_or(Bound::Unbounded, Bound::Excluded),
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

    fn is_before_end(&self, key: &[u8]) -> bool {
        match &self.end {
            Bound::Unbounded => true,
            Bound::Included(end) => key <= end,
            Bound::Excluded(end) => key < end,
        }
    }

    fn is_after_start(&self, key: &[u8]) -> bool {
        match &self.start {
            Bound::Unbounded => true,
            Bound::Included(start) => key >= start,
            Bound::Excluded(start) => key > start,
        }
    }
}

/// The first key that is greater than all that begin with `prefix`; `None` where there is none.
pub(crate) fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != 0xff)?;
    let mut next = prefix[..=last].to_vec();
    next[last] += 1;
    Some(next)
}

/// The pairs of a bucket in a range, in order, from either end. After an error it ends.
pub struct Iter<'t> {
    bucket: Bucket<'t>,
    range: KeyRange,
    front: End<'t>,
    back: End<'t>,
    done: bool,
    observed: Option<Observed<'t>>,
}

/// One of the two ends: not begun, or a cursor and the key that was given last.
enum End<'t> {
    Fresh,
    At(Box<Cursor<'t>>, &'t [u8]),
}

impl<'t> Iter<'t> {
    pub(crate) fn new(bucket: Bucket<'t>, range: KeyRange) -> Iter<'t> {
        let observed = bucket.view.reads.map(|reads| reads.observe(bucket.tree, &range));
        Iter {
            bucket,
            range,
            front: End::Fresh,
            back: End::Fresh,
            done: false,
            observed,
        }
    }

    fn forward(&mut self) -> Result<Option<(&'t [u8], Entry<'t>)>> {
        let found = match &mut self.front {
            End::At(cursor, _) => cursor.next_item()?,
            End::Fresh => {
                let mut cursor = Box::new(Cursor::new(self.bucket));
                let mut found = match &self.range.start {
                    Bound::Unbounded => cursor.seek_item(b"")?,
                    Bound::Included(start) | Bound::Excluded(start) => cursor.seek_item(start)?,
                };
                if found.is_some_and(|(key, _)| !self.range.is_after_start(key)) {
                    found = cursor.next_item()?;
                }
                self.front = End::At(cursor, b"");
                found
            }
        };
        let met = |key: &[u8]| matches!(&self.back, End::At(_, back) if key >= *back);
        let found = found.filter(|(key, _)| self.range.is_before_end(key) && !met(key));
        match (&mut self.front, found) {
            (End::At(_, last), Some((key, _))) => *last = key,
            _ => self.done = true,
        }
        Ok(found)
    }

    fn backward(&mut self) -> Result<Option<(&'t [u8], Entry<'t>)>> {
        let found = match &mut self.back {
            End::At(cursor, _) => cursor.prev_item()?,
            End::Fresh => {
                let mut cursor = Box::new(Cursor::new(self.bucket));
                let mut found = match &self.range.end {
                    Bound::Unbounded => cursor.last_item()?,
                    Bound::Included(end) | Bound::Excluded(end) => cursor.seek_item_for_prev(end)?,
                };
                if found.is_some_and(|(key, _)| !self.range.is_before_end(key)) {
                    found = cursor.prev_item()?;
                }
                self.back = End::At(cursor, b"");
                found
            }
        };
        let met = |key: &[u8]| matches!(&self.front, End::At(_, front) if key <= *front);
        let begun = matches!(self.front, End::At(..));
        let found = found.filter(|(key, _)| self.range.is_after_start(key) && !(begun && met(key)));
        match (&mut self.back, found) {
            (End::At(_, last), Some((key, _))) => *last = key,
            _ => self.done = true,
        }
        Ok(found)
    }

    fn pair(&mut self, found: Result<Option<(&'t [u8], Entry<'t>)>>) -> Option<Result<Pair<'t>>> {
        let pair = match found {
            Ok(None) => return None,
            Ok(Some((key, entry))) => self.bucket.view.value(&entry).map(|value| (key, value)),
            Err(e) => Err(e),
        };
        self.done |= pair.is_err();
        Some(pair)
    }
}

impl<'t> Iterator for Iter<'t> {
    type Item = Result<Pair<'t>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let found = self.forward();
        if let Some(observed) = &mut self.observed {
            observed.forward(found.as_ref().ok().copied().flatten().map(|(key, _)| key));
        }
        self.pair(found)
    }
}

impl DoubleEndedIterator for Iter<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let found = self.backward();
        if let Some(observed) = &mut self.observed {
            observed.backward(found.as_ref().ok().copied().flatten().map(|(key, _)| key));
        }
        self.pair(found)
    }
}
