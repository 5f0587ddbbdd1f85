//! A look-up as it goes nearly always: the table doesn't grow, the key's line has no other behind it, and the entry is a plain one.
//!
//! What it reads is checked just as it is elsewhere, but whatever is unusual, damage included, is left to the search that knows all cases, and so
//! nothing here has to say what it was. A key that is absent costs one line of memory, one that is found also its entry.

use crate::layout::at;
use crate::map::entry::Entry;
use crate::map::slot;
use crate::map::table::{LINK, SLOTS, Table};
use crate::protocol::line::Guard;
use crate::raw::mapping::Mapping;
use crate::region::Shared;
use crate::sync::{AtomicU64, Ordering};

/// What a glance shows.
pub(crate) enum Glance<'a> {
    /// An entry with the key and a value, without an end or a history.
    Hit(Entry<'a>),
    Miss,
    /// It takes a search to tell.
    Unsure,
}

impl Shared {
    /// The line in which a hash is looked for first, if nothing is wrong with the table.
    #[inline(always)]
    fn first_line(&self, hash: u64) -> Option<&[AtomicU64; 8]> {
        let table = self.fixed(at::TABLE).load(Ordering::Acquire);
        if table != self.good_table.load(Ordering::Relaxed) {
            return None;
        }
        self.map.nth_line(Table::line_number(table, hash))
    }

    /// Looks a key up. The caller is pinned.
    #[inline(always)]
    pub(crate) fn glance(&self, hash: u64, key: &[u8]) -> Glance<'_> {
        let Some(line) = self.first_line(hash) else {
            return Glance::Unsure;
        };
        let [guard, slots @ .., link] = line;
        const { assert!(LINK == SLOTS + 1) };
        if Guard::load(guard).is_elsewhere() {
            return Glance::Unsure;
        }
        let nearest = slot::nearest(slots, slot::tag(hash));
        let outcome = if nearest.is_none() {
            if slot::place(link.load(Ordering::Acquire)).is_some() {
                return Glance::Unsure;
            }
            Glance::Miss
        } else {
            let entry = nearest
                .place()
                .and_then(|place| Entry::load_plain(self, place, key));
            match entry {
                Some(entry) => Glance::Hit(entry),
                None => return Glance::Unsure,
            }
        };
        // Looked at last: what was read from a line that had not been moved by now was so at some instant since the start.
        if Guard::load(guard).is_elsewhere() {
            return Glance::Unsure;
        }
        outcome
    }

    /// Asks for the line that a look-up will want.
    #[inline]
    pub(crate) fn fetch_line(&self, hash: u64) {
        if let Some(line) = self.first_line(hash) {
            Mapping::prefetch_line(line);
        }
    }

    /// Asks for the entry that a look-up will want.
    #[inline]
    pub(crate) fn fetch_entry(&self, hash: u64) {
        if let Some([_, slots @ .., _]) = self.first_line(hash)
            && let nearest = slot::nearest(slots, slot::tag(hash))
            && !nearest.is_none()
            && let Some(place) = nearest.place()
        {
            self.map.prefetch(place);
            self.map.prefetch(place + 64);
        }
    }
}
