//! Tables: where the lines of the map lie, and how their number doubles while everybody goes on.
//!
//! The current table is one word (place, size, number). To grow, a raw table of twice the lines becomes the *next* one. From then on whoever
//! writes first moves the line that it is about to write to, and a few more in order; readers look into the old line and,
//! when that says so, into the two that it became. When all lines have been moved the next table becomes the current one.

use crate::actor::{Actor, Remains};
use crate::class::HEADER_LEN;
use crate::error::{Error, Result, corrupt};
use crate::heap::{TAG_LINE, TAG_TABLE, VolumeState, VolumeWord, tag_of};
use crate::layout::at;
use crate::map::entry::Entry;
use crate::map::slot;
use crate::protocol::RETRIES;
use crate::protocol::header::{Header, Owner, State};
use crate::protocol::line::{self, EMPTY, Guard, LineState};
use crate::region::Shared;
use crate::session::field;
use crate::sync::{AtomicU64, Ordering};

const FIRST_LOG2: u32 = 6;
const LOG2_MAX: u32 = 31;
/// Lines that every write moves while a table grows, beside its own.
const SHARE: u64 = 8;
/// Lines of a chain, at most. With a keyed hash and the growth below, a chain of ten is beyond belief.
pub(crate) const CHAIN_MAX: u32 = 4096;
pub(crate) const SLOTS: usize = 6;
pub(crate) const LINK: usize = 7;

/// A table: 32 bits of place, 6 of size, 26 that tell it from earlier ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Table {
    pub(crate) word: u64,
    pub(crate) base: u64,
    pub(crate) log2: u32,
}

impl Table {
    /// A word that no table has.
    pub(crate) const IMPOSSIBLE: u64 = u64::MAX;

    fn new(base: u64, log2: u32, number: u64) -> Table {
        Table {
            word: number << 38 | u64::from(log2) << 32 | base >> 6,
            base,
            log2,
        }
    }

    #[inline]
    fn decode(shared: &Shared, word: u64) -> Result<Option<Table>> {
        if word == 0 {
            return Ok(None);
        }
        let base = (word & 0xffff_ffff) << 6;
        let log2 = (word >> 32) as u32 & 63;
        if log2 > LOG2_MAX || base < shared.layout.data_start || base + (64 << log2) > shared.layout.len {
            return corrupt("a table that lies in the volumes", base);
        }
        Ok(Some(Table { word, base, log2 }))
    }

    /// The number, in the region, of the line for a hash in the table of a good word.
    #[inline(always)]
    pub(crate) fn line_number(word: u64, hash: u64) -> u64 {
        let lines = 1 << (word >> 32 & 63);
        (word & 0xffff_ffff) + (hash & (lines - 1))
    }

    #[inline]
    pub(crate) fn lines(self) -> u64 {
        1 << self.log2
    }

    /// The place of the line for a hash.
    #[inline]
    pub(crate) fn head(self, hash: u64) -> u64 {
        self.line(hash & (self.lines() - 1))
    }

    pub(crate) fn line(self, index: u64) -> u64 {
        self.base + (index << 6)
    }

    fn number(self) -> u64 {
        self.word >> 38
    }

    /// What an overflow line of this table says in its first word.
    fn mark(self, index: u64) -> u64 {
        self.number() << 38 | index << 1 | 1
    }
}

/// What a line that is being moved holds: hashes and slots, and the slots of those that go to one of the two lines that it becomes. Kept from line to line.
#[derive(Debug, Default)]
pub(crate) struct Moving {
    entries: Vec<(u64, u64)>,
    half: Vec<u64>,
}

impl Shared {
    #[inline]
    pub(crate) fn table(&self, which: u64) -> Result<Option<Table>> {
        Table::decode(self, self.fixed(which).load(Ordering::Acquire))
    }

    /// The current table, of which the next glances need not be told whether it is possible.
    pub(crate) fn current_table(&self) -> Result<Option<Table>> {
        let table = self.table(at::TABLE)?;
        if let Some(table) = table
            && table.word != self.good_table.load(Ordering::Relaxed)
        {
            self.good_table.store(table.word, Ordering::Relaxed);
        }
        Ok(table)
    }
}

impl<'a> Actor<'a> {
    /// The place of the line in which a hash may be written now. It may be closed by the time the caller gets there.
    pub(crate) fn writable_line(&mut self, hash: u64) -> Result<u64> {
        for _ in 0..RETRIES {
            let Some(current) = self.shared.current_table()? else {
                self.create_first_table()?;
                continue;
            };
            let head = match self.shared.table(at::TABLE_NEXT)? {
                None => current.head(hash),
                Some(next) if next.log2 == current.log2 + 1 => {
                    if self.shared.table(at::TABLE)? != Some(current) {
                        continue;
                    }
                    self.move_line(current, next, hash & (current.lines() - 1))?;
                    self.move_share(current, next)?;
                    next.head(hash)
                }
                Some(done) => {
                    self.clear_next(done);
                    continue;
                }
            };
            match Guard::load(&self.shared.map.line(head)?[0]).state() {
                LineState::Idle | LineState::Pending => return Ok(head),
                LineState::Raw | LineState::Frozen | LineState::Moved => {}
            }
        }
        Err(Error::Again("a table that grows faster than it is written to"))
    }

    fn clear_next(&self, table: Table) {
        let next = self.shared.fixed(at::TABLE_NEXT);
        let _ = next.compare_exchange(table.word, 0, Ordering::AcqRel, Ordering::Acquire);
    }

    fn create_first_table(&mut self) -> Result<()> {
        let table = self.allocate_table(FIRST_LOG2)?;
        for index in 0..table.lines() {
            let words = self.shared.map.line(table.line(index))?;
            for slot in &words[1..] {
                slot.store(EMPTY, Ordering::Relaxed);
            }
            line::open(&words[0]);
        }
        let current = self.shared.fixed(at::TABLE);
        if current
            .compare_exchange(0, table.word, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
        {
            self.declare_table(table)
        } else {
            self.bury_table(table)
        }
    }

    /// A table of raw lines that belongs to this session.
    fn allocate_table(&mut self, log2: u32) -> Result<Table> {
        let len = 64u64 << log2;
        let whole = if len < self.shared.layout.volume_size / 8 {
            self.allocate(len + 72, TAG_TABLE)?
        } else {
            let run = self.allocate_run(len + 64)?;
            self.word(run)?.store(0, Ordering::Relaxed);
            run
        };
        let base = base_in(whole);
        self.word(base - 8)?.store(whole, Ordering::Relaxed);
        self.shared.map.zero(base, len)?;
        let number = self
            .shared
            .fixed(at::TABLES)
            .fetch_add(1, Ordering::Relaxed)
            .wrapping_add(1);
        Ok(Table::new(base, log2, number))
    }

    /// The object or run that a table or an overflow line lies in, and whether it is a run.
    fn whole_of(&self, base: u64) -> Result<(u64, bool)> {
        let whole = self.word(base - 8)?.load(Ordering::Acquire);
        if whole >= base || base_in(whole) != base {
            return corrupt("the start of a table", base - 8);
        }
        let volume = VolumeWord::load(self.shared.volume_word(self.shared.layout.volume_of(whole)?)?);
        Ok((whole, volume.state() != VolumeState::Cut))
    }

    fn declare_table(&mut self, table: Table) -> Result<()> {
        let (whole, is_run) = self.whole_of(table.base)?;
        if is_run {
            self.step_run(whole, VolumeState::OwnedRun, VolumeState::Run, Owner::NOBODY)?;
            return Ok(());
        }
        self.declare(whole)
    }

    /// Makes something of ours that we have just linked everybody's.
    pub(crate) fn declare(&self, offset: u64) -> Result<()> {
        let word = self.word(offset)?;
        let header = Header::load(word);
        if header.is(State::Owned, self.me) {
            // If this fails somebody has unlinked and retired it already.
            let _ = header.step(word, State::Live, Owner::NOBODY);
        }
        Ok(())
    }

    /// Retires a table that is no longer linked.
    pub(crate) fn bury_table(&mut self, table: Table) -> Result<()> {
        let (whole, is_run) = self.whole_of(table.base)?;
        if !is_run {
            let header = Header::load(self.word(whole)?);
            self.bury(whole, header)?;
            return Ok(());
        }
        let from_live = self.step_run(whole, VolumeState::Run, VolumeState::OwnedRun, self.me)?;
        let volume = VolumeWord::load(self.shared.volume_word(self.shared.layout.volume_of(whole)?)?);
        if from_live || (volume.state() == VolumeState::OwnedRun && volume.owner() == self.me) {
            self.retire(whole, Remains::Run)?;
        }
        Ok(())
    }

    /// Begins to double the table, unless somebody already does.
    pub(crate) fn grow(&mut self) -> Result<()> {
        let Some(current) = self.shared.table(at::TABLE)? else {
            return Ok(());
        };
        if self.shared.table(at::TABLE_NEXT)?.is_some() || current.log2 == LOG2_MAX {
            return Ok(());
        }
        let table = self.allocate_table(current.log2 + 1)?;
        let next = self.shared.fixed(at::TABLE_NEXT);
        if next
            .compare_exchange(0, table.word, Ordering::AcqRel, Ordering::Acquire)
            .is_err()
        {
            return self.bury_table(table);
        }
        // If the current table changed since it was looked at, ours has the wrong size and nobody moves anything into it.
        match self.shared.table(at::TABLE)? {
            Some(now) if now == current || now == table => self.declare_table(table),
            _ => {
                self.clear_next(table);
                self.bury_table(table)
            }
        }
    }

    /// Moves the next few lines in order, and ends the growth when there are none left.
    fn move_share(&mut self, current: Table, next: Table) -> Result<()> {
        let word = self.shared.fixed(at::MIGRATED);
        let seen = word.load(Ordering::Acquire);
        let start = if seen >> 38 == current.number() {
            seen & ((1 << 38) - 1)
        } else {
            0
        };
        let end = (start + SHARE).min(current.lines());
        for index in start..end {
            self.move_line(current, next, index)?;
        }
        if end > start {
            let advanced = current.number() << 38 | end;
            let _ = word.compare_exchange(seen, advanced, Ordering::AcqRel, Ordering::Acquire);
        }
        if end == current.lines() {
            self.finish_growth(current, next)?;
        }
        Ok(())
    }

    fn finish_growth(&mut self, current: Table, next: Table) -> Result<()> {
        // Lines that a broken cursor skipped would be lost with the table.
        for index in 0..current.lines() {
            if Guard::load(&self.shared.map.line(current.line(index))?[0]).state() != LineState::Moved {
                self.move_line(current, next, index)?;
            }
        }
        let word = self.shared.fixed(at::TABLE);
        let mine = word
            .compare_exchange(current.word, next.word, Ordering::AcqRel, Ordering::Acquire)
            .is_ok();
        self.clear_next(next);
        if mine {
            for index in 0..current.lines() {
                let link = self.shared.map.line(current.line(index))?[LINK].load(Ordering::Acquire);
                self.bury_chain(slot::place(link))?;
            }
            self.bury_table(current)?;
        }
        Ok(())
    }

    /// Retires the overflow lines from `first` on.
    fn bury_chain(&mut self, first: Option<u64>) -> Result<()> {
        let mut rest = first;
        for _ in 0..CHAIN_MAX {
            let Some(base) = rest else { break };
            rest = slot::place(self.shared.map.line(base)?[LINK].load(Ordering::Acquire));
            let (whole, _) = self.whole_of(base)?;
            let header = Header::load(self.word(whole)?);
            self.bury(whole, header)?;
        }
        Ok(())
    }

    /// Moves line `index` of the current table into the two lines of the next that it becomes. Any number may do so at once.
    fn move_line(&mut self, current: Table, next: Table, index: u64) -> Result<()> {
        let head = self.shared.map.line(current.line(index))?;
        let mut closed = false;
        for _ in 0..RETRIES {
            let seen = Guard::load(&head[0]);
            match seen.state() {
                LineState::Moved => return Ok(()),
                LineState::Pending => self.assist(&head[0], seen)?,
                LineState::Raw => return corrupt("a line that has been filled", current.line(index)),
                LineState::Idle | LineState::Frozen => closed = line::close(&head[0]),
            }
            if closed {
                break;
            }
        }
        if !closed {
            return Err(Error::Again("a line that others keep writing to"));
        }
        let mut moving = std::mem::take(&mut self.local.moving);
        let moved = self.move_frozen(head, current, next, index, &mut moving);
        self.local.moving = moving;
        moved
    }

    fn move_frozen(
        &mut self,
        head: &'a [AtomicU64; 8],
        current: Table,
        next: Table,
        index: u64,
        moving: &mut Moving,
    ) -> Result<()> {
        self.freeze_chain(head, &mut moving.entries)?;
        for half in 0..2 {
            let target = index + half * current.lines();
            let is_there = |&&(hash, _): &&(u64, u64)| hash & (next.lines() - 1) == target;
            moving.half.clear();
            moving
                .half
                .extend(moving.entries.iter().filter(is_there).map(|&(_, slot)| slot));
            self.fill_line(next, target, &moving.half)?;
        }
        line::mark_moved(&head[0]);
        Ok(())
    }

    /// Freezes every slot of a chain; finds what they hold, with hashes, in the order in which everybody finds it.
    fn freeze_chain(&self, head: &'a [AtomicU64; 8], entries: &mut Vec<(u64, u64)>) -> Result<()> {
        entries.clear();
        let mut words = head;
        for _ in 0..CHAIN_MAX {
            for word in &words[1..=SLOTS] {
                let value = line::freeze(word);
                if let Some(place) = slot::place(value) {
                    entries.push((Entry::load(self.shared, place)?.hash(), value));
                }
            }
            match slot::place(line::freeze(&words[LINK])) {
                Some(base) => words = self.shared.map.line(base)?,
                None => return Ok(()),
            }
        }
        corrupt("a chain of lines that ends", 0)
    }

    fn fill_line(&mut self, table: Table, index: u64, slots: &[u64]) -> Result<()> {
        let words = self.shared.map.line(table.line(index))?;
        if Guard::load(&words[0]).state() != LineState::Raw {
            return Ok(());
        }
        let (first, more) = slots.split_at(slots.len().min(SLOTS));
        for (at, word) in words[1..=SLOTS].iter().enumerate() {
            line::fill(word, first.get(at).copied().unwrap_or(EMPTY));
        }
        if words[LINK].load(Ordering::Acquire) == 0 {
            let chain = self.create_chain(table, index, more)?;
            if line::fill(&words[LINK], chain.unwrap_or(EMPTY)) {
                self.declare_chain(chain)?;
            } else {
                self.discard_chain(chain)?;
            }
        }
        line::open(&words[0]);
        Ok(())
    }

    /// Overflow lines that hold `slots`, linked to each other and to nothing else.
    fn create_chain(&mut self, table: Table, index: u64, slots: &[u64]) -> Result<Option<u64>> {
        let mut behind = None;
        for chunk in slots.chunks(SLOTS).rev() {
            match self.create_overflow(table.mark(index), chunk, behind) {
                Ok(base) => behind = Some(base),
                Err(error) => {
                    self.discard_chain(behind)?;
                    return Err(error);
                }
            }
        }
        Ok(behind)
    }

    fn create_overflow(&mut self, mark: u64, slots: &[u64], behind: Option<u64>) -> Result<u64> {
        let whole = self.allocate(128, TAG_LINE)?;
        let base = base_in(whole);
        self.word(base - 8)?.store(whole, Ordering::Relaxed);
        let words = self.shared.map.line(base)?;
        words[0].store(mark, Ordering::Relaxed);
        for (at, word) in words[1..=SLOTS].iter().enumerate() {
            word.store(slots.get(at).copied().unwrap_or(EMPTY), Ordering::Relaxed);
        }
        words[LINK].store(behind.unwrap_or(EMPTY), Ordering::Release);
        Ok(base)
    }

    fn each_of_chain(
        &mut self,
        first: Option<u64>,
        mut step: impl FnMut(&mut Self, u64) -> Result<()>,
    ) -> Result<()> {
        let mut rest = first;
        for _ in 0..CHAIN_MAX {
            let Some(base) = rest else { break };
            rest = slot::place(self.shared.map.line(base)?[LINK].load(Ordering::Acquire));
            let (whole, _) = self.whole_of(base)?;
            step(self, whole)?;
        }
        Ok(())
    }

    fn declare_chain(&mut self, first: Option<u64>) -> Result<()> {
        self.each_of_chain(first, |actor, whole| actor.declare(whole))
    }

    fn discard_chain(&mut self, first: Option<u64>) -> Result<()> {
        self.each_of_chain(first, |actor, whole| actor.discard(whole))
    }

    /// Appends an empty line to the chain whose last link, at `place`, was seen to be `link` when the guard was `seen`.
    pub(crate) fn extend_chain(
        &mut self,
        hash: u64,
        head: u64,
        seen: Guard,
        (place, link): (u64, u64),
    ) -> Result<()> {
        let Some(mark) = self.mark_of(hash, head)? else {
            return Ok(());
        };
        let base = self.create_overflow(mark, &[], None)?;
        let (whole, _) = self.whole_of(base)?;
        let guard = &self.shared.map.line(head)?[0];
        match line::decide(
            guard,
            seen,
            self.me,
            self.intent_of(self.slot)?,
            place,
            link,
            base,
        ) {
            Some(pending) => {
                line::finish(guard, pending, self.word(place)?, link, base);
                self.declare(whole)
            }
            None => self.discard(whole),
        }
    }

    /// What an overflow line below `head` has to say of itself; `None` if the table is not used any more.
    fn mark_of(&self, hash: u64, head: u64) -> Result<Option<u64>> {
        for which in [at::TABLE, at::TABLE_NEXT] {
            if let Some(table) = self.shared.table(which)?
                && table.head(hash) == head
            {
                return Ok(Some(table.mark(hash & (table.lines() - 1))));
            }
        }
        Ok(None)
    }

    /// Makes a pending insertion visible.
    pub(crate) fn assist(&self, guard: &AtomicU64, pending: Guard) -> Result<()> {
        let index = u64::from(pending.owner().0).wrapping_sub(1);
        if index >= self.shared.layout.sessions {
            return corrupt("a guard whose owner is a session", 0);
        }
        let intent = self.intent_of(self.shared.layout.session(index))?;
        line::assist(guard, pending, intent, |place| {
            self.shared.layout.volume_of(place)?;
            self.word(place)
        })
    }

    pub(crate) fn intent_of(&self, session: u64) -> Result<line::Intent<'a>> {
        let words = self.shared.map.words(session + field::INTENT, 4)?;
        Ok(line::Intent {
            guard: &words[0],
            place: &words[1],
            expected: &words[2],
            new: &words[3],
        })
    }

    /// Whether a table, an overflow line or a run of volumes that starts at `whole` is part of the map.
    pub(crate) fn is_part_of_map(&self, whole: u64, tag: u16) -> Result<bool> {
        let base = base_in(whole);
        // In this order: the next table becomes the current one before it stops being the next.
        let next = self.shared.table(at::TABLE_NEXT)?;
        let tables = [self.shared.table(at::TABLE)?, next];
        if tag != TAG_LINE {
            let is_ring = |root| self.shared.fixed(root).load(Ordering::Acquire) == base;
            return Ok(is_ring(at::QUEUES)
                || is_ring(at::KEPT)
                || tables.iter().flatten().any(|table| table.base == base));
        }
        let mark = self.shared.map.line(base)?[0].load(Ordering::Acquire);
        let index = (mark & ((1 << 38) - 1)) >> 1;
        let Some(table) = tables
            .into_iter()
            .flatten()
            .find(|table| table.number() == mark >> 38)
        else {
            return Ok(false);
        };
        if index >= table.lines() {
            return Ok(false);
        }
        let head = self.shared.map.line(table.line(index))?;
        let seen = Guard::load(&head[0]);
        if seen.state() == LineState::Pending {
            self.assist(&head[0], seen)?;
        }
        let mut words = head;
        for _ in 0..CHAIN_MAX {
            match slot::place(words[LINK].load(Ordering::Acquire)) {
                Some(found) if found == base => return Ok(true),
                Some(found) => words = self.shared.map.line(found)?,
                None => return Ok(false),
            }
        }
        Ok(false)
    }

    /// The tag of an allocated object.
    pub(crate) fn tag(&self, offset: u64) -> Result<u16> {
        Ok(tag_of(self.word(offset + 8)?.load(Ordering::Acquire)))
    }
}

/// Where the lines begin in the memory that starts at `whole`: on a line of their own, a word left before them to lead back.
fn base_in(whole: u64) -> u64 {
    (whole + HEADER_LEN + 8).next_multiple_of(64)
}
