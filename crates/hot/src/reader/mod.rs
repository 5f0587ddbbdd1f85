//! Reading a region without being able to write to it.
//!
//! A reader has no session, for that would be a write, and so it has no pin: what it reads may be freed and used for something else at any moment. Everything is
//! therefore looked up twice, before and after it is copied. If both times the same table has the same entry with the same header, then the
//! entry was linked all the time, and linked entries don't change.

mod range;

use std::collections::VecDeque;
use std::fmt;
use std::path::Path;

use crate::cache::now_ms;
use crate::error::{Error, Result, corrupt};
use crate::layout::at;
use crate::map::entry::Entry;
use crate::protocol::RETRIES;
use crate::protocol::header::{Header, State};
use crate::protocol::lookup;
use crate::region::{Region, RegionInfo, Shared};
use crate::session::Member;
use crate::sync::Ordering;

pub use range::ReaderRange;

/// How often something that looks damaged is looked at again before it is called so: it may just have been used for something else.
const DOUBTS: u32 = 100;

/// A region that this process can read and can't write: its memory is mapped so, and a bug here harms nobody there.
///
/// Reading costs up to twice as much as in a [`Session`](crate::Session), and there are no views.
///
/// ```
/// # use weald_hot::{Reader, Region, RegionOptions};
/// # let path = std::path::PathBuf::from(format!("/dev/shm/weald-hot-doc-{}", std::process::id()));
/// let region = Region::create(&path, &RegionOptions { capacity: 16 << 20, ..Default::default() })?;
/// region.join("writer")?.put(b"colour", b"green")?;
/// let reader = Reader::open(&path)?;
/// assert_eq!(reader.get(b"colour")?.as_deref(), Some(&b"green"[..]));
/// assert_eq!(reader.scan().count(), 1);
/// # std::fs::remove_file(&path).unwrap();
/// # Ok::<(), weald_hot::Error>(())
/// ```
pub struct Reader {
    region: Region,
}

/// Entries that were found, and what must not have changed while they were read: the tables, and the places, headers and lengths of the entries. The lengths
/// were read before the header, and so perhaps when another entry stood there.
struct Glance<'a> {
    tables: [u64; 2],
    headers: Vec<[u64; 3]>,
    /// Whether all of them are live, and none in the hands of one who has just linked it, or is about to.
    is_declared: bool,
    found: Vec<Entry<'a>>,
}

impl PartialEq for Glance<'_> {
    fn eq(&self, other: &Self) -> bool {
        (self.tables, &self.headers) == (other.tables, &other.headers)
    }
}

/// The keys and values of a line, and the cursor of the line after it.
type Line = (VecDeque<(Vec<u8>, Vec<u8>)>, Option<u64>);

impl Reader {
    /// Opens the region in the file `path`, for which the right to read it is enough.
    pub fn open(path: &Path) -> Result<Reader> {
        Ok(Reader {
            region: Region::open_to_read(path)?,
        })
    }

    /// The value of a key.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let shared = self.shared();
        let hash = shared.hash(key);
        let find = || Ok(shared.find_any(hash, key)?.into_iter().collect());
        let read = |entries: &[Entry<'_>]| entries.first().and_then(visible).map(Entry::value);
        self.steadily(find, read)
    }

    /// Whether a key has a value.
    pub fn contains(&self, key: &[u8]) -> Result<bool> {
        Ok(self.get(key)?.is_some())
    }

    /// All keys and their values, in no order, as [`Session::scan`](crate::Session::scan) gives them.
    pub fn scan(&self) -> impl Iterator<Item = Result<(Vec<u8>, Vec<u8>)>> + '_ {
        let mut ahead = VecDeque::new();
        let mut cursor = Some(0);
        std::iter::from_fn(move || {
            while ahead.is_empty() {
                match self.line_at(cursor?) {
                    Ok((items, next)) => {
                        ahead = items;
                        cursor = next;
                    }
                    Err(error) => {
                        cursor = None;
                        return Some(Err(error));
                    }
                }
            }
            ahead.pop_front().map(Ok)
        })
    }

    fn line_at(&self, cursor: u64) -> Result<Line> {
        let shared = self.shared();
        let next = std::cell::Cell::new(None);
        let find = || {
            let (places, behind) = shared.places_at(cursor)?;
            next.set(behind);
            places
                .into_iter()
                .map(|place| Entry::load(shared, place))
                .collect()
        };
        let read = |entries: &[Entry<'_>]| {
            let visible = entries.iter().filter_map(visible);
            visible.map(|entry| (entry.key(), entry.value())).collect()
        };
        let items = self.steadily(find, read)?;
        Ok((items, next.get()))
    }

    /// What the region is and how much of it is in use.
    pub fn info(&self) -> Result<RegionInfo> {
        self.region.info()
    }

    /// How many keys there are; as exact as [`Session::len`](crate::Session::len).
    pub fn len(&self) -> Result<u64> {
        Ok(self.shared().entries()?.max(0) as u64)
    }

    /// Whether there are no keys; as exact as [`len`](Reader::len).
    pub fn is_empty(&self) -> Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Everyone who has joined.
    pub fn members(&self) -> Result<Vec<Member>> {
        self.region.members()
    }

    fn shared(&self) -> &Shared {
        &self.region.shared
    }

    /// Finds entries, reads from them, and finds them again, until nothing has changed in between.
    fn steadily<'a, T>(
        &'a self,
        find: impl Fn() -> Result<Vec<Entry<'a>>>,
        read: impl Fn(&[Entry<'a>]) -> T,
    ) -> Result<T> {
        let mut doubts = 0;
        for _ in 0..RETRIES {
            let attempt = lookup::twice(
                || self.glance(&find),
                |glance| glance.is_declared,
                |glance| read(&glance.found),
            );
            match attempt {
                Ok(Some(result)) => return Ok(result),
                Ok(None) => {}
                Err(Error::Corrupt(_)) if doubts < DOUBTS => doubts += 1,
                Err(error) => return Err(error),
            }
        }
        Err(Error::Again("keys that are written faster than they are read"))
    }

    fn glance<'a>(&self, find: impl Fn() -> Result<Vec<Entry<'a>>>) -> Result<Glance<'a>> {
        let tables = || [at::TABLE, at::TABLE_NEXT].map(|at| self.shared().fixed(at).load(Ordering::Acquire));
        let before = tables();
        let found = find()?;
        let mut headers = Vec::new();
        let mut is_declared = true;
        for entry in &found {
            let header = Header::load(entry.header());
            if !matches!(header.state(), State::Live | State::Owned) {
                return corrupt("an entry that is in use", entry.offset);
            }
            is_declared &= header.state() == State::Live;
            headers.push([entry.offset, header.0, entry.make()]);
        }
        if tables() != before {
            return corrupt("a table that stays", at::TABLE);
        }
        Ok(Glance {
            tables: before,
            headers,
            is_declared,
            found,
        })
    }
}

/// An entry that says that its key has a value. It may have no date yet, and a reader can't give it one.
fn visible<'e, 'a>(entry: &'e Entry<'a>) -> Option<&'e Entry<'a>> {
    (!entry.is_tombstone() && !entry.is_expired(now_ms)).then_some(entry)
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("region", &self.region).finish()
    }
}
