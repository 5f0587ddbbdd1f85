//! Ranges of keys for one who can't write.

use std::ops::{Bound, RangeBounds};

use crate::error::{Error, Result, corrupt};
use crate::order::Until;
use crate::reader::Reader;

/// The keys of a range and their values, in order; see [`Reader::range`].
#[derive(Debug)]
pub struct ReaderRange<'a> {
    reader: &'a Reader,
    front: Bound<Vec<u8>>,
    back: Bound<Vec<u8>>,
    done: bool,
}

impl Reader {
    /// Iterates over the keys of a range, in the order of their bytes, from either end, while others write, as
    /// [`Session::range`](crate::Session::range) does. Costs a search for every key. Only for regions created
    /// [`ordered`](crate::RegionOptions::ordered).
    ///
    /// ```
    /// # use weald_hot::{Reader, Region, RegionOptions};
    /// # let path = std::path::PathBuf::from(format!("/dev/shm/weald-hot-doc-range-{}", std::process::id()));
    /// let options = RegionOptions { capacity: 16 << 20, ordered: true, ..Default::default() };
    /// let region = Region::create(&path, &options)?;
    /// let session = region.join("writer")?;
    /// for name in ["cherry", "apple", "banana"] {
    ///     session.put(name.as_bytes(), b"fruit")?;
    /// }
    /// let reader = Reader::open(&path)?;
    /// let last = reader.range(&b"b"[..]..)?.next_back().transpose()?;
    /// assert_eq!(last, Some((b"cherry".to_vec(), b"fruit".to_vec())));
    /// # std::fs::remove_file(&path).unwrap();
    /// # Ok::<(), weald_hot::Error>(())
    /// ```
    pub fn range<'k>(&self, range: impl RangeBounds<&'k [u8]>) -> Result<ReaderRange<'_>> {
        if !self.shared().ordered {
            return Err(Error::Invalid("a region that was not created ordered"));
        }
        let own = |bound: Bound<&&[u8]>| bound.map(|key| key.to_vec());
        Ok(ReaderRange {
            reader: self,
            front: own(range.start_bound()),
            back: own(range.end_bound()),
            done: false,
        })
    }
}

impl ReaderRange<'_> {
    fn contains(&self, key: &[u8]) -> bool {
        let bounds = (
            self.front.as_ref().map(Vec::as_slice),
            self.back.as_ref().map(Vec::as_slice),
        );
        RangeBounds::<[u8]>::contains(&bounds, key)
    }

    /// The next key from the front that has a node.
    fn next_key(&mut self) -> Result<Option<Vec<u8>>> {
        let bound = match &self.front {
            Bound::Unbounded => (&[][..], Until::AtLeast),
            Bound::Included(key) => (key.as_slice(), Until::AtLeast),
            Bound::Excluded(key) => (key.as_slice(), Until::Beyond),
        };
        let found = self.reader.shared().watch(Some(bound))?.after;
        self.check(&found, bound.0, |key, bound| key >= bound)?;
        let Some(key) = found.filter(|key| self.contains(key)) else {
            return Ok(None);
        };
        self.front = Bound::Excluded(key.clone());
        Ok(Some(key))
    }

    /// The next key from the back that has a node.
    fn last_key(&mut self) -> Result<Option<Vec<u8>>> {
        let bound = match &self.back {
            Bound::Unbounded => None,
            Bound::Included(key) => Some((key.as_slice(), Until::Beyond)),
            Bound::Excluded(key) => Some((key.as_slice(), Until::AtLeast)),
        };
        let found = self.reader.shared().watch(bound)?.before;
        if let Some((bound, _)) = bound {
            self.check(&found, bound, |key, bound| key <= bound)?;
        }
        let Some(key) = found.filter(|key| self.contains(key)) else {
            return Ok(None);
        };
        self.back = Bound::Excluded(key.clone());
        Ok(Some(key))
    }

    /// Whether a key is where it was looked for. If not, a broken peer has changed it since.
    fn check(
        &self,
        found: &Option<Vec<u8>>,
        bound: &[u8],
        is_beyond: impl Fn(&[u8], &[u8]) -> bool,
    ) -> Result<()> {
        match found {
            Some(key) if !is_beyond(key, bound) => corrupt("keys that ascend", 0),
            _ => Ok(()),
        }
    }

    /// The next key that has a value. One that has only a node is passed by.
    fn find(
        &mut self,
        next: impl Fn(&mut Self) -> Result<Option<Vec<u8>>>,
    ) -> Option<Result<(Vec<u8>, Vec<u8>)>> {
        while !self.done {
            let item = next(self).and_then(|key| match key {
                Some(key) => Ok(Some((self.reader.get(&key)?, key))),
                None => Ok(None),
            });
            match item {
                Ok(Some((Some(value), key))) => return Some(Ok((key, value))),
                Ok(Some((None, _))) => {}
                Ok(None) => self.done = true,
                Err(error) => {
                    self.done = true;
                    return Some(Err(error));
                }
            }
        }
        None
    }
}

impl Iterator for ReaderRange<'_> {
    type Item = Result<(Vec<u8>, Vec<u8>)>;

    fn next(&mut self) -> Option<Self::Item> {
        self.find(Self::next_key)
    }
}

impl DoubleEndedIterator for ReaderRange<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.find(Self::last_key)
    }
}
