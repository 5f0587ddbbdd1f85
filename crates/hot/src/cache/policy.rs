//! Who stays and who goes.

use crate::actor::Actor;
use crate::cache::now_ms;
use crate::cache::queue::{Line, Queues, Ticket};
use crate::error::Result;
use crate::heap::{TAG_ENTRY, VolumeState};
use crate::layout::at;
use crate::map::entry::Entry;
use crate::map::slot;
use crate::map::table::{CHAIN_MAX, LINK, SLOTS, Table};
use crate::protocol::header::{Header, Owner, State};
use crate::protocol::line::{Guard, LineState};
use crate::session::field;
use crate::sync::Ordering;

/// Writes after which a session looks at the budget.
const CHECK_EVERY: u32 = 8;
/// Evictions in one go, so that no single write pays for the sins of many.
const EVICTIONS_MAX: u32 = 64;
/// A tenth of the entries may be new.
const SMALL_SHARE: u64 = 10;

impl<'a> Actor<'a> {
    /// Makes the queues of a region in cache mode, unless they are there.
    pub(crate) fn ensure_queues(&mut self) -> Result<()> {
        let root = self.shared.fixed(at::QUEUES);
        if self.shared.cache_bytes == 0 || root.load(Ordering::Acquire) != 0 {
            return Ok(());
        }
        let len = Queues::len_for(Queues::log2_for(self.shared.cache_bytes));
        let run = self.allocate_run(len + 64)?;
        self.shared.map.zero(run, len + 64)?;
        if root
            .compare_exchange(0, run + 64, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
        {
            self.step_run(run, VolumeState::OwnedRun, VolumeState::Run, Owner::NOBODY)?;
            return Ok(());
        }
        // Nobody has seen it.
        self.free_run(run)
    }

    fn queues(&self) -> Result<Option<Queues<'a>>> {
        let base = self.shared.fixed(at::QUEUES).load(Ordering::Acquire);
        if self.shared.cache_bytes == 0 || base == 0 {
            return Ok(None);
        }
        Queues::at(self.shared, base, Queues::log2_for(self.shared.cache_bytes)).map(Some)
    }

    /// Puts an entry that was just linked into a queue.
    pub(crate) fn enqueue(&mut self, entry: &Entry<'_>, is_new: bool) -> Result<()> {
        let Some(queues) = self.queues()? else {
            return Ok(());
        };
        let line = if is_new && queues.remembers(entry.hash) {
            Line::Main
        } else {
            Line::Small
        };
        self.append(queues, line, Ticket::new(entry.offset, entry.version))
    }

    fn append(&mut self, queues: Queues<'a>, line: Line, ticket: Ticket) -> Result<()> {
        match queues.push(line, ticket) {
            Some(fallen) => self.evict_ticket(queues, fallen),
            None => Ok(()),
        }
    }

    /// Looks at the budget now and then, and evicts what is over it.
    pub(crate) fn keep_budget(&mut self) -> Result<()> {
        self.local.writes += 1;
        if self.local.writes < CHECK_EVERY {
            return Ok(());
        }
        self.local.writes = 0;
        for _ in 0..EVICTIONS_MAX {
            if self.shared.cached_bytes()? <= self.shared.cache_bytes {
                break;
            }
            self.evict()?;
        }
        Ok(())
    }

    /// Evicts one entry, or comes nearer to it.
    fn evict(&mut self) -> Result<()> {
        let Some(queues) = self.queues()? else {
            return Ok(());
        };
        let (small, main) = (queues.len(Line::Small), queues.len(Line::Main));
        let line = if small * SMALL_SHARE >= small + main {
            Line::Small
        } else {
            Line::Main
        };
        for _ in 0..EVICTIONS_MAX {
            let Some(ticket) = queues.pop(line) else {
                return self.evict_unqueued();
            };
            let Some(entry) = self.entry_of(ticket)? else {
                continue;
            };
            let uses = entry.uses();
            let is_expired = entry.is_expired(now_ms);
            match line {
                Line::Small if uses > 0 && !is_expired => {
                    entry.set_uses(0);
                    self.append(queues, Line::Main, ticket)?;
                }
                Line::Main if uses > 0 && !is_expired => {
                    entry.set_uses(uses - 1);
                    self.append(queues, Line::Main, ticket)?;
                }
                _ => {
                    if line == Line::Small {
                        queues.remember(entry.hash);
                    }
                    return self.evict_entry(&entry);
                }
            }
        }
        Ok(())
    }

    /// The entry of a ticket, if it is still the one.
    fn entry_of(&self, ticket: Ticket) -> Result<Option<Entry<'a>>> {
        let Ok(entry) = Entry::load(self.shared, ticket.place()) else {
            return Ok(None);
        };
        let is_live = matches!(Header::load(entry.header).state(), State::Live | State::Owned);
        Ok((is_live && ticket.fits(entry.version) && self.tag(entry.offset)? == TAG_ENTRY).then_some(entry))
    }

    fn evict_ticket(&mut self, queues: Queues<'a>, ticket: Ticket) -> Result<()> {
        let Some(entry) = self.entry_of(ticket)? else {
            return Ok(());
        };
        queues.remember(entry.hash);
        self.evict_entry(&entry)
    }

    fn evict_entry(&mut self, entry: &Entry<'_>) -> Result<()> {
        let mut key = Vec::new();
        entry.append_key(&mut key);
        // Memory that was used again may look like an entry: its key is then not where this says, and nothing happens.
        if self.shared.hash(&key) == entry.hash && self.remove_exactly(&key, entry.offset)? {
            let word = self.own(field::EVICTIONS);
            word.store(word.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
        }
        Ok(())
    }

    /// Removes what has expired from one line, if the table is still in use.
    pub(crate) fn expire_line(&mut self, table: Table, index: u64) -> Result<u64> {
        let tables = [self.shared.table(at::TABLE)?, self.shared.table(at::TABLE_NEXT)?];
        let mut removed = 0;
        if !tables.contains(&Some(table)) {
            return Ok(0);
        }
        for place in self.places_in(table.line(index))? {
            let entry = Entry::load(self.shared, place)?;
            if entry.is_expired(now_ms) {
                let mut key = Vec::new();
                entry.append_key(&mut key);
                removed += u64::from(self.remove_exactly(&key, place)?);
            }
        }
        Ok(removed)
    }

    /// The entries of a line and those behind it; none if it was moved.
    fn places_in(&self, head: u64) -> Result<Vec<u64>> {
        let mut words = self.shared.map.line(head)?;
        let mut places = Vec::new();
        if Guard::load(&words[0]).state() == LineState::Moved {
            return Ok(places);
        }
        for _ in 0..CHAIN_MAX {
            places.extend(
                words[1..=SLOTS]
                    .iter()
                    .filter_map(|word| slot::place(word.load(Ordering::Acquire))),
            );
            match slot::place(words[LINK].load(Ordering::Acquire)) {
                Some(next) => words = self.shared.map.line(next)?,
                None => break,
            }
        }
        Ok(places)
    }

    /// Evicts what stands in the next lines of the table: the queues have lost it.
    fn evict_unqueued(&mut self) -> Result<()> {
        let Some(table) = self.shared.table(at::TABLE)? else {
            return Ok(());
        };
        let hand = self.shared.fixed(at::CLOCK_HAND);
        for _ in 0..EVICTIONS_MAX {
            let index = hand.fetch_add(1, Ordering::Relaxed) & (table.lines() - 1);
            let places = self.places_in(table.line(index))?;
            for &place in &places {
                let entry = Entry::load(self.shared, place)?;
                self.evict_entry(&entry)?;
            }
            if !places.is_empty() {
                break;
            }
        }
        Ok(())
    }
}
