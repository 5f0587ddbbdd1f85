//! A look-up as it goes nearly always: the table doesn't grow, the key's line has no other behind it, and the entry is a plain one.
//!
//! What it reads is checked just as it is elsewhere, but whatever is unusual, damage included, is left to the search that knows all cases, and so
//! nothing here has to say what it was. A key that is absent costs one line of memory, one that is found also its entry.

use crate::layout::at;
use crate::map::entry::Entry;
use crate::map::slot;
use crate::map::table::{LINK, SLOTS, Table};
use crate::protocol::lookup;
use crate::raw::mapping::Mapping;
use crate::region::Shared;
use crate::sync::{AtomicU64, Ordering};

/// What a glance at a key's line shows.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Spot {
    /// If the key has a value, its entry is here.
    At(u64),
    Miss,
    /// It takes a search to tell.
    Unsure,
}

/// What a glance at a key shows.
pub(crate) enum Glance<'a> {
    /// An entry with the key and a value, without an end or a history.
    Hit(Entry<'a>),
    Miss,
    /// It takes a search to tell.
    Unsure,
}

impl Shared {
    /// The line in which a hash is looked for first, and its number in the region, if nothing is wrong with the table.
    #[inline(always)]
    pub(super) fn first_line(&self, hash: u64) -> Option<(u64, &[AtomicU64; 8])> {
        let table = self.fixed(at::TABLE).load(Ordering::Acquire);
        if table != self.good_table.load(Ordering::Relaxed) {
            return None;
        }
        let number = Table::line_number(table, hash);
        Some((number, self.map.nth_line(number)?))
    }

    /// Where the entry for a hash may be. The caller is pinned, and as long as it is the entry stays what it is.
    #[inline(always)]
    pub(crate) fn spot(&self, hash: u64) -> Spot {
        let Some((_, [guard, slots @ .., link])) = self.first_line(hash) else {
            return Spot::Unsure;
        };
        const { assert!(LINK == SLOTS + 1) };
        let spot = lookup::in_line(guard, || {
            let nearest = slot::nearest(slots, slot::tag(hash));
            if !nearest.is_none() {
                nearest.place().map_or(Spot::Unsure, Spot::At)
            } else if slot::place(link.load(Ordering::Acquire)).is_none() {
                Spot::Miss
            } else {
                Spot::Unsure
            }
        });
        spot.unwrap_or(Spot::Unsure)
    }

    /// Looks at the entry of a key where its line showed it, since the same pin.
    #[inline(always)]
    pub(crate) fn glance(&self, spot: Spot, key: &[u8]) -> Glance<'_> {
        match spot {
            Spot::At(place) => Entry::load_plain(self, place, key).map_or(Glance::Unsure, Glance::Hit),
            Spot::Miss => Glance::Miss,
            Spot::Unsure => Glance::Unsure,
        }
    }

    /// Asks for the line that a look-up will want.
    #[inline(always)]
    pub(crate) fn fetch_line(&self, hash: u64) {
        if let Some((_, line)) = self.first_line(hash) {
            Mapping::prefetch_line(line);
        }
    }

    /// Asks for the entry that a look-up will want.
    #[inline(always)]
    pub(crate) fn fetch_entry(&self, spot: Spot) {
        if let Spot::At(place) = spot {
            self.map.prefetch(place);
            self.map.prefetch(place + 64);
        }
    }
}
