//! Iteration over key ranges.

use std::collections::VecDeque;
use std::ops::{Bound, RangeBounds};

use crate::error::{Error, Result};
use crate::layout::at;
use crate::order::index::Until;
use crate::order::node::{HEAD, MARK, Node};
use crate::session::Session;
use crate::sync::Ordering;
use crate::view::Moment;

/// Entries fetched at once when going forward.
const BATCH: usize = 64;

/// The keys of a range and their values, in order; see [`Session::range`].
#[derive(Debug)]
pub struct Range<'a> {
    session: &'a Session,
    moment: Option<Moment>,
    front: Bound<Vec<u8>>,
    back: Bound<Vec<u8>>,
    ahead: VecDeque<(Vec<u8>, Vec<u8>)>,
    done: bool,
}

impl Session {
    /// Iterates over the keys of a range, in the order of their bytes, from either end, while others write.
    ///
    /// Every key that is there from beginning to end comes exactly once, in order; one that is put or removed meanwhile may come or
    /// not. Only for regions created [`ordered`](crate::RegionOptions::ordered). Going backwards costs a search for every key.
    ///
    /// ```
    /// # use weald_hot::{Region, RegionOptions};
    /// # let options = RegionOptions { capacity: 16 << 20, ordered: true, ..Default::default() };
    /// # let session = Region::anonymous(&options)?.join("example")?;
    /// for name in ["cherry", "apple", "banana"] {
    ///     session.put(name.as_bytes(), b"fruit")?;
    /// }
    /// let keys: Result<Vec<_>, _> = session.range(&b"b"[..]..)?.map(|item| item.map(|(key, _)| key)).collect();
    /// assert_eq!(keys?, [b"banana".to_vec(), b"cherry".to_vec()]);
    /// # Ok::<(), weald_hot::Error>(())
    /// ```
    pub fn range<'k>(&self, range: impl RangeBounds<&'k [u8]>) -> Result<Range<'_>> {
        Range::new(self, range, None)
    }
}

impl<'a> Range<'a> {
    pub(crate) fn new<'k>(
        session: &'a Session,
        range: impl RangeBounds<&'k [u8]>,
        moment: Option<Moment>,
    ) -> Result<Range<'a>> {
        if !session.shared.ordered {
            return Err(Error::Invalid("a region that was not created ordered"));
        }
        let own = |bound: Bound<&&[u8]>| match bound {
            Bound::Included(key) => Bound::Included(key.to_vec()),
            Bound::Excluded(key) => Bound::Excluded(key.to_vec()),
            Bound::Unbounded => Bound::Unbounded,
        };
        Ok(Range {
            session,
            moment,
            front: own(range.start_bound()),
            back: own(range.end_bound()),
            ahead: VecDeque::new(),
            done: false,
        })
    }

    fn is_before_back(&self, key: &[u8]) -> bool {
        match &self.back {
            Bound::Included(back) => key <= back.as_slice(),
            Bound::Excluded(back) => key < back.as_slice(),
            Bound::Unbounded => true,
        }
    }

    fn is_after_front(&self, key: &[u8]) -> bool {
        match &self.front {
            Bound::Included(front) => key >= front.as_slice(),
            Bound::Excluded(front) => key > front.as_slice(),
            Bound::Unbounded => true,
        }
    }

    /// Fetches the next entries; keys that have a node and no value are passed by, and their nodes killed.
    fn fetch(&mut self) -> Result<()> {
        let shared = &self.session.shared;
        let mut ghosts = Vec::new();
        let pin = self.session.pin();
        let mut next = match &self.front {
            Bound::Unbounded => shared.fixed(at::INDEX_HEAD).load(Ordering::Acquire),
            Bound::Included(key) => shared.seek(key, Until::AtLeast)?.nodes[0],
            Bound::Excluded(key) => shared.seek(key, Until::Beyond)?.nodes[0],
        };
        for _ in 0..BATCH {
            if next & !MARK == 0 {
                self.done = true;
                break;
            }
            let node = Node::load(shared, next & !MARK)?;
            let key = node.key();
            if !self.is_before_back(&key) {
                self.done = true;
                break;
            }
            next = node.link(0)?.load(Ordering::Acquire);
            // A dead node leads on to where it led when it was killed; from there the list goes on in order.
            if !self.is_after_front(&key) {
                continue;
            }
            match shared.find_at(shared.hash(&key), &key, self.moment)? {
                Some(entry) => self.ahead.push_back((key.clone(), entry.value())),
                None if self.moment.is_none() => ghosts.push(key.clone()),
                None => {}
            }
            self.front = Bound::Excluded(key);
        }
        drop(pin);
        ghosts
            .iter()
            .try_for_each(|key| self.session.act(|actor| actor.kill_node(key)))
    }

    fn next_entry(&mut self) -> Result<Option<(Vec<u8>, Vec<u8>)>> {
        while self.ahead.is_empty() && !self.done {
            self.fetch()?;
        }
        Ok(self.ahead.pop_front())
    }

    fn last_entry(&mut self) -> Result<Option<(Vec<u8>, Vec<u8>)>> {
        // What was fetched ahead from the front lies before everything that was not.
        while !self.done {
            let shared = &self.session.shared;
            let pin = self.session.pin();
            let node = match &self.back {
                Bound::Unbounded => shared.node_before(None)?,
                Bound::Excluded(key) => shared.node_before(Some(key))?,
                Bound::Included(key) => match shared.seek(key, Until::Beyond)?.towers[0] {
                    HEAD => None,
                    tower => Some(Node::load(shared, tower - 32)?),
                },
            };
            let Some(key) = node.map(|node| node.key()).filter(|key| self.is_after_front(key)) else {
                self.done = true;
                break;
            };
            let value = shared
                .find_at(shared.hash(&key), &key, self.moment)?
                .map(|entry| entry.value());
            drop(pin);
            self.back = Bound::Excluded(key.clone());
            match value {
                Some(value) => return Ok(Some((key, value))),
                None if self.moment.is_none() => self.session.act(|actor| actor.kill_node(&key))?,
                None => {}
            }
        }
        Ok(self.ahead.pop_back())
    }
}

impl Iterator for Range<'_> {
    type Item = Result<(Vec<u8>, Vec<u8>)>;

    fn next(&mut self) -> Option<Self::Item> {
        let result = self.next_entry();
        self.done |= result.is_err();
        result.transpose()
    }
}

impl DoubleEndedIterator for Range<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        let result = self.last_entry();
        self.done |= result.is_err();
        result.transpose()
    }
}
