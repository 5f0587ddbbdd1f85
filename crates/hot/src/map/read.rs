//! Look-ups.

use std::fmt;

use crate::actor::Actor;
use crate::cache::now_ms;
use crate::error::{Error, Result, corrupt};
use crate::layout::at;
use crate::map::entry::Entry;
use crate::map::glance::{Glance, Spot};
use crate::map::hash::hash;
use crate::map::slot;
use crate::map::table::{CHAIN_MAX, LINK, SLOTS};
use crate::protocol::RETRIES;
use crate::protocol::line::{Guard, LineState};
use crate::protocol::lookup::{self, Found, Which};
use crate::raw::mapping::copy_bytes;
use crate::region::Shared;
use crate::session::{Pin, Session, field};
use crate::sync::{AtomicU64, Ordering};
use crate::view::Moment;

/// Keys that `get_many` has under way at once.
const BATCH: usize = 32;

impl Shared {
    #[inline]
    pub(crate) fn hash(&self, key: &[u8]) -> u64 {
        hash(self.hash_key, key)
    }

    /// The entry of a key, unless its time is over. The caller is pinned.
    #[inline(always)]
    pub(crate) fn find(&self, hash: u64, key: &[u8]) -> Result<Option<Entry<'_>>> {
        self.find_spotted(hash, self.spot(hash), key)
    }

    /// The same with what the key's line showed, since the same pin.
    #[inline(always)]
    fn find_spotted(&self, hash: u64, spot: Spot, key: &[u8]) -> Result<Option<Entry<'_>>> {
        match self.glance(spot, key) {
            Glance::Hit(entry) => Ok(Some(entry)),
            Glance::Miss => Ok(None),
            Glance::Unsure => self.find_unsure(hash, key),
        }
    }

    #[cold]
    #[inline(never)]
    fn find_unsure(&self, hash: u64, key: &[u8]) -> Result<Option<Entry<'_>>> {
        Ok(self.find_any(hash, key)?.and_then(|entry| self.visible(entry)))
    }

    /// An entry that was found, unless it is a removal or its time is over.
    pub(crate) fn visible<'a>(&self, entry: Entry<'a>) -> Option<Entry<'a>> {
        // Whoever takes a view after this must find what we found.
        self.date(&entry);
        (!entry.is_tombstone() && !entry.is_expired(now_ms)).then_some(entry)
    }

    /// The newest entry of a key, expired or not, removed or not.
    pub(crate) fn find_any(&self, hash: u64, key: &[u8]) -> Result<Option<Entry<'_>>> {
        let table = |which| match which {
            Which::Current => self.current_table(),
            Which::Next => self.table(at::TABLE_NEXT),
        };
        match lookup::in_tables(table, |table| self.search(table.head(hash), hash, key))? {
            Found::Is(entry) => Ok(entry),
            Found::NoTable => Ok(None),
            Found::Never => Err(Error::Again("a table that grows faster than it is read")),
        }
    }

    /// Looks for a key in the chain of lines from `head`. `None` if the chain is in another table by now.
    fn search(&self, head: u64, hash: u64, key: &[u8]) -> Result<Option<Option<Entry<'_>>>> {
        let line = self.map.line(head)?;
        // Looked at first as well: what the slots lead to is looked at here.
        if Guard::load(&line[0]).is_elsewhere() {
            return Ok(None);
        }
        lookup::in_line(&line[0], || self.search_chain(line, hash, key)).transpose()
    }

    fn search_chain<'a>(
        &'a self,
        line: &'a [AtomicU64; 8],
        hash: u64,
        key: &[u8],
    ) -> Result<Option<Entry<'a>>> {
        let tag = slot::tag(hash);
        let mut words = line;
        for _ in 0..=CHAIN_MAX {
            for word in &words[1..=SLOTS] {
                // Acquire: the entry was written before it was linked.
                let slot = word.load(Ordering::Acquire);
                if slot::fits(slot, tag)
                    && let Some(place) = slot::place(slot)
                {
                    let entry = Entry::load(self, place)?;
                    if entry.has_key(hash, key) {
                        return Ok(Some(entry));
                    }
                }
            }
            match slot::place(words[LINK].load(Ordering::Acquire)) {
                None => return Ok(None),
                Some(next) => words = self.map.line(next)?,
            }
        }
        corrupt("a chain of lines that ends", hash)
    }
}

impl Actor<'_> {
    /// Whether the entry at `place` is the one that a slot names.
    pub(crate) fn is_linked(&self, place: u64, hash: u64) -> Result<bool> {
        for _ in 0..RETRIES {
            let Some(current) = self.shared.table(at::TABLE)? else {
                return Ok(false);
            };
            let mut table = current;
            if Guard::load(&self.shared.map.line(current.head(hash))?[0]).state() == LineState::Moved {
                match self.shared.table(at::TABLE_NEXT)? {
                    Some(next) => table = next,
                    None => continue,
                }
            }
            let head = self.shared.map.line(table.head(hash))?;
            let seen = Guard::load(&head[0]);
            match seen.state() {
                LineState::Pending => self.assist(&head[0], seen)?,
                LineState::Raw | LineState::Moved => continue,
                LineState::Idle | LineState::Frozen => {}
            }
            let mut words = head;
            for _ in 0..CHAIN_MAX {
                for word in &words[1..=SLOTS] {
                    let slot = word.load(Ordering::Acquire);
                    let Some(newest) = slot::place(slot) else { continue };
                    let is_before = || {
                        let entry = Entry::load(self.shared, newest)?;
                        self.is_in_history(entry, place)
                    };
                    if newest == place
                        || (self.shared.has_views && slot::fits(slot, slot::tag(hash)) && is_before()?)
                    {
                        return Ok(true);
                    }
                }
                match slot::place(words[LINK].load(Ordering::Acquire)) {
                    Some(next) => words = self.shared.map.line(next)?,
                    None => break,
                }
            }
            if Guard::load(&head[0]).state() != LineState::Moved {
                return Ok(false);
            }
        }
        Err(Error::Again("a table that grows faster than it is read"))
    }
}

/// Reading.
impl Session {
    /// The value of a key.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let mut value = Vec::new();
        Ok(self.get_into(key, &mut value)?.map(|_| value))
    }

    /// Appends the value of a key to `value`, and returns the version that it has. Without a new allocation if `value` has room.
    #[inline(always)]
    pub fn get_into(&self, key: &[u8], value: &mut Vec<u8>) -> Result<Option<u64>> {
        let _pin = self.pin();
        let found = self.shared.find(self.shared.hash(key), key)?;
        self.looked_up(found.as_ref());
        let Some(entry) = found else { return Ok(None) };
        entry.append_value(value);
        Ok(Some(entry.version()))
    }

    /// The value of a key where it lies, without a copy, kept from being freed while the reference lives.
    ///
    /// The price: while it lives, nothing that anybody removes or replaces is freed. Keep it for moments.
    ///
    /// ```
    /// # use weald_hot::{Region, RegionOptions};
    /// # let region = Region::anonymous(&RegionOptions { capacity: 16 << 20, ..Default::default() })?;
    /// # let session = region.join("example")?;
    /// session.put(b"k", b"a long value")?;
    /// let value = session.get_ref(b"k")?.unwrap();
    /// session.put(b"k", b"another one")?;
    /// let mut part = [0; 6];
    /// assert_eq!(value.read_at(2, &mut part), 6);
    /// assert_eq!(&part, b"long v");
    /// # Ok::<(), weald_hot::Error>(())
    /// ```
    pub fn get_ref(&self, key: &[u8]) -> Result<Option<ValueRef<'_>>> {
        let found = self.get_ref_at(key, None)?;
        self.looked_up(found.as_ref().map(|found| &found.entry));
        Ok(found)
    }

    /// The same now or at a moment.
    pub(crate) fn get_ref_at(&self, key: &[u8], moment: Option<Moment>) -> Result<Option<ValueRef<'_>>> {
        let pin = self.pin();
        let found = self.shared.find_at(self.shared.hash(key), key, moment)?;
        Ok(found.map(|entry| ValueRef {
            entry,
            shared: &self.shared,
            _pin: pin,
        }))
    }

    /// Whether a key has a value.
    pub fn contains(&self, key: &[u8]) -> Result<bool> {
        let _pin = self.pin();
        Ok(self.shared.find(self.shared.hash(key), key)?.is_some())
    }

    /// Looks many keys up at once and calls `found` with the index of each key and its value. Memory is fetched for many keys at the
    /// same time, so that in a large map this takes a fraction of as many calls of [`get`](Session::get).
    ///
    /// ```
    /// # use weald_hot::{Region, RegionOptions};
    /// # let region = Region::anonymous(&RegionOptions { capacity: 16 << 20, ..Default::default() })?;
    /// # let session = region.join("example")?;
    /// session.put(b"b", b"2")?;
    /// let mut values = Vec::new();
    /// session.get_many(&[b"a", b"b"], |_, value| values.push(value.map(<[u8]>::to_vec)))?;
    /// assert_eq!(values, [None, Some(b"2".to_vec())]);
    /// # Ok::<(), weald_hot::Error>(())
    /// ```
    pub fn get_many<K: AsRef<[u8]>>(
        &self,
        keys: &[K],
        found: impl FnMut(usize, Option<&[u8]>),
    ) -> Result<()> {
        self.get_many_at(keys, None, found)
    }

    /// The same now or at a moment.
    pub(crate) fn get_many_at<K: AsRef<[u8]>>(
        &self,
        keys: &[K],
        moment: Option<Moment>,
        mut found: impl FnMut(usize, Option<&[u8]>),
    ) -> Result<()> {
        let _pin = self.pin();
        let mut value = Vec::new();
        for (batch, keys) in keys.chunks(BATCH).enumerate() {
            let ahead = self.shared.look_ahead(keys);
            for ((at, key), &(hash, spot)) in keys.iter().enumerate().zip(&ahead) {
                let entry = match moment {
                    None => self.shared.find_spotted(hash, spot, key.as_ref())?,
                    Some(_) => self.shared.find_at(hash, key.as_ref(), moment)?,
                };
                if moment.is_none() {
                    self.looked_up(entry.as_ref());
                }
                let value = entry.map(|entry| {
                    value.clear();
                    entry.append_value(&mut value);
                    value.as_slice()
                });
                found(batch * BATCH + at, value);
            }
        }
        Ok(())
    }

    /// How many keys there are: exact when nobody is writing, except that each process that was killed may have left it off by one.
    pub fn len(&self) -> Result<u64> {
        Ok(self.shared.entries()?.max(0) as u64)
    }

    /// Whether there are no keys; as exact as [`len`](Session::len).
    pub fn is_empty(&self) -> Result<bool> {
        Ok(self.len()? == 0)
    }
}

impl Shared {
    pub(crate) fn entries(&self) -> Result<i64> {
        let mut sum = 0i64;
        for index in 0..self.sessions_used() {
            let word = self.map.word(self.layout.session(index) + field::ENTRIES)?;
            sum = sum.wrapping_add(word.load(Ordering::Relaxed) as i64);
        }
        Ok(sum)
    }

    /// Hashes a batch of keys and looks at their lines. Memory is asked for all lines before the first is looked at, and for all entries then, so that
    /// it has them under way at once.
    #[inline]
    fn look_ahead<K: AsRef<[u8]>>(&self, keys: &[K]) -> [(u64, Spot); BATCH] {
        let mut ahead = [(0, Spot::Unsure); BATCH];
        for (key, (hash, _)) in keys.iter().zip(&mut ahead) {
            *hash = self.hash(key.as_ref());
            self.fetch_line(*hash);
        }
        for (_, (hash, spot)) in keys.iter().zip(&mut ahead) {
            *spot = self.spot(*hash);
            self.fetch_entry(*spot);
        }
        ahead
    }
}

/// A value where it lies in the region.
pub struct ValueRef<'a> {
    entry: Entry<'a>,
    shared: &'a Shared,
    _pin: Pin<'a>,
}

impl ValueRef<'_> {
    /// The length in bytes.
    pub fn len(&self) -> u64 {
        self.entry.value_len()
    }

    /// Whether the value has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The version, for [`compare_and_swap`](Session::compare_and_swap).
    pub fn version(&self) -> u64 {
        self.entry.version()
    }

    /// A copy.
    pub fn to_vec(&self) -> Vec<u8> {
        self.entry.value()
    }

    /// Copies as much of the value, from `at` on, as `buffer` takes. Returns how much that was.
    pub fn read_at(&self, at: u64, buffer: &mut [u8]) -> usize {
        let len = self.len().saturating_sub(at).min(buffer.len() as u64) as usize;
        if len == 0 {
            return 0;
        }
        let words = &self.entry.value_words()[(at / 8) as usize..];
        copy_bytes(words, (at % 8) as usize, &mut buffer[..len]);
        len
    }

    /// The bytes themselves.
    ///
    /// # Safety
    ///
    /// No process may write to the region's memory other than through this crate while the slice is used. The crate itself never
    /// changes a value that can be seen; but a process that maps the region could, and Rust's references don't stand that. Where that can't
    /// be ruled out use [`read_at`](ValueRef::read_at).
    pub unsafe fn bytes(&self) -> &[u8] {
        let bytes = {
            // SAFETY: a linked entry is never written again, and the pin keeps its memory from being used for something else; that nobody
            // breaks this is the caller's promise.
            unsafe {
                self.shared
                    .map
                    .bytes(self.entry.value_offset(), self.entry.value_len())
            }
        };
        bytes.expect("the bounds were checked when the entry was found")
    }
}

impl fmt::Debug for ValueRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ValueRef")
            .field("len", &self.len())
            .field("version", &self.version())
            .finish()
    }
}
