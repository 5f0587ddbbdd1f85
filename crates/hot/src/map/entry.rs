//! Entries: a key and its value, written once and never changed while anybody can see them.
//!
//! ```text
//!   0  header   8  size and tag
//!  16  shape: value length (40 bits), key length (17 bits), uses in a cache (2 bits), flags
//!  24  version   32  hash
//!  40  key, then value, each filled up to 8 bytes, then what the flags say:
//!      the time of expiry; in a region with views, the stamp and the entry that this one came after
//! ```

use crate::actor::Actor;
use crate::class::HEADER_LEN;
use crate::error::{Error, Result, corrupt};
use crate::heap::TAG_ENTRY;
use crate::protocol::header::Header;
use crate::raw::mapping::{equal_bytes, load_bytes, store_bytes};
use crate::region::Shared;
use crate::sync::{AtomicU64, Ordering};

/// The longest key.
pub(crate) const KEY_LEN_MAX: usize = 1 << 16;
const PREFIX: u64 = 40;
const PREFIX_WORDS: usize = PREFIX as usize / 8;

/// The third word of an entry: how long its parts are, and which it has.
#[derive(Clone, Copy, Debug)]
struct Shape(u64);

impl Shape {
    const VALUE_LEN_BITS: u32 = 40;
    const KEY_LEN_BITS: u32 = 17;
    const USES_SHIFT: u32 = Shape::VALUE_LEN_BITS + Shape::KEY_LEN_BITS;
    const USES_MAX: u64 = 3;
    const FLAGS_SHIFT: u32 = Shape::USES_SHIFT + 2;
    /// It has a time of expiry.
    const EXPIRES: u64 = 1 << Shape::FLAGS_SHIFT;
    /// It has a stamp, and perhaps a predecessor.
    const DATED: u64 = 1 << (Shape::FLAGS_SHIFT + 1);
    /// It says that the key has no value.
    const TOMBSTONE: u64 = 1 << (Shape::FLAGS_SHIFT + 2);

    #[inline]
    fn value_len(self) -> u64 {
        self.0 & ((1 << Shape::VALUE_LEN_BITS) - 1)
    }

    #[inline]
    fn key_len(self) -> usize {
        (self.0 >> Shape::VALUE_LEN_BITS) as usize & ((1 << Shape::KEY_LEN_BITS) - 1)
    }

    fn uses(self) -> u64 {
        self.0 >> Shape::USES_SHIFT & Shape::USES_MAX
    }

    #[inline]
    fn has(self, flag: u64) -> bool {
        self.0 & flag != 0
    }

    /// Words of the key.
    #[inline]
    fn key_words(self) -> usize {
        self.key_len().div_ceil(8)
    }

    /// Words of the value.
    #[inline]
    fn value_words(self) -> u64 {
        // Its few bits leave room for the sum, which the general way of rounding up doesn't know.
        (self.value_len() + 7) >> 3
    }

    /// Words of key and value.
    #[inline]
    fn body_words(self) -> u64 {
        self.key_words() as u64 + self.value_words()
    }

    /// Words behind key and value.
    #[inline]
    fn tail_words(self) -> u64 {
        u64::from(self.has(Shape::EXPIRES)) + 2 * u64::from(self.has(Shape::DATED))
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) offset: u64,
    /// All of it.
    words: &'a [AtomicU64],
    /// As it was when it was checked: whatever becomes of the word, the parts lie where this says.
    shape: Shape,
    /// The first word of the value.
    value_at: usize,
}

impl<'a> Entry<'a> {
    /// The entry at `offset`, its lengths read once and checked.
    #[inline]
    pub(crate) fn load(shared: &'a Shared, offset: u64) -> Result<Entry<'a>> {
        match Entry::load_sound(shared, offset) {
            Some(entry) => Ok(entry),
            None => corrupt("an entry within a volume with memory", offset),
        }
    }

    #[inline]
    fn load_sound(shared: &'a Shared, offset: u64) -> Option<Entry<'a>> {
        let room = shared.backed_room(offset)?;
        let shape = Shape(shared.map.nth_word(offset / 8 + 2)?.load(Ordering::Relaxed));
        let value_at = PREFIX_WORDS + shape.key_words();
        let len = value_at as u64 + shape.value_words() + shape.tail_words();
        if !offset.is_multiple_of(8) || shape.key_len() > KEY_LEN_MAX || len > room / 8 {
            return None;
        }
        Some(Entry {
            offset,
            words: shared.map.nth_words(offset / 8, len)?,
            shape,
            value_at,
        })
    }

    /// The entry at `offset` if nothing is wrong with it, it has the key, and it is no more than a key and a value.
    #[inline(always)]
    pub(crate) fn load_plain(shared: &'a Shared, offset: u64, key: &[u8]) -> Option<Entry<'a>> {
        let room = shared.backed_room(offset)?;
        let shape = Shape(shared.map.nth_word(offset / 8 + 2)?.load(Ordering::Relaxed));
        if shape.0 >> Shape::FLAGS_SHIFT != 0 || shape.key_len() != key.len() {
            return None;
        }
        let value_at = PREFIX_WORDS + key.len().div_ceil(8);
        let len = value_at as u64 + shape.value_words();
        if len > room / 8 {
            return None;
        }
        let words = shared.map.nth_words(offset / 8, len)?;
        equal_bytes(&words[PREFIX_WORDS..], key).then_some(Entry {
            offset,
            words,
            shape,
            value_at,
        })
    }

    #[inline]
    pub(crate) fn header(&self) -> &'a AtomicU64 {
        &self.words[0]
    }

    #[inline]
    pub(crate) fn version(&self) -> u64 {
        self.words[3].load(Ordering::Relaxed)
    }

    #[inline]
    pub(crate) fn hash(&self) -> u64 {
        self.words[4].load(Ordering::Relaxed)
    }

    #[inline]
    pub(crate) fn value_len(&self) -> u64 {
        self.shape.value_len()
    }

    /// How long its parts are and which it has, as it was when it was loaded.
    pub(crate) fn make(&self) -> u64 {
        self.shape.0 & !(Shape::USES_MAX << Shape::USES_SHIFT)
    }

    #[inline]
    pub(crate) fn has_key(&self, hash: u64, key: &[u8]) -> bool {
        self.hash() == hash
            && self.shape.key_len() == key.len()
            && equal_bytes(&self.words[PREFIX_WORDS..], key)
    }

    #[inline(always)]
    pub(crate) fn value_words(&self) -> &'a [AtomicU64] {
        &self.words[self.value_at..]
    }

    /// What follows key and value.
    fn tail(&self) -> &'a [AtomicU64] {
        &self.words[self.value_at + self.shape.value_words() as usize..]
    }

    /// How often it was looked up lately, up to three times.
    pub(crate) fn uses(&self) -> u64 {
        Shape(self.words[2].load(Ordering::Relaxed)).uses()
    }

    /// Two who set it at once may count for one.
    pub(crate) fn set_uses(&self, uses: u64) {
        let rest = self.words[2].load(Ordering::Relaxed) & !(Shape::USES_MAX << Shape::USES_SHIFT);
        self.words[2].store(rest | uses << Shape::USES_SHIFT, Ordering::Relaxed);
    }

    /// Counts a look-up.
    #[inline]
    pub(crate) fn touch(&self) {
        let uses = self.uses();
        if uses < Shape::USES_MAX {
            self.set_uses(uses + 1);
        }
    }

    /// Whether it says that the key was removed.
    pub(crate) fn is_tombstone(&self) -> bool {
        self.shape.has(Shape::TOMBSTONE)
    }

    /// When it expires, if ever, in milliseconds since 1970.
    pub(crate) fn expiry(&self) -> Option<u64> {
        self.shape
            .has(Shape::EXPIRES)
            .then(|| self.tail()[0].load(Ordering::Relaxed))
    }

    /// Whether its time is over by the clock, which is asked only if it has one.
    #[inline]
    pub(crate) fn is_expired(&self, now: impl FnOnce() -> u64) -> bool {
        self.expiry().is_some_and(|expiry| expiry <= now())
    }

    /// The words of its history: the stamp, and the place of the entry before it; `None` where the region has no views.
    pub(crate) fn history(&self) -> Option<(&'a AtomicU64, &'a AtomicU64)> {
        match self.tail() {
            [.., stamp, before] if self.shape.has(Shape::DATED) => Some((stamp, before)),
            _ => None,
        }
    }

    /// The place of the value in the region.
    pub(crate) fn value_offset(&self) -> u64 {
        self.offset + self.value_at as u64 * 8
    }

    #[inline(always)]
    pub(crate) fn append_value(&self, out: &mut Vec<u8>) {
        load_bytes(self.value_words(), self.value_len() as usize, out);
    }

    pub(crate) fn append_key(&self, out: &mut Vec<u8>) {
        load_bytes(&self.words[PREFIX_WORDS..], self.shape.key_len(), out);
    }

    pub(crate) fn key(&self) -> Vec<u8> {
        let mut key = Vec::new();
        self.append_key(&mut key);
        key
    }

    pub(crate) fn value(&self) -> Vec<u8> {
        let mut value = Vec::new();
        self.append_value(&mut value);
        value
    }
}

/// What an entry is to say of its key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Content<'v> {
    /// `None` makes a tombstone.
    pub(crate) value: Option<&'v [u8]>,
    pub(crate) expiry: Option<u64>,
    /// The place of the entry that it replaces, or 0; kept only in regions with views.
    pub(crate) before: u64,
}

/// A plain entry that is to be written: a key and a value, without an end or a history.
#[derive(Clone, Copy)]
pub(crate) struct Plan(Shape);

impl Plan {
    /// Words of the whole entry.
    #[inline(always)]
    pub(crate) fn words(self) -> u64 {
        PREFIX / 8 + self.0.body_words()
    }

    /// Bytes behind its header.
    #[inline(always)]
    pub(crate) fn payload(self) -> u64 {
        self.words() * 8 - HEADER_LEN
    }

    /// Writes all but the header into the entry's words, of which there are as many as it says.
    #[inline(always)]
    pub(crate) fn write(self, words: &[AtomicU64], version: u64, hash: u64, key: &[u8], value: &[u8]) {
        words[2].store(self.0.0, Ordering::Relaxed);
        words[3].store(version, Ordering::Relaxed);
        words[4].store(hash, Ordering::Relaxed);
        store_bytes(&words[PREFIX_WORDS..], key);
        store_bytes(&words[PREFIX_WORDS + self.0.key_words()..], value);
    }
}

impl Entry<'_> {
    /// What a plain entry will be like; `None` for a key that is too long.
    #[inline(always)]
    pub(crate) fn plan(key: &[u8], value: &[u8]) -> Option<Plan> {
        let is_possible = key.len() <= KEY_LEN_MAX && (value.len() as u64) < 1 << Shape::VALUE_LEN_BITS;
        is_possible.then_some(Plan(Shape(
            (key.len() as u64) << Shape::VALUE_LEN_BITS | value.len() as u64,
        )))
    }
}

impl Actor<'_> {
    /// Makes an entry that is ours and not linked yet. Returns its place and header.
    pub(crate) fn create_entry(
        &mut self,
        hash: u64,
        key: &[u8],
        content: Content<'_>,
    ) -> Result<(u64, Header)> {
        if key.len() > KEY_LEN_MAX {
            return Err(Error::Invalid("a key longer than 64 KiB"));
        }
        let value = content.value.unwrap_or_default();
        let flag = |is_set: bool, flag: u64| if is_set { flag } else { 0 };
        let shape = Shape(
            (key.len() as u64) << Shape::VALUE_LEN_BITS
                | value.len() as u64
                | flag(content.expiry.is_some(), Shape::EXPIRES)
                | flag(self.shared.has_views, Shape::DATED)
                | flag(content.value.is_none(), Shape::TOMBSTONE),
        );
        let words = shape.body_words() + shape.tail_words();
        let offset = self.allocate(PREFIX - 16 + words * 8, TAG_ENTRY)?;
        let words = self.shared.map.words(offset, PREFIX / 8 + words)?;
        words[2].store(shape.0, Ordering::Relaxed);
        words[3].store(self.number(), Ordering::Relaxed);
        words[4].store(hash, Ordering::Relaxed);
        store_bytes(&words[PREFIX_WORDS..], key);
        let value_at = PREFIX_WORDS + shape.key_words();
        let entry = Entry {
            offset,
            words,
            shape,
            value_at,
        };
        store_bytes(entry.value_words(), value);
        if let Some(expiry) = content.expiry {
            entry.tail()[0].store(expiry, Ordering::Relaxed);
        }
        if let Some((stamp, before)) = entry.history() {
            stamp.store(0, Ordering::Relaxed);
            before.store(content.before, Ordering::Relaxed);
        }
        Ok((offset, Header::load(&words[0])))
    }
}
