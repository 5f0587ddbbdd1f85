//! Superblocks: up to 64 objects of a class, and the ways in which they go round.
//!
//! ```text
//!   0  header   8  size and tag   16  what it holds   24  bitmap of free objects   32  link   40  listed   48  unused
//!  64  first object
//! ```
//!
//! A superblock with free objects is *listed*: it is an active slot or on a stack, or in the hand of the session that moves it from
//! one to the other, which its slot in the table of sessions names. One that is full is not listed until somebody frees an object in it. Both are hints: a
//! superblock may be used by several at once, and one that got lost with its mover is found again by whoever cleans up.

use crate::actor::{Actor, Remains};
use crate::class::{Class, Parent, SUPERBLOCK_LEN, VOLUME_CLASS};
use crate::error::{Error, Result, corrupt};
use crate::heap::{VolumeState, VolumeWord};
use crate::layout::{GROUPS, SIEVE};
use crate::protocol::header::{self, Header, Owner, State};
use crate::protocol::{RETRIES, stack};
use crate::session::{SlotState, field};
use crate::sync::{AtomicU64, Ordering};

const MARK: u64 = 0x5b1c_7e9d_0000_0000;
const LISTED: u64 = 1;
/// Empty superblocks that a session sees before it looks whether some can be given back.
const PURGE_AT: u32 = 16;

/// Objects that a magazine is filled up with at once.
const REFILL_MAX: u32 = 32;

/// Where a superblock is that says it is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whereabouts {
    /// In an active slot or on a stack.
    Circulating,
    /// A living session may have it in its hand, or may have tried to take it.
    InHand,
    /// Nowhere.
    Lost,
    /// Things moved too fast to tell.
    Unknown,
}

#[derive(Clone, Copy)]
pub(crate) struct Superblock<'a> {
    pub(crate) offset: u64,
    pub(crate) class_number: u8,
    pub(crate) class: &'a Class,
    words: &'a [AtomicU64; 8],
}

impl<'a> Superblock<'a> {
    /// The place of object `index`.
    pub(crate) fn object(&self, index: u32) -> u64 {
        self.offset + SUPERBLOCK_LEN + u64::from(index) * self.class.footprint
    }

    pub(crate) fn header_word(&self) -> &'a AtomicU64 {
        &self.words[0]
    }

    pub(crate) fn free(&self) -> &'a AtomicU64 {
        &self.words[3]
    }

    fn link(&self) -> &'a AtomicU64 {
        &self.words[4]
    }

    pub(crate) fn listed(&self) -> &'a AtomicU64 {
        &self.words[5]
    }

    pub(crate) fn is_listed(&self) -> bool {
        self.listed().load(Ordering::SeqCst) != 0
    }
}

impl<'a> Actor<'a> {
    /// The superblock at `offset`, if that is one, of class `expected` where it is given.
    pub(crate) fn superblock(&self, offset: u64, expected: Option<u8>) -> Result<Superblock<'a>> {
        let volume = self.shared.layout.volume_of(offset)?;
        let words = self.shared.map.line(offset)?;
        let volume_word = VolumeWord::load(self.shared.volume_word(volume)?);
        // Without memory there is nothing to look at; one that is held may be about to be opened by ourselves.
        if !matches!(volume_word.state(), VolumeState::Cut | VolumeState::Held)
            || Header::load(&words[0]).state() != State::Super
        {
            return corrupt("a superblock", offset);
        }
        let info = words[2].load(Ordering::Acquire);
        let class_number = info as u8;
        if info & !0xff != MARK || expected.is_some_and(|expected| expected != class_number) {
            return corrupt("a superblock of that class", offset);
        }
        let class = self.class(class_number)?;
        let end = offset + SUPERBLOCK_LEN + u64::from(class.count) * class.footprint;
        if end > self.shared.layout.volume_start(volume) + self.shared.layout.volume_size {
            return corrupt("a superblock that ends within its volume", offset);
        }
        Ok(Superblock {
            offset,
            class_number,
            class,
            words,
        })
    }

    /// The superblock in which an object lies, by what the object's header says of itself.
    fn superblock_above(&self, offset: u64, header: Header) -> Result<Superblock<'a>> {
        let class = self.class(header.class())?;
        let distance = SUPERBLOCK_LEN + u64::from(header.index()) * class.footprint;
        if header.index() >= class.count || distance > offset {
            return corrupt("an index within a superblock", offset);
        }
        self.superblock(offset - distance, Some(header.class()))
    }

    fn active(&self, group: u64, class: u8) -> &'a AtomicU64 {
        let offset = self.shared.layout.active(group, class);
        self.shared
            .map
            .word(offset)
            .expect("the table of heads lies in the region")
    }

    fn stack(&self, group: u64, class: u8) -> &'a AtomicU64 {
        let offset = self.shared.layout.active(group, class) + 8;
        self.shared
            .map
            .word(offset)
            .expect("the table of heads lies in the region")
    }

    /// Says, for whoever cleans up after us, which superblock we have between two places; 0 for none.
    fn hand(&self, offset: u64) {
        self.own(field::HAND).store(offset, Ordering::SeqCst);
    }

    /// Fills the magazine of a class with at least one object.
    pub(crate) fn refill(&mut self, class: u8) -> Result<()> {
        self.with_pin(|actor| actor.refill_pinned(class))
    }

    fn refill_pinned(&mut self, class: u8) -> Result<()> {
        let want = (self.class(class)?.magazine as u32 / 2).clamp(1, REFILL_MAX);
        let active = self.active(self.group(), class);
        for _ in 0..RETRIES {
            let seen = active.load(Ordering::Acquire);
            let offset = stack::top(seen);
            if offset == 0 {
                self.find_active(class, active)?;
                continue;
            }
            match self.superblock(offset, Some(class)) {
                Ok(block) => {
                    if self.take_from(block, want)? > 0 {
                        return Ok(());
                    }
                    self.retire_active(active, seen, Some(block))?;
                }
                // It was given back since, or a broken peer put nonsense there: either way it is not one.
                Err(_) => self.retire_active(active, seen, None)?,
            }
        }
        Err(Error::Again(
            "superblocks are being used up as fast as they are found",
        ))
    }

    /// Takes objects into the magazine.
    fn take_from(&mut self, block: Superblock<'a>, want: u32) -> Result<u32> {
        let map = &self.shared.map;
        let magazine = &mut self.local.magazines[usize::from(block.class_number)].objects;
        header::take(
            block.free(),
            want,
            self.me,
            |index| map.word(block.object(index)),
            |index| magazine.push(block.object(index)),
        )
    }

    /// Takes a used-up superblock out of the active slot.
    fn retire_active(&mut self, active: &AtomicU64, seen: u64, block: Option<Superblock<'a>>) -> Result<()> {
        self.hand(stack::top(seen));
        let emptied = stack::succeed(seen, 0);
        let mine = active
            .compare_exchange(seen, emptied, Ordering::SeqCst, Ordering::Relaxed)
            .is_ok();
        if let (true, Some(block)) = (mine, block) {
            return self.unlist(block);
        }
        self.hand(0);
        Ok(())
    }

    /// Takes a superblock that is in our hand out of circulation, unless somebody just freed an object in it.
    fn unlist(&mut self, block: Superblock<'a>) -> Result<()> {
        // Before the bitmap is read again, as whoever frees sets the bit before it reads this.
        block.listed().store(0, Ordering::SeqCst);
        if block.free().load(Ordering::SeqCst) != 0 {
            self.list(block)?;
        }
        self.hand(0);
        Ok(())
    }

    /// Puts a superblock that is not listed on our stack.
    pub(crate) fn list(&mut self, block: Superblock<'a>) -> Result<()> {
        self.hand(block.offset);
        if block
            .listed()
            .compare_exchange(0, LISTED, Ordering::SeqCst, Ordering::SeqCst)
            .is_ok()
        {
            self.stack_up(self.group(), block)?;
        }
        self.hand(0);
        Ok(())
    }

    /// Puts a superblock that is listed, but nowhere, on our stack, unless somebody else does.
    pub(crate) fn restack(&mut self, block: Superblock<'a>) -> Result<()> {
        self.hand(block.offset);
        let listed = block.listed().load(Ordering::SeqCst);
        let mine = LISTED | u64::from(self.me.0) << 8;
        // Two may have found it lost, as two of the dead may have had a hand on it.
        if listed != 0
            && listed != mine
            && block
                .listed()
                .compare_exchange(listed, mine, Ordering::SeqCst, Ordering::SeqCst)
                .is_ok()
        {
            self.stack_up(self.group(), block)?;
            let _ = block
                .listed()
                .compare_exchange(mine, LISTED, Ordering::SeqCst, Ordering::SeqCst);
        }
        self.hand(0);
        Ok(())
    }

    /// Puts a superblock that is listed and in our hand on a stack.
    fn stack_up(&mut self, group: u64, block: Superblock<'a>) -> Result<()> {
        if stack::push(self.stack(group, block.class_number), block.offset, block.link()) {
            self.hand(0);
            return Ok(());
        }
        Err(Error::Again("a stack of superblocks that others keep changing"))
    }

    /// Takes a superblock off a stack, into our hand.
    fn unstack(&mut self, group: u64, class: u8) -> Result<Option<Superblock<'a>>> {
        let head = self.stack(group, class);
        let hand = self.own(field::HAND);
        let popped = stack::pop(
            head,
            |offset| hand.store(offset, Ordering::SeqCst),
            |offset| self.shared.map.word(offset + 32),
        );
        let Some(offset) = popped.inspect_err(|_| self.hand(0))? else {
            self.hand(0);
            return Ok(None);
        };
        match self.superblock(offset, Some(class)) {
            Ok(block) => Ok(Some(block)),
            Err(error) => {
                self.hand(0);
                Err(error)
            }
        }
    }

    /// Finds a superblock for the empty active slot.
    fn find_active(&mut self, class: u8, active: &AtomicU64) -> Result<()> {
        let own = self.group();
        for group in (own..GROUPS).chain(0..own).chain([SIEVE]) {
            if let Some(block) = self.unstack(group, class)? {
                return self.activate(active, block);
            }
        }
        // The active slot of another group may have plenty.
        for group in 0..GROUPS {
            let other = stack::top(self.active(group, class).load(Ordering::Acquire));
            if other == 0 {
                continue;
            }
            if let Ok(block) = self.superblock(other, Some(class))
                && block.free().load(Ordering::Acquire).count_ones() > block.class.count / 2
                && self.shared.layout.volumes < 64
            {
                // Only in a small region is sharing one better than having one's own.
                return self.share_active(active, self.active(group, class), block);
            }
        }
        let block = self.create_superblock(class)?;
        self.activate(active, block)
    }

    /// Moves another group's active superblock to our slot.
    fn share_active(&mut self, active: &AtomicU64, other: &AtomicU64, block: Superblock<'a>) -> Result<()> {
        let seen = other.load(Ordering::Acquire);
        if stack::top(seen) != block.offset {
            return Ok(());
        }
        self.hand(block.offset);
        let emptied = stack::succeed(seen, 0);
        if other
            .compare_exchange(seen, emptied, Ordering::SeqCst, Ordering::Relaxed)
            .is_err()
        {
            self.hand(0);
            return Ok(());
        }
        self.activate(active, block)
    }

    /// Puts a superblock that is in our hand into the active slot, or on the stack if that is taken.
    fn activate(&mut self, active: &AtomicU64, block: Superblock<'a>) -> Result<()> {
        let seen = active.load(Ordering::Acquire);
        if stack::top(seen) == 0 {
            let filled = stack::succeed(seen, block.offset);
            if active
                .compare_exchange(seen, filled, Ordering::SeqCst, Ordering::Relaxed)
                .is_ok()
            {
                self.hand(0);
                return Ok(());
            }
        }
        self.stack_up(self.group(), block)
    }

    /// Makes a superblock of an object of the parent class, or of a volume; it is in our hand.
    fn create_superblock(&mut self, class_number: u8) -> Result<Superblock<'a>> {
        let class = self.class(class_number)?;
        let (offset, header) = match class.parent {
            Parent::Class(parent) => {
                let offset = loop {
                    match self.local.magazines[usize::from(parent)].objects.pop() {
                        Some(offset) => break offset,
                        None => self.refill_pinned(parent)?,
                    }
                };
                (offset, Header::load(self.word(offset)?))
            }
            Parent::Volume => self.open_volume()?,
        };
        if !header.is(State::Held, self.me) {
            return corrupt("an object that its holder holds", offset);
        }
        let words = self.shared.map.line(offset)?;
        header::before_writing();
        words[2].store(MARK | u64::from(class_number), Ordering::Relaxed);
        words[3].store(class.all_free(), Ordering::Relaxed);
        words[4].store(0, Ordering::Relaxed);
        words[5].store(LISTED, Ordering::Relaxed);
        let generation = self.number();
        for index in 0..class.count {
            let place = offset + SUPERBLOCK_LEN + u64::from(index) * class.footprint;
            let free = Header::new(State::Free, class_number, index, Owner::NOBODY, generation);
            self.word(place)?.store(free.0, Ordering::Relaxed);
        }
        self.hand(offset);
        header.set(&words[0], State::Super, Owner::NOBODY);
        if class.parent == Parent::Volume {
            self.finish_volume(offset)?;
        }
        self.superblock(offset, Some(class_number))
    }

    /// Gives objects that are ours back to their superblocks. Sorted, those of a superblock go in one step.
    pub(crate) fn release_all(&mut self, objects: &[u64]) -> Result<()> {
        let was_pinned = self.own(field::PIN).load(Ordering::Relaxed) != 0;
        let mut result = Ok(());
        let mut rest = objects;
        while let Some(&first) = rest.first() {
            let (done, purge) = self.with_pin(|actor| actor.release_some(rest));
            rest = &rest[done..];
            // What is damaged must not keep the others from coming back.
            result = match purge {
                Ok(Some(class)) if !was_pinned => result.and(self.purge(class).map(drop)),
                other => result.and(other.map(drop)),
            };
            debug_assert!(done > 0, "{first}");
        }
        result
    }

    /// Gives back those of the objects that lie in the superblock of the first. Returns how many of them are dealt with, and the class if it is time for a
    /// purge.
    fn release_some(&mut self, objects: &[u64]) -> (usize, Result<Option<u8>>) {
        match self.release_beside(objects) {
            Ok((done, purge)) => (done, Ok(purge)),
            Err(error) => (1, Err(error)),
        }
    }

    fn release_beside(&mut self, objects: &[u64]) -> Result<(usize, Option<u8>)> {
        let Some((&first, beside)) = objects.split_first() else {
            return Ok((0, None));
        };
        let held = |offset| {
            let word = self.word(offset)?;
            let header = Header::load(word);
            Ok::<_, Error>(header.is(State::Held, self.me).then_some((word, header)))
        };
        let Some((word, header)) = held(first)? else {
            return Ok((1, None));
        };
        let block = self.superblock_above(first, header)?;
        let beside = beside.iter().map_while(|&offset| match held(offset) {
            Ok(Some((word, header)))
                if header.class() == block.class_number
                    && header.index() < block.class.count
                    && block.object(header.index()) == offset =>
            {
                Some((word, header))
            }
            _ => None,
        });
        let (before, bits) = header::release(std::iter::once((word, header)).chain(beside), block.free());
        if !block.is_listed() {
            self.list(block)?;
        }
        let mut purge = None;
        if before | bits == block.class.all_free() {
            let empties = &mut self.local.empties[usize::from(block.class_number)];
            *empties += 1;
            purge = (*empties >= PURGE_AT).then_some(block.class_number);
        }
        Ok((bits.count_ones() as usize, purge))
    }

    /// Gives the empty superblocks of a class back. Returns whether there were any.
    pub(crate) fn purge(&mut self, class: u8) -> Result<bool> {
        self.local.empties[usize::from(class)] = 0;
        self.with_pin(|actor| actor.purge_pinned(class))
    }

    fn purge_pinned(&mut self, class: u8) -> Result<bool> {
        let mut any = false;
        for group in 0..GROUPS {
            let active = self.active(group, class);
            let seen = active.load(Ordering::Acquire);
            if let Ok(block) = self.superblock(stack::top(seen), Some(class))
                && block.free().load(Ordering::Acquire) == block.class.all_free()
            {
                self.hand(block.offset);
                let emptied = stack::succeed(seen, 0);
                if active
                    .compare_exchange(seen, emptied, Ordering::SeqCst, Ordering::Relaxed)
                    .is_ok()
                {
                    any |= self.dissolve(block, group)?;
                }
                self.hand(0);
            }
            any |= self.sift(group, SIEVE, class)?;
        }
        // Those that stay go back to where they are looked for first.
        any |= self.sift(SIEVE, self.group(), class)?;
        Ok(any)
    }

    /// Moves the superblocks of a stack to another, without the empty ones.
    fn sift(&mut self, from: u64, to: u64, class: u8) -> Result<bool> {
        let mut any = false;
        let most = self.shared.layout.len / SUPERBLOCK_LEN;
        for _ in 0..most {
            let Some(block) = self.unstack(from, class)? else {
                break;
            };
            if block.free().load(Ordering::Acquire) == block.class.all_free() {
                any |= self.dissolve(block, to)?;
            } else {
                self.stack_up(to, block)?;
            }
        }
        Ok(any)
    }

    /// Retires a superblock in our hand if we get hold of all its objects; otherwise puts it on a stack.
    fn dissolve(&mut self, block: Superblock<'a>, group: u64) -> Result<bool> {
        let mut claimed = 0;
        while claimed < block.class.count && header::claim(self.word(block.object(claimed))?, self.me) {
            claimed += 1;
        }
        if claimed == block.class.count {
            block.listed().store(0, Ordering::SeqCst);
            let header = Header::load(block.header_word());
            if header.state() == State::Super
                && header
                    .step(block.header_word(), State::Retired, self.me)
                    .is_some()
            {
                self.hand(0);
                self.retire(block.offset, Remains::Superblock)?;
                return Ok(true);
            }
            self.hand(0);
            return corrupt("a superblock", block.offset);
        }
        for index in 0..claimed {
            let word = self.word(block.object(index))?;
            let header = Header::load(word);
            if header.is(State::Held, self.me) {
                header::release([(word, header)].into_iter(), block.free());
            }
        }
        self.stack_up(group, block)?;
        Ok(false)
    }

    /// Gives the memory of a superblock that nobody can be looking at any more to the level above.
    pub(crate) fn free_superblock(&mut self, offset: u64) -> Result<()> {
        let word = self.word(offset)?;
        let header = Header::load(word);
        if !header.is(State::Retired, self.me) {
            return Ok(());
        }
        if header.class() == VOLUME_CLASS {
            return self.close_volume(offset);
        }
        header.set(word, State::Held, self.me);
        self.release_all(&[offset])
    }

    /// Where a listed superblock is.
    pub(crate) fn whereabouts(&self, block: Superblock<'a>) -> Result<Whereabouts> {
        let rows = || {
            (0..=SIEVE).flat_map(|group| {
                [
                    self.active(group, block.class_number),
                    self.stack(group, block.class_number),
                ]
            })
        };
        let before: Vec<u64> = rows().map(|word| word.load(Ordering::SeqCst)).collect();
        let most = self.shared.layout.len / SUPERBLOCK_LEN;
        let mut found = false;
        let mut in_hand = false;
        for (at, head) in before.iter().enumerate() {
            let mut offset = stack::top(*head);
            if at % 2 == 0 {
                found |= offset == block.offset;
                continue;
            }
            for _ in 0..most {
                if offset == 0 || found {
                    break;
                }
                found = offset == block.offset;
                offset = match self.shared.map.word(offset + 32) {
                    Ok(link) => stack::top(link.load(Ordering::Acquire) >> 6),
                    Err(_) => 0,
                };
            }
        }
        for index in 0..self.shared.sessions_used() {
            let hand = self
                .word(self.shared.layout.session(index) + field::HAND)?
                .load(Ordering::SeqCst);
            let status = self.shared.status(index)?;
            let elsewhere = self.shared.layout.session(index) != self.slot;
            let works = status.state() == SlotState::Active && !self.shared.is_orphan(status);
            in_hand |= hand == block.offset && elsewhere && works;
        }
        let unchanged = rows()
            .zip(&before)
            .all(|(word, before)| word.load(Ordering::SeqCst) == *before);
        Ok(match (found, in_hand) {
            _ if !unchanged => Whereabouts::Unknown,
            (true, _) => Whereabouts::Circulating,
            (false, true) => Whereabouts::InHand,
            (false, false) => Whereabouts::Lost,
        })
    }
}
