//! What a view sees: the entry of a key at a time.

use crate::error::{Result, corrupt};
use crate::layout::at;
use crate::map::entry::Entry;
use crate::protocol::dating;
use crate::region::Shared;
use crate::sync::Ordering;

/// In the word that leads to the entry before: this entry is being taken out of its key's history, and the word stays as it is.
pub(crate) const GONE: u64 = 1;
/// Entries of a history, at most. There are no more than views, and a few that somebody is just taking out.
pub(crate) const HISTORY_MAX: u32 = 1 << 20;

/// An instant, by the clock of the region and by that of the machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) time: u64,
    /// For what expires.
    pub(crate) clock_ms: u64,
}

impl Shared {
    /// When an entry became its key's, which is decided now unless it was before. The entry is linked.
    pub(crate) fn date(&self, entry: &Entry<'_>) -> u64 {
        match entry.history() {
            Some((stamp, _)) => dating::date(stamp, self.fixed(at::CLOCK)),
            None => dating::UNDATED,
        }
    }

    /// The entry before this one, if it has one.
    pub(crate) fn before<'a>(&'a self, entry: &Entry<'_>) -> Result<Option<Entry<'a>>> {
        match entry.history() {
            Some((_, before)) => match before.load(Ordering::Acquire) & !GONE {
                0 => Ok(None),
                place => Entry::load(self, place).map(Some),
            },
            None => Ok(None),
        }
    }

    /// The entry of a key, now or at a moment, unless its time was over. The caller is pinned.
    #[inline]
    pub(crate) fn find_at(&self, hash: u64, key: &[u8], moment: Option<Moment>) -> Result<Option<Entry<'_>>> {
        match moment {
            None => self.find(hash, key),
            Some(moment) => match self.find_any(hash, key)? {
                Some(newest) => self.entry_at(newest, moment),
                None => Ok(None),
            },
        }
    }

    /// What there was at a moment of the key whose newest entry is `newest`.
    pub(crate) fn entry_at<'a>(&'a self, newest: Entry<'a>, moment: Moment) -> Result<Option<Entry<'a>>> {
        let mut entry = newest;
        for _ in 0..HISTORY_MAX {
            if self.date(&entry) <= moment.time {
                let is_over = entry.is_tombstone() || entry.is_expired(|| moment.clock_ms);
                return Ok((!is_over).then_some(entry));
            }
            match self.before(&entry)? {
                Some(older) => entry = older,
                None => return Ok(None),
            }
        }
        corrupt("a history that ends", newest.offset)
    }
}
