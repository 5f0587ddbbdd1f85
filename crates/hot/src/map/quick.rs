//! A put as it goes nearly always: the key has a plain value in its first line, or none there and none behind it, the table doesn't grow, and the magazine
//! has an object for the entry.
//!
//! It takes the steps that every put takes, in the same order. To replace: the entry is written, the old one is named for whoever may find us dead, the slot
//! goes from one to the other, the new entry is declared everybody's and the old one retired. To insert: the guard is read before the slots, the entry is
//! written, the insertion is decided at the guard and finished, the entry declared. What is left out is everything that a rarer put has to know. A replacement
//! doesn't need the guard of the line: that puts insertions in order, but a slot that is not frozen says by itself which entry the key has, in
//! whatever state its line is. Whatever is unusual is left to the change that knows all cases; nothing has been done by then.

use crate::actor::{Actor, Local};
use crate::heap::{TAG_ENTRY, pack_size};
use crate::layout::at;
use crate::map::entry::Entry;
use crate::map::slot;
use crate::protocol::header::{self, Header, Owner, State};
use crate::protocol::line::{self, EMPTY, Guard, LineState};
use crate::region::Shared;
use crate::session::{Session, field};
use crate::sync::{AtomicU64, Ordering};

/// Where a put goes.
enum Place<'a> {
    Taken(Taken<'a>),
    Vacant(Vacant<'a>),
}

/// A slot whose entry has the key, and the entry's header.
struct Taken<'a> {
    slot: &'a AtomicU64,
    held: u64,
    entry: Entry<'a>,
    header: Header,
}

/// An empty slot of a line that doesn't have the key.
struct Vacant<'a> {
    guard: &'a AtomicU64,
    seen: Guard,
    slot: &'a AtomicU64,
    place: u64,
    held: u64,
}

/// An entry of ours that is not linked.
struct Fresh<'a> {
    offset: u64,
    word: &'a AtomicU64,
    header: Header,
}

impl Shared {
    /// Where a key's value is put, if all about it is as it nearly always is. The caller is pinned.
    #[inline(always)]
    fn usual_place(&self, hash: u64, key: &[u8]) -> Option<Place<'_>> {
        // While a table grows, whoever writes helps to move it.
        if self.has_views || self.cache_bytes != 0 || self.fixed(at::TABLE_NEXT).load(Ordering::Acquire) != 0
        {
            return None;
        }
        let (number, [guard, slots @ .., link]) = self.first_line(hash)?;
        // First of all: an insertion is decided only if the guard is still this when everything else has been read.
        let seen = Guard::load(guard);
        let nearest = slot::nearest(slots, slot::tag(hash));
        if nearest.is_none() {
            if self.ordered || seen.state() != LineState::Idle {
                return None;
            }
            if slot::place(link.load(Ordering::Acquire)).is_some() {
                return None;
            }
            let (at, slot, held) = slots
                .iter()
                .enumerate()
                .map(|(at, slot)| (at, slot, slot.load(Ordering::Acquire)))
                .find(|(_, _, held)| held & EMPTY != 0)?;
            return Some(Place::Vacant(Vacant {
                guard,
                seen,
                slot,
                place: number * 64 + 8 + at as u64 * 8,
                held,
            }));
        }
        let held = nearest.unfrozen()? | slot::tag(hash);
        let slot = slots.iter().find(|slot| slot.load(Ordering::Relaxed) == held)?;
        let entry = Entry::load_plain(self, slot::place(held)?, key)?;
        let header = Header::load(entry.header());
        // One who inserts a key may have more to do until its entry is live.
        header
            .is(State::Live, Owner::NOBODY)
            .then_some(Place::Taken(Taken {
                slot,
                held,
                entry,
                header,
            }))
    }
}

impl Session {
    /// Gives a key a value, for ever. `false` if it is not as usual: then nothing was done.
    #[inline(always)]
    pub(super) fn put_quickly(&self, key: &[u8], value: &[u8]) -> bool {
        let Ok(mut local) = self.local.try_borrow_mut() else {
            return false;
        };
        let hash = self.shared.hash(key);
        let _pin = self.pin();
        let Some(place) = self.shared.usual_place(hash, key) else {
            return false;
        };
        let Some(new) = self.write_ready(&mut local, hash, key, value) else {
            return false;
        };
        let linked = slot::pack(hash, new.offset);
        let is_done = match &place {
            Place::Taken(old) => {
                // For whoever finds us dead between the next two steps: this may be unlinked and not retired.
                self.own(field::OLD).store(old.entry.offset, Ordering::Release);
                old.slot
                    .compare_exchange(old.held, linked, Ordering::AcqRel, Ordering::Acquire)
                    .is_ok()
            }
            Place::Vacant(vacant) => self.insert_quickly(vacant, linked),
        };
        if !is_done {
            // Nobody has seen it.
            let held = new
                .header
                .next_from((State::Owned, self.owner), (State::Held, self.owner));
            new.word.store(held.0, Ordering::Release);
            local.magazines[usize::from(held.class())]
                .objects
                .push(new.offset);
            return false;
        }
        // Failure: somebody has replaced it already, and retired it.
        let _ = new.header.step(new.word, State::Live, Owner::NOBODY);
        if let Place::Taken(old) = place {
            let mut actor = Actor {
                shared: &self.shared,
                me: self.owner,
                slot: self.slot,
                local: &mut local,
            };
            // The change is made. Retiring may come upon others' trouble, which is theirs: whoever needs the memory meets it again.
            drop(actor.bury_word(old.entry.offset, old.entry.header(), old.header));
        }
        true
    }

    /// Decides and finishes an insertion. `false` if the line has changed.
    #[inline(always)]
    fn insert_quickly(&self, vacant: &Vacant<'_>, new: u64) -> bool {
        let decided = line::decide(
            vacant.guard,
            vacant.seen,
            self.owner,
            self.intent(),
            vacant.place,
            vacant.held,
            new,
        );
        let Some(pending) = decided else { return false };
        line::finish(vacant.guard, pending, vacant.slot, vacant.held, new);
        let entries = self.own(field::ENTRIES);
        entries.store(entries.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
        true
    }

    /// Writes a plain entry into an object from the magazine, if there is one and nothing is strange about it.
    #[inline(always)]
    fn write_ready(&self, local: &mut Local, hash: u64, key: &[u8], value: &[u8]) -> Option<Fresh<'_>> {
        let plan = Entry::plan(key, value)?;
        let class = self.shared.layout.classes.for_small_payload(plan.payload())?;
        let objects = &mut local.magazines.get_mut(usize::from(class))?.objects;
        let offset = *objects.last()?;
        let words = self.shared.map.nth_words(offset / 8, plan.words())?;
        let header = Header::load(words.first()?);
        if !header.is(State::Held, self.owner) {
            return None;
        }
        let number = local.numbers.next(self.owner)?;
        objects.pop();
        header::before_writing();
        words
            .get(1)?
            .store(pack_size(plan.payload(), TAG_ENTRY), Ordering::Relaxed);
        plan.write(words, number, hash, key, value);
        let header = header.next_from((State::Held, self.owner), (State::Owned, self.owner));
        // Release: whoever sees its owner dead sees a whole entry.
        words[0].store(header.0, Ordering::Release);
        Some(Fresh {
            offset,
            word: &words[0],
            header,
        })
    }
}
