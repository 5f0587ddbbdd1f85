//! What can be asked of a tree.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

/// Queries lie within each other at most so deep, and paths are at most so long.
pub const NESTING_MAX: usize = 32;

/// A question about one subtree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// Where the subtree is: from the outermost tree or, for a query below another, from the entry found.
    pub path: Vec<Vec<u8>>,
    /// What is asked of it.
    pub ask: Ask,
}

/// What is asked of a subtree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Its entries in some ranges.
    Entries(Select),
    /// How many entries there are in a range, and their sum. The rank of a key is the count of what comes
    /// before it.
    Totals(Range),
}

/// Which entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Select {
    /// Where they may lie: ascending and apart. A key is a range too, so absent ones are proven absent.
    pub ranges: Vec<Range>,
    /// In which order, and from which end the others count.
    pub direction: Direction,
    /// How many to leave out; only with a single range.
    pub offset: u64,
    /// How many to take at most; not 0.
    pub limit: Option<u64>,
    /// What to ask, in turn, of each entry that is a subtree.
    pub below: Option<Box<Query>>,
}

/// The order of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Smallest key first.
    Ascending,
    /// Greatest key first.
    Descending,
}

/// Keys from `start` to before `end`, as bytes compare. Any other kind of bound can be written so, because
/// the next key after `k` is `k` followed by a zero byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first key that may lie in it; empty for no bound.
    pub start: Vec<u8>,
    /// The first key after it; `None` for no bound.
    pub end: Option<Vec<u8>>,
}

/// A question that has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum QueryError {
    /// A range ends where it starts or before, or ranges are not ascending and apart, or there is none.
    Ranges,
    /// The limit is 0.
    Limit,
    /// An offset counts within one range, and there are several.
    Offset,
    /// The path, or the nesting of queries, is longer than [`NESTING_MAX`].
    Nesting,
}

impl Query {
    /// All keys of the outermost tree. The other functions narrow this down.
    ///
    /// ```
    /// use weald_proof::{Direction, Query, Range};
    ///
    /// let last_ten = Query::entries([Range::prefix(b"2026-11-")]).at([b"log"]).direction(Direction::Descending).limit(10);
    /// assert!(last_ten.check().is_ok());
    /// ```
    #[must_use]
    pub fn all() -> Query {
        Query::entries([Range::all()])
    }

    /// The entry of one key, or that there is none.
    #[must_use]
    pub fn key(key: &[u8]) -> Query {
        Query::entries([Range::key(key)])
    }

    /// The entries of some keys, in any order.
    #[must_use]
    pub fn keys<K: AsRef<[u8]>>(keys: impl IntoIterator<Item = K>) -> Query {
        let mut ranges: Vec<Range> = keys.into_iter().map(|key| Range::key(key.as_ref())).collect();
        ranges.sort_by(|a, b| a.start.cmp(&b.start));
        ranges.dedup();
        Query::entries(ranges)
    }

    /// The entries of ranges that are ascending and apart.
    #[must_use]
    pub fn entries(ranges: impl IntoIterator<Item = Range>) -> Query {
        let select = Select {
            ranges: ranges.into_iter().collect(),
            direction: Direction::Ascending,
            offset: 0,
            limit: None,
            below: None,
        };
        Query {
            path: vec![],
            ask: Ask::Entries(select),
        }
    }

    /// Count and sum of a range.
    #[must_use]
    pub fn totals(range: Range) -> Query {
        Query {
            path: vec![],
            ask: Ask::Totals(range),
        }
    }

    /// How many keys come before `key`.
    #[must_use]
    pub fn rank(key: &[u8]) -> Query {
        Query::totals(Range {
            start: vec![],
            end: Some(key.to_vec()),
        })
    }

    /// The same of the subtree at `path`.
    #[must_use]
    pub fn at<S: AsRef<[u8]>>(mut self, path: impl IntoIterator<Item = S>) -> Query {
        self.path = path
            .into_iter()
            .map(|segment| segment.as_ref().to_vec())
            .collect();
        self
    }

    /// The same in that order. Totals have none.
    #[must_use]
    pub fn direction(self, direction: Direction) -> Query {
        self.select(|select| select.direction = direction)
    }

    /// The same without the first `offset` entries. Totals have none.
    #[must_use]
    pub fn offset(self, offset: u64) -> Query {
        self.select(|select| select.offset = offset)
    }

    /// At most `limit` of them. Totals have none.
    #[must_use]
    pub fn limit(self, limit: u64) -> Query {
        self.select(|select| select.limit = Some(limit))
    }

    /// And then `query` of each entry that is a subtree. Totals have none.
    #[must_use]
    pub fn below(self, query: Query) -> Query {
        self.select(|select| select.below = Some(Box::new(query)))
    }

    fn select(mut self, change: impl FnOnce(&mut Select)) -> Query {
        if let Ask::Entries(select) = &mut self.ask {
            change(select);
        }
        self
    }

    /// Whether it can be answered at all.
    pub fn check(&self) -> Result<(), QueryError> {
        let mut query = self;
        for _ in 0..NESTING_MAX {
            if query.path.len() > NESTING_MAX {
                return Err(QueryError::Nesting);
            }
            let Ask::Entries(select) = &query.ask else {
                return query.ask.ranges()[0]
                    .is_empty()
                    .then_some(QueryError::Ranges)
                    .map_or(Ok(()), Err);
            };
            let apart = |pair: &[Range]| pair[0].end.as_ref().is_some_and(|end| *end <= pair[1].start);
            if select.ranges.is_empty()
                || select.ranges.iter().any(Range::is_empty)
                || !select.ranges.windows(2).all(apart)
            {
                return Err(QueryError::Ranges);
            }
            if select.limit == Some(0) {
                return Err(QueryError::Limit);
            }
            if select.offset > 0 && select.ranges.len() > 1 {
                return Err(QueryError::Offset);
            }
            match &select.below {
                Some(below) => query = below,
                None => return Ok(()),
            }
        }
        Err(QueryError::Nesting)
    }
}

impl Ask {
    /// Its ranges, ascending and apart.
    pub(crate) fn ranges(&self) -> &[Range] {
        match self {
            Ask::Entries(select) => &select.ranges,
            Ask::Totals(range) => core::slice::from_ref(range),
        }
    }

    /// The first range that has something after every key up to `key`, `None` standing for the lower end of
    /// all keys.
    fn range_after(&self, key: Option<&[u8]>) -> Option<&Range> {
        let ranges = self.ranges();
        let passed = |range: &Range| match (key, range.end.as_deref()) {
            (Some(key), Some(end)) => !follows(end, key),
            _ => false,
        };
        ranges.get(ranges.partition_point(passed))
    }

    /// Whether it asks about `key`.
    pub(crate) fn contains(&self, key: &[u8]) -> bool {
        let ranges = self.ranges();
        let passed = |range: &Range| range.end.as_deref().is_some_and(|end| end <= key);
        ranges
            .get(ranges.partition_point(passed))
            .is_some_and(|range| *range.start <= *key)
    }

    /// Whether it asks about anything between two keys, both excluded; `None` stands for the end of all keys.
    pub(crate) fn meets(&self, after: Option<&[u8]>, before: Option<&[u8]>) -> bool {
        let Some(range) = self.range_after(after) else {
            return false;
        };
        match (after, before) {
            (_, None) => true,
            (None, Some(before)) => *range.start < *before,
            (Some(after), Some(before)) => *range.start < *before && follows(before, after),
        }
    }
}

/// Whether a key can lie between `key` and `end`.
fn follows(end: &[u8], key: &[u8]) -> bool {
    end > key && !(end.len() == key.len() + 1 && end.starts_with(key) && end.ends_with(&[0]))
}

impl Range {
    /// Every key.
    #[must_use]
    pub fn all() -> Range {
        Range {
            start: vec![],
            end: None,
        }
    }

    /// One key.
    #[must_use]
    pub fn key(key: &[u8]) -> Range {
        Range {
            start: key.to_vec(),
            end: Some(after(key)),
        }
    }

    /// Every key that begins with `prefix`.
    #[must_use]
    pub fn prefix(prefix: &[u8]) -> Range {
        let mut end = prefix.to_vec();
        while end.pop_if(|byte| *byte == u8::MAX).is_some() {}
        if let Some(last) = end.last_mut() {
            *last += 1;
        }
        Range {
            start: prefix.to_vec(),
            end: Some(end).filter(|end| !end.is_empty()),
        }
    }

    /// As Rust writes ranges.
    ///
    /// ```
    /// use weald_proof::Range;
    ///
    /// let range = Range::of(&b"a"[..]..=b"c");
    /// assert_eq!((range.start, range.end), (b"a".to_vec(), Some(b"c\0".to_vec())));
    /// ```
    #[must_use]
    pub fn of<'a>(bounds: impl core::ops::RangeBounds<&'a [u8]>) -> Range {
        use core::ops::Bound;
        let start = match bounds.start_bound() {
            Bound::Included(key) => key.to_vec(),
            Bound::Excluded(key) => after(key),
            Bound::Unbounded => vec![],
        };
        let end = match bounds.end_bound() {
            Bound::Included(key) => Some(after(key)),
            Bound::Excluded(key) => Some(key.to_vec()),
            Bound::Unbounded => None,
        };
        Range { start, end }
    }

    fn is_empty(&self) -> bool {
        self.end.as_ref().is_some_and(|end| *end <= self.start)
    }
}

/// The next key after `key`.
fn after(key: &[u8]) -> Vec<u8> {
    let mut after = Vec::with_capacity(key.len() + 1);
    after.extend_from_slice(key);
    after.push(0);
    after
}
