//! Taking out of the histories of keys what no view needs any more.
//!
//! An entry is taken out in two steps: its word that leads to the entry before is marked, after which nobody changes it; then the entry above is led
//! past it. The one who succeeds in the second retires the entry. Should it die in between, its slot names the entry.
//!
//! Entries that a view needs get a *ticket*, in a queue that the region has for that. Where tickets were lost, in a full queue or with a process that died, a
//! word says so, and the next one who finds no views at all goes over the whole map instead.

use crate::actor::Actor;
use crate::error::{Result, corrupt};
use crate::layout::at;
use crate::map::entry::Entry;
use crate::map::slot;
use crate::protocol::RETRIES;
use crate::protocol::header::Header;
use crate::ring::{Ring, Ticket};
use crate::session::field;
use crate::sync::{AtomicU64, Ordering};
use crate::view::moment::{GONE, HISTORY_MAX};

/// Tickets that one who gives up a view looks at, if there are other views.
const REAP_AT_ONCE: u64 = 64;
/// How often a history that others change is begun anew.
const TURNS: u32 = 64;
/// Entries that a session keeps for views before it looks whether their holders live.
const KEPT_UNTIL_LOOK: u32 = 256;
/// The words of the queue in front of its slots.
const RING_PREFIX: u64 = 128;

impl<'a> Actor<'a> {
    /// Makes the queue of tickets of a region with views, unless it is there.
    pub(crate) fn ensure_kept(&mut self) -> Result<()> {
        let root = self.shared.fixed(at::KEPT);
        if !self.shared.has_views || root.load(Ordering::Acquire) != 0 {
            return Ok(());
        }
        self.allocate_rooted(root, RING_PREFIX + 8 * self.ring_len())
    }

    /// Slots of the queue, a power of two: for a five-hundredth of the region, or half a volume.
    fn ring_len(&self) -> u64 {
        let layout = &self.shared.layout;
        (layout.volumes * layout.volume_size / 4096)
            .max(layout.volume_size / 16)
            .next_power_of_two()
    }

    fn kept(&self) -> Result<Option<Ring<'a>>> {
        let base = self.shared.fixed(at::KEPT).load(Ordering::Acquire);
        if base == 0 {
            return Ok(None);
        }
        let words = self
            .shared
            .backed_words(base, RING_PREFIX / 8 + self.ring_len())?;
        Ok(Some(Ring {
            tail: &words[0],
            head: &words[8],
            slots: &words[RING_PREFIX as usize / 8..],
        }))
    }

    /// Lets whoever gives up a view look at this entry.
    fn leave_ticket(&mut self, ticket: Ticket) -> Result<()> {
        let lost = match self.kept()? {
            Some(ring) => ring.push(ticket).is_some(),
            None => true,
        };
        if lost {
            self.shared.fixed(at::KEPT_LOST).store(1, Ordering::SeqCst);
        }
        Ok(())
    }

    /// Frees what was kept for views that are gone: a part if there are other views, all if there are none. The caller is pinned.
    pub(crate) fn reap(&mut self) -> Result<()> {
        let views = self.shared.views()?;
        if views.is_empty() && self.shared.fixed(at::KEPT_LOST).swap(0, Ordering::SeqCst) != 0 {
            let all = self.reap_everywhere();
            if all.is_err() {
                self.shared.fixed(at::KEPT_LOST).store(1, Ordering::SeqCst);
            }
            all?;
        }
        let Some(ring) = self.kept()? else {
            return Ok(());
        };
        let most = if views.is_empty() { u64::MAX } else { REAP_AT_ONCE };
        for _ in 0..ring.len().min(most) {
            let Some(ticket) = ring.pop() else { break };
            let Some(entry) = self.entry_of(ticket)? else {
                continue;
            };
            let key = entry.key();
            // Memory that was used again may look like an entry.
            if self.shared.hash(&key) != entry.hash() {
                continue;
            }
            self.prune_key(&key)?;
            // Still needed, or out of reach at the moment.
            if self.entry_of(ticket)?.is_some() {
                self.leave_ticket(ticket)?;
            }
        }
        Ok(())
    }

    /// Goes over the whole map for what no view needs.
    fn reap_everywhere(&mut self) -> Result<()> {
        let mut cursor = Some(0);
        while let Some(at) = cursor {
            let (places, next) = self.shared.places_at(at)?;
            cursor = next;
            for place in places {
                let entry = Entry::load(self.shared, place)?;
                let may_be_shorter = entry.is_tombstone() || self.shared.before(&entry)?.is_some();
                if may_be_shorter && self.prune_key(&entry.key())? {
                    // Somebody has taken a view meanwhile.
                    self.shared.fixed(at::KEPT_LOST).store(1, Ordering::SeqCst);
                }
            }
        }
        Ok(())
    }

    /// Frees what no view needs of a key. Returns whether something is left beside its value.
    fn prune_key(&mut self, key: &[u8]) -> Result<bool> {
        let hash = self.shared.hash(key);
        for _ in 0..RETRIES {
            let head = self.writable_line(hash)?;
            let Some(survey) = self.survey(head, hash, key)? else {
                continue;
            };
            let Some((word, slot, entry)) = survey.found else {
                return Ok(false);
            };
            let is_left = self.prune(word, slot, &entry)?;
            if entry.is_tombstone() && self.shared.ordered {
                self.kill_node(key)?;
            }
            return Ok(is_left);
        }
        Ok(true)
    }

    /// Frees what no view needs of a key, of which the entry `replaced` was just replaced by `top`, in the slot `word`, which held `slot`.
    pub(crate) fn prune_replaced(
        &mut self,
        word: &AtomicU64,
        slot: u64,
        top: &Entry<'_>,
        replaced: &Entry<'_>,
    ) -> Result<()> {
        if !self.prune(word, slot, top)? {
            return Ok(());
        }
        // Older ones have their tickets already.
        if self
            .shared
            .before(top)?
            .is_some_and(|kept| kept.offset == replaced.offset)
        {
            self.leave_ticket(Ticket::of(replaced))?;
        }
        self.local.kept += 1;
        if self.local.kept.is_multiple_of(KEPT_UNTIL_LOOK) {
            self.recover_dead()?;
        }
        Ok(())
    }

    /// Frees what no view needs of a key whose newest entry is `top`, in the slot `word`, which held `slot`. Returns whether something is left
    /// beside its value.
    fn prune(&mut self, word: &AtomicU64, slot: u64, top: &Entry<'_>) -> Result<bool> {
        self.shared.date(top);
        if self.take_out_unneeded(top)? {
            return Ok(true);
        }
        // With nothing below it a tombstone says what an empty slot says.
        let empty = slot::empty(self.number());
        if top.is_tombstone() && !self.replace(word, slot, top, empty, false)? {
            // The table is growing; or there is a younger entry, and the ticket won't fit any more.
            self.leave_ticket(Ticket::of(top))?;
            return Ok(true);
        }
        Ok(false)
    }

    /// Takes what no view needs out of the history below `top`, which is dated. Returns whether something is left.
    fn take_out_unneeded(&mut self, top: &Entry<'_>) -> Result<bool> {
        let views = self.shared.views()?;
        'anew: for _ in 0..TURNS {
            let mut above = Entry::load(self.shared, top.offset)?;
            let mut died = self.shared.date(&above);
            let mut kept = false;
            for _ in 0..HISTORY_MAX {
                let Some((_, link)) = above.history() else {
                    return corrupt("an entry with a history", above.offset);
                };
                let place = link.load(Ordering::SeqCst);
                if place & GONE != 0 {
                    // Somebody is just taking it out.
                    continue 'anew;
                }
                if place == 0 {
                    return Ok(kept);
                }
                let entry = Entry::load(self.shared, place)?;
                let Some((_, below)) = entry.history() else {
                    return corrupt("an entry with a history", place);
                };
                let born = self.shared.date(&entry);
                let seen = below.load(Ordering::SeqCst);
                let says_nothing = entry.is_tombstone() && seen == 0;
                if seen & GONE == 0 && !says_nothing && views.need(born, died) {
                    kept = true;
                    above = entry;
                    died = born;
                    continue;
                }
                let header = Header::load(entry.header());
                let behind = below.fetch_or(GONE, Ordering::SeqCst) & !GONE;
                self.own(field::OLD).store(place, Ordering::Release);
                if link
                    .compare_exchange(place, behind, Ordering::SeqCst, Ordering::SeqCst)
                    .is_err()
                {
                    continue 'anew;
                }
                self.bury(place, header)?;
            }
            return corrupt("a history that ends", top.offset);
        }
        Ok(true)
    }

    /// Whether the entry at `place` stands in the history below `top`.
    pub(crate) fn is_in_history(&self, top: Entry<'a>, place: u64) -> Result<bool> {
        let mut entry = top;
        for _ in 0..HISTORY_MAX {
            match self.shared.before(&entry)? {
                Some(older) if older.offset == place => return Ok(true),
                Some(older) => entry = older,
                None => return Ok(false),
            }
        }
        corrupt("a history that ends", top.offset)
    }
}
