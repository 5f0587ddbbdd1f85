//! Entries: a key and its value, written once and never changed while anybody can see them.
//!
//! ```text
//!   0  header   8  size and tag
//!  16  value length (40 bits), key length (17 bits), uses in a cache (2 bits), whether it expires (1 bit)
//!  24  version   32  hash
//!  40  key, then value, each filled up to 8 bytes, then the time of expiry if it does
//! ```

use crate::actor::Actor;
use crate::error::{Error, Result, corrupt};
use crate::heap::TAG_ENTRY;
use crate::protocol::header::Header;
use crate::raw::mapping::{equal_bytes, load_bytes, store_bytes};
use crate::region::Shared;
use crate::sync::{AtomicU64, Ordering};

/// The longest key.
pub(crate) const KEY_LEN_MAX: usize = 1 << 16;
const PREFIX: u64 = 40;
const VALUE_LEN_BITS: u32 = 40;
const KEY_LEN_BITS: u32 = 17;
const USES_SHIFT: u32 = VALUE_LEN_BITS + KEY_LEN_BITS;
const USES_MAX: u64 = 3;
const EXPIRES: u64 = 1 << (USES_SHIFT + 2);

#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) offset: u64,
    pub(crate) header: &'a AtomicU64,
    pub(crate) version: u64,
    pub(crate) hash: u64,
    pub(crate) key_len: usize,
    pub(crate) value_len: u64,
    lengths: &'a AtomicU64,
    /// Key and value.
    body: &'a [AtomicU64],
    expiry: Option<&'a AtomicU64>,
}

impl<'a> Entry<'a> {
    /// The entry at `offset`, its lengths read once and checked.
    #[inline]
    pub(crate) fn load(shared: &'a Shared, offset: u64) -> Result<Entry<'a>> {
        if !shared.is_backed(offset)? {
            return corrupt("an entry in a volume with memory", offset);
        }
        let words = shared.map.words(offset, PREFIX / 8)?;
        let lengths = words[2].load(Ordering::Relaxed);
        let value_len = lengths & ((1 << VALUE_LEN_BITS) - 1);
        let key_len = (lengths >> VALUE_LEN_BITS) as usize & ((1 << KEY_LEN_BITS) - 1);
        if key_len > KEY_LEN_MAX || value_len > shared.layout.volume_size {
            return corrupt("an entry with possible lengths", offset);
        }
        let expires = lengths & EXPIRES != 0;
        let len = (key_len as u64).div_ceil(8) + value_len.div_ceil(8);
        let all = shared.map.words(offset + PREFIX, len + u64::from(expires))?;
        let (body, expiry) = all.split_at(len as usize);
        Ok(Entry {
            offset,
            header: &words[0],
            version: words[3].load(Ordering::Relaxed),
            hash: words[4].load(Ordering::Relaxed),
            key_len,
            value_len,
            lengths: &words[2],
            body,
            expiry: expiry.first(),
        })
    }

    #[inline]
    pub(crate) fn has_key(&self, hash: u64, key: &[u8]) -> bool {
        self.hash == hash && self.key_len == key.len() && equal_bytes(self.body, key)
    }

    #[inline]
    pub(crate) fn value_words(&self) -> &'a [AtomicU64] {
        &self.body[self.key_len.div_ceil(8)..]
    }

    /// How often it was looked up lately, up to three times.
    pub(crate) fn uses(&self) -> u64 {
        self.lengths.load(Ordering::Relaxed) >> USES_SHIFT & USES_MAX
    }

    /// Two who set it at once may count for one.
    pub(crate) fn set_uses(&self, uses: u64) {
        let rest = self.lengths.load(Ordering::Relaxed) & !(USES_MAX << USES_SHIFT);
        self.lengths.store(rest | uses << USES_SHIFT, Ordering::Relaxed);
    }

    /// Counts a look-up.
    #[inline]
    pub(crate) fn touch(&self) {
        let uses = self.uses();
        if uses < USES_MAX {
            self.set_uses(uses + 1);
        }
    }

    /// Whether its time is over by the clock, which is asked only if it has one.
    #[inline]
    pub(crate) fn is_expired(&self, now: impl FnOnce() -> u64) -> bool {
        self.expiry
            .is_some_and(|expiry| expiry.load(Ordering::Relaxed) <= now())
    }

    /// The place of the value in the region.
    pub(crate) fn value_offset(&self) -> u64 {
        self.offset + PREFIX + self.key_len.div_ceil(8) as u64 * 8
    }

    #[inline]
    pub(crate) fn append_value(&self, out: &mut Vec<u8>) {
        load_bytes(self.value_words(), self.value_len as usize, out);
    }

    pub(crate) fn append_key(&self, out: &mut Vec<u8>) {
        load_bytes(self.body, self.key_len, out);
    }

    pub(crate) fn value(&self) -> Vec<u8> {
        let mut value = Vec::new();
        self.append_value(&mut value);
        value
    }
}

impl Actor<'_> {
    /// Makes an entry that is ours and not linked yet. Returns its place and header.
    pub(crate) fn create_entry(
        &mut self,
        hash: u64,
        key: &[u8],
        value: &[u8],
        expiry: Option<u64>,
    ) -> Result<(u64, Header)> {
        if key.len() > KEY_LEN_MAX {
            return Err(Error::Invalid("a key longer than 64 KiB"));
        }
        let key_words = key.len().div_ceil(8);
        let value_end = key_words + value.len().div_ceil(8);
        let body = value_end + usize::from(expiry.is_some());
        let offset = self.allocate(PREFIX - 16 + body as u64 * 8, TAG_ENTRY)?;
        let words = self.shared.map.words(offset, PREFIX / 8 + body as u64)?;
        let flags = if expiry.is_some() { EXPIRES } else { 0 };
        words[2].store(
            flags | (key.len() as u64) << VALUE_LEN_BITS | value.len() as u64,
            Ordering::Relaxed,
        );
        if let Some(expiry) = expiry {
            words[5 + value_end].store(expiry, Ordering::Relaxed);
        }
        words[3].store(self.number(), Ordering::Relaxed);
        words[4].store(hash, Ordering::Relaxed);
        store_bytes(&words[5..], key);
        store_bytes(&words[5 + key_words..], value);
        Ok((offset, Header::load(&words[0])))
    }
}
