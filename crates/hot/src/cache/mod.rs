//! Cache mode: a budget of bytes, kept by evicting what is least worth keeping, and values that expire.
//!
//! The policy is S3-FIFO. New entries enter a small queue; those looked up while they were in it move on to the main queue, the others
//! leave, and only a fingerprint of their key stays for a while: should the key come back soon, it goes to the main queue at once. The main queue
//! goes round: what was looked up since its last turn gets another. Looking up costs one store to the entry, and no order has to be kept.
//!
//! The queues are hints, like all lists here. They hold places of entries with a part of their versions; what doesn't fit is passed over. An
//! entry that a dying process failed to queue is found by going over the lines of the table when the queues give nothing.

mod policy;
mod queue;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::actor::Actor;
use crate::error::{Error, Result};
use crate::layout::at;
use crate::map::entry::Entry;
use crate::session::{Session, field};
use crate::sync::Ordering;

/// Hits, misses and evictions of a cache, by all sessions together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheStats {
    /// Look-ups that found a value.
    pub hits: u64,
    /// Look-ups that found none.
    pub misses: u64,
    /// Entries that went to make room.
    pub evictions: u64,
    /// Bytes that entries take, headers and slack included.
    pub bytes: u64,
    /// The most bytes that they should take.
    pub budget: u64,
}

/// The time in milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64)
}

/// Expiry, and the cache's own figures.
impl Session {
    /// Gives a key a value that is gone after `ttl`. Processes that share a region share the machine's clock; if that is set back, values
    /// live longer.
    ///
    /// The memory of what has expired comes back when the key is written, by [`remove_expired`](Session::remove_expired), or, in cache mode, when its turn
    /// comes in the queue.
    ///
    /// ```
    /// # use weald_hot::{Region, RegionOptions};
    /// # let region = Region::anonymous(&RegionOptions { capacity: 16 << 20, ..Default::default() })?;
    /// # let session = region.join("example")?;
    /// use std::time::Duration;
    ///
    /// session.put_expiring(b"token", b"secret", Duration::ZERO)?;
    /// assert!(!session.contains(b"token")?);
    /// assert_eq!(session.remove_expired()?, 1);
    /// # Ok::<(), weald_hot::Error>(())
    /// ```
    pub fn put_expiring(&self, key: &[u8], value: &[u8], ttl: Duration) -> Result<()> {
        let expiry = now_ms()
            .saturating_add(u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX))
            .max(1);
        self.act(|actor| actor.put_until(key, value, Some(expiry)))
    }

    /// Removes everything whose time is over. Returns how much that was. Goes over the whole map.
    pub fn remove_expired(&self) -> Result<u64> {
        let mut removed = 0;
        for which in [at::TABLE, at::TABLE_NEXT] {
            let Some(table) = self.shared.table(which)? else {
                continue;
            };
            for index in 0..table.lines() {
                // A line at a time, so that no pin lasts.
                removed += self.act(|actor| actor.expire_line(table, index))?;
            }
        }
        Ok(removed)
    }

    /// What the cache has done so far. All zeros if the region is none.
    ///
    /// ```
    /// # use weald_hot::{Region, RegionOptions};
    /// let options = RegionOptions { capacity: 16 << 20, cache_bytes: 64 << 10, ..Default::default() };
    /// let session = Region::anonymous(&options)?.join("example")?;
    /// for n in 0..2000u32 {
    ///     session.put(&n.to_le_bytes(), &[0; 100])?;
    /// }
    /// let stats = session.cache_stats()?;
    /// assert!(stats.evictions > 0 && stats.bytes <= stats.budget + 4096);
    /// # Ok::<(), weald_hot::Error>(())
    /// ```
    pub fn cache_stats(&self) -> Result<CacheStats> {
        let shared = &self.shared;
        let mut stats = CacheStats {
            budget: shared.cache_bytes,
            ..Default::default()
        };
        if shared.cache_bytes == 0 {
            return Ok(stats);
        }
        for index in 0..shared.sessions_used() {
            let slot = shared.layout.session(index);
            let get = |field| Ok::<_, Error>(shared.map.word(slot + field)?.load(Ordering::Relaxed));
            stats.hits = stats.hits.wrapping_add(get(field::HITS)?);
            stats.misses = stats.misses.wrapping_add(get(field::MISSES)?);
            stats.evictions = stats.evictions.wrapping_add(get(field::EVICTIONS)?);
        }
        stats.bytes = shared.cached_bytes()?;
        Ok(stats)
    }

    /// Counts a look-up in cache mode.
    #[inline]
    pub(crate) fn looked_up(&self, found: Option<&Entry<'_>>) {
        if self.shared.cache_bytes == 0 {
            return;
        }
        let field = match found {
            Some(entry) => {
                entry.touch();
                field::HITS
            }
            None => field::MISSES,
        };
        if let Ok(word) = self.shared.map.word(self.slot + field) {
            word.store(word.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
        }
    }
}

impl crate::region::Shared {
    pub(crate) fn cached_bytes(&self) -> Result<u64> {
        let mut sum = 0i64;
        for index in 0..self.sessions_used() {
            let word = self.map.word(self.layout.session(index) + field::BYTES)?;
            sum = sum.wrapping_add(word.load(Ordering::Relaxed) as i64);
        }
        Ok(sum.max(0) as u64)
    }
}

impl Actor<'_> {
    /// Counts the bytes of entries that were linked or unlinked.
    pub(crate) fn count_bytes(&self, difference: i64) {
        let word = self.own(field::BYTES);
        let sum = (word.load(Ordering::Relaxed) as i64).wrapping_add(difference);
        word.store(sum as u64, Ordering::Relaxed);
    }
}
