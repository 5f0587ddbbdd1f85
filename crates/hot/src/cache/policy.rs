//! Who stays and who goes.

use crate::actor::Actor;
use crate::cache::now_ms;
use crate::cache::queue::{Line, Queues};
use crate::error::Result;
use crate::layout::at;
use crate::map::entry::Entry;
use crate::map::table::Table;
use crate::ring::Ticket;
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
        self.allocate_rooted(root, len)
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
        let line = if is_new && queues.remembers(entry.hash()) {
            Line::Main
        } else {
            Line::Small
        };
        self.append(queues, line, Ticket::of(entry))
    }

    fn append(&mut self, queues: Queues<'a>, line: Line, ticket: Ticket) -> Result<()> {
        match queues.ring(line).push(ticket) {
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
        let (small, main) = (queues.ring(Line::Small).len(), queues.ring(Line::Main).len());
        let line = if small * SMALL_SHARE >= small + main {
            Line::Small
        } else {
            Line::Main
        };
        for _ in 0..EVICTIONS_MAX {
            let Some(ticket) = queues.ring(line).pop() else {
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
                        queues.remember(entry.hash());
                    }
                    return self.evict_entry(&entry);
                }
            }
        }
        Ok(())
    }

    fn evict_ticket(&mut self, queues: Queues<'a>, ticket: Ticket) -> Result<()> {
        let Some(entry) = self.entry_of(ticket)? else {
            return Ok(());
        };
        queues.remember(entry.hash());
        self.evict_entry(&entry)
    }

    fn evict_entry(&mut self, entry: &Entry<'_>) -> Result<()> {
        let key = entry.key();
        // Memory that was used again may look like an entry: its key is then not where this says, and nothing happens.
        if self.shared.hash(&key) == entry.hash() && self.remove_exactly(&key, entry.offset)? {
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
        let mut places = Vec::new();
        self.shared.places_in(table.line(index), &mut places)?;
        for place in places {
            let entry = Entry::load(self.shared, place)?;
            if entry.is_expired(now_ms) {
                let key = entry.key();
                removed += u64::from(self.remove_exactly(&key, place)?);
            }
        }
        Ok(removed)
    }

    /// Evicts what stands in the next lines of the table: the queues have lost it.
    fn evict_unqueued(&mut self) -> Result<()> {
        let Some(table) = self.shared.table(at::TABLE)? else {
            return Ok(());
        };
        let hand = self.shared.fixed(at::CLOCK_HAND);
        for _ in 0..EVICTIONS_MAX {
            let index = hand.fetch_add(1, Ordering::Relaxed) & (table.lines() - 1);
            let mut places = Vec::new();
            self.shared.places_in(table.line(index), &mut places)?;
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
