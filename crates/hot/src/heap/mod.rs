//! The allocator: objects from magazines, magazines from superblocks, superblocks from larger superblocks and these from volumes.
//!
//! The common case touches nothing that is shared: a session takes an object off its magazine and marks the header as
//! owned; freeing is the reverse. Magazines are filled from and emptied into superblocks in batches. Which superblock: the *active* one of the
//! session's concurrency group, else one from the group's stack, else one that another group has, else a fresh one.

mod superblock;
mod volume;
mod walk;

use crate::actor::{Actor, Remains};
use crate::class::{Class, HEADER_LEN, SUPERBLOCK_LEN};
use crate::error::{Error, Result, corrupt};
use crate::protocol::header::{self, Header, Owner, State};
use crate::raw::mapping::copy_bytes;
use crate::session::Session;
use crate::sync::{AtomicU64, Ordering};

pub(crate) use superblock::{Superblock, Whereabouts};
pub(crate) use volume::{VolumeState, VolumeWord};
pub(crate) use walk::{Found, Visit};

/// Tags from here on are the region's own.
pub(crate) const SYSTEM_TAGS: u16 = 0xff00;
pub(crate) const TAG_ENTRY: u16 = 0xff01;
pub(crate) const TAG_LINE: u16 = 0xff02;
pub(crate) const TAG_TABLE: u16 = 0xff03;
pub(crate) const TAG_NODE: u16 = 0xff04;

/// Bits of the second header word that hold the size asked for; the tag is above them.
const SIZE_BITS: u32 = 40;

/// An allocated object: the place of its payload in the region, the same in every process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Object(pub(crate) u64);

impl Object {
    /// The place, in bytes from the region's start: what to store in shared structures.
    pub fn offset(self) -> u64 {
        self.0
    }

    /// The object at a place that [`offset`](Object::offset) gave. A wrong one is found out when it is used.
    pub fn at(offset: u64) -> Object {
        Object(offset)
    }
}

pub(crate) fn pack_size(size: u64, tag: u16) -> u64 {
    size | u64::from(tag) << SIZE_BITS
}

pub(crate) fn size_of(word: u64) -> u64 {
    word & ((1 << SIZE_BITS) - 1)
}

pub(crate) fn tag_of(word: u64) -> u16 {
    (word >> SIZE_BITS) as u16
}

impl<'a> Actor<'a> {
    pub(crate) fn class(&self, number: u8) -> Result<&'a Class> {
        match self.shared.layout.classes.class(number) {
            Some(class) => Ok(class),
            None => corrupt("a size class that exists", u64::from(number)),
        }
    }

    /// Allocates `size` bytes and returns the place of the header. The object is owned by this session.
    #[inline]
    pub(crate) fn allocate(&mut self, size: u64, tag: u16) -> Result<u64> {
        let Some(class) = self.shared.layout.classes.for_payload(size) else {
            return Err(Error::Invalid("an object larger than a volume holds"));
        };
        loop {
            let Some(offset) = self.local.magazines[usize::from(class)].objects.pop() else {
                self.refill(class)?;
                continue;
            };
            let words = self.shared.map.words(offset, 2)?;
            let header = Header::load(&words[0]);
            if !header.is(State::Held, self.me) {
                // A broken peer took it. It is his.
                continue;
            }
            header::before_writing();
            words[1].store(pack_size(size, tag), Ordering::Relaxed);
            header.set(&words[0], State::Owned, self.me);
            return Ok(offset);
        }
    }

    /// Takes back an object that this session owns and never showed to anybody.
    #[inline]
    pub(crate) fn discard(&mut self, offset: u64) -> Result<()> {
        let word = self.word(offset)?;
        let header = Header::load(word);
        if !header.is(State::Owned, self.me) {
            return corrupt("an object that its owner owns", offset);
        }
        let held = header.next(State::Held, self.me);
        self.stow(offset, word, held)
    }

    /// Puts an object whose header only we may change into the magazine; the header becomes `held`.
    #[inline]
    pub(crate) fn stow(&mut self, offset: u64, word: &AtomicU64, held: Header) -> Result<()> {
        let class = held.class();
        let Some(magazine) = self.local.magazines.get_mut(usize::from(class)) else {
            return corrupt("a size class that exists", offset);
        };
        word.store(held.0, Ordering::Release);
        magazine.objects.push(offset);
        if magazine.objects.len() > magazine.room {
            let keep = magazine.room / 2;
            self.spill(class, keep)
        } else {
            Ok(())
        }
    }

    /// Marks an object that we have just unlinked, and lets it wait for its readers. `false` if somebody else has it already: a
    /// recovery that took us for gone can't have been, but one that found our dead predecessor's intent may.
    pub(crate) fn bury(&mut self, offset: u64, header: Header) -> Result<bool> {
        self.bury_word(offset, self.word(offset)?, header)
    }

    /// The same for one who has its header's word at hand.
    #[inline]
    pub(crate) fn bury_word(&mut self, offset: u64, word: &AtomicU64, header: Header) -> Result<bool> {
        let mut seen = header;
        for _ in 0..8 {
            if !matches!(seen.state(), State::Live | State::Owned) {
                return Ok(false);
            }
            if seen.step(word, State::Retired, self.me).is_some() {
                self.retire(offset, Remains::Object)?;
                return Ok(true);
            }
            // The one step that may come between: the inserter declares its own entry live.
            seen = Header::load(word);
            if seen != header.next(State::Live, Owner::NOBODY) {
                return Ok(false);
            }
        }
        Ok(false)
    }

    /// Finds space where there seems to be none: from the dead, the retired, magazines of other classes and empty superblocks.
    pub(crate) fn relieve(&mut self) -> Result<()> {
        self.recover_dead()?;
        if self.shared.has_views {
            self.with_pin(|actor| actor.reap())?;
        }
        self.trim()
    }

    /// Gives back all free memory that this session can lay hands on.
    pub(crate) fn trim(&mut self) -> Result<()> {
        // A superblock that is given back waits for its era, and only then can the one above it be empty.
        for _ in 0..24 {
            self.empty_magazines()?;
            let mut busy = self.has_limbo();
            for class in 0..self.shared.layout.classes.len() as u8 {
                busy |= self.purge(class)?;
            }
            let era = self.era();
            self.collect()?;
            if !busy || (self.era() == era && self.has_limbo()) {
                break;
            }
        }
        self.empty_magazines()?;
        self.trim_volumes(0)
    }

    pub(crate) fn empty_magazines(&mut self) -> Result<()> {
        for class in 0..self.local.magazines.len() as u8 {
            self.spill(class, 0)?;
        }
        Ok(())
    }

    /// Moves objects from a magazine back to their superblocks until `keep` are left.
    #[cold]
    fn spill(&mut self, class: u8, keep: usize) -> Result<()> {
        let magazine = &mut self.local.magazines[usize::from(class)].objects;
        let surplus = magazine.len().saturating_sub(keep);
        // Those that lay there longest. Sorted, because those of one superblock go back in one step.
        let mut objects: Vec<u64> = magazine.drain(..surplus).collect();
        objects.sort_unstable();
        self.release_all(&objects)
    }

    /// Checks that an object's header stands where its superblocks, from the volume down, have one.
    pub(crate) fn check_place(&self, offset: u64) -> Result<()> {
        let volume = self.shared.layout.volume_of(offset)?;
        let word = VolumeWord::load(self.word(self.shared.layout.volume_word(volume))?);
        if word.state() != VolumeState::Cut {
            return corrupt("an object in a volume that holds objects", offset);
        }
        let mut block = self.superblock_of_volume(volume)?;
        loop {
            let from_first = offset.wrapping_sub(block.offset + SUPERBLOCK_LEN);
            let index = from_first / block.class.footprint;
            if offset < block.offset + SUPERBLOCK_LEN || index >= u64::from(block.class.count) {
                return corrupt("an object inside its superblock", offset);
            }
            let place = block.object(index as u32);
            if place == offset {
                let header = Header::load(self.word(offset)?);
                if header.class() != block.class_number || u64::from(header.index()) != index {
                    return corrupt("a header that fits its place", offset);
                }
                return Ok(());
            }
            block = self.superblock(place, None)?;
        }
    }
}

/// Allocation for callers who keep structures of their own in a region.
impl Session {
    /// Allocates `size` bytes at a multiple of `align` (a power of two up to 4096; 0 for 16), with a tag of the caller's choice below `0xff00`.
    ///
    /// The object is this session's until it is [shared](Session::share): if the process dies it comes back.
    /// What the bytes hold at first is anything.
    ///
    /// ```
    /// # use weald_hot::{Region, RegionOptions, Error};
    /// # let region = Region::anonymous(&RegionOptions { capacity: 16 << 20, ..Default::default() })?;
    /// # let session = region.join("example")?;
    /// let object = session.alloc(100, 64, 7)?;
    /// assert_eq!(object.offset() % 64, 0);
    /// session.write(object, 0, b"some bytes")?;
    /// session.free(object)?;
    /// assert!(matches!(session.free(object), Err(Error::Invalid(_))));
    /// # Ok::<(), weald_hot::Error>(())
    /// ```
    #[inline]
    pub fn alloc(&self, size: u64, align: u64, tag: u16) -> Result<Object> {
        if tag < SYSTEM_TAGS
            && matches!(align, 0 | 1 | 2 | 4 | 8 | 16)
            && let Some(object) = self.take_ready(size, tag)
        {
            return Ok(object);
        }
        self.alloc_slowly(size, align, tag)
    }

    /// An object from the magazine, if there is one and nothing is strange about it.
    #[inline(always)]
    fn take_ready(&self, size: u64, tag: u16) -> Option<Object> {
        let mut local = self.local.try_borrow_mut().ok()?;
        let class = self.shared.layout.classes.for_small_payload(size)?;
        let objects = &mut local.magazines.get_mut(usize::from(class))?.objects;
        let offset = *objects.last()?;
        let [word, size_word] = self.shared.map.nth_words(offset / 8, 2)? else {
            return None;
        };
        let header = Header::load(word);
        if !header.is(State::Held, self.owner) {
            return None;
        }
        objects.pop();
        header::before_writing();
        size_word.store(pack_size(size, tag), Ordering::Relaxed);
        let owned = header.next_from((State::Held, self.owner), (State::Owned, self.owner));
        word.store(owned.0, Ordering::Release);
        local.owned += 1;
        Some(Object(offset + HEADER_LEN))
    }

    /// Puts an object into the magazine, if that has room and nothing is strange about the object.
    #[inline(always)]
    fn put_ready(&self, object: Object) -> bool {
        let offset = object.0.wrapping_sub(HEADER_LEN);
        if self.shared.paranoid || !offset.is_multiple_of(16) || offset < self.shared.layout.data_start {
            return false;
        }
        let Some(word) = self.shared.map.nth_word(offset / 8) else {
            return false;
        };
        let Ok(mut local) = self.local.try_borrow_mut() else {
            return false;
        };
        let header = Header::load(word);
        let held = (State::Held, self.owner);
        let is_ours = header.is(State::Owned, self.owner);
        let next = if is_ours {
            header.next_from((State::Owned, self.owner), held)
        } else if header.is(State::Live, Owner::NOBODY) {
            header.next_from((State::Live, Owner::NOBODY), held)
        } else {
            return false;
        };
        let Some(magazine) = local.magazines.get_mut(usize::from(header.class())) else {
            return false;
        };
        if magazine.objects.len() >= magazine.room {
            return false;
        }
        magazine.objects.push(offset);
        word.store(next.0, Ordering::Release);
        local.owned = local.owned.saturating_sub(u64::from(is_ours));
        true
    }

    #[cold]
    #[inline(never)]
    fn alloc_slowly(&self, size: u64, align: u64, tag: u16) -> Result<Object> {
        if tag >= SYSTEM_TAGS {
            return Err(Error::Invalid("a tag that is reserved"));
        }
        if align > 16 {
            return self.alloc_aligned(size, align, tag);
        }
        if !matches!(align, 0 | 1 | 2 | 4 | 8 | 16) {
            return Err(Error::Invalid("an alignment that is no power of two up to 4096"));
        }
        let allocate = |actor: &mut Actor<'_>| {
            let offset = actor.allocate(size, tag)?;
            actor.local.owned += 1;
            Ok(Object(offset + HEADER_LEN))
        };
        match self.act_unpinned(allocate) {
            Err(Error::Full(_)) => {
                self.act_unpinned(|actor| actor.relieve())?;
                self.act_unpinned(allocate)
            }
            other => other,
        }
    }

    fn alloc_aligned(&self, size: u64, align: u64, tag: u16) -> Result<Object> {
        if !align.is_power_of_two() || align > 4096 {
            return Err(Error::Invalid("an alignment that is no power of two up to 4096"));
        }
        let padded = size
            .checked_add(align)
            .ok_or(Error::Invalid("an object larger than a volume holds"))?;
        let object = self.alloc(padded, 16, tag)?;
        let payload = object.0.next_multiple_of(align);
        if payload != object.0 {
            // At least 16 bytes lie between, where a signpost to the header fits.
            let shifted = Header((payload - object.0) << 3 | State::Shifted as u64);
            self.shared
                .map
                .word(payload - HEADER_LEN)?
                .store(shifted.0, Ordering::Release);
        }
        self.shared
            .map
            .word(object.0 - 8)?
            .store(pack_size(size, tag), Ordering::Relaxed);
        Ok(Object(payload))
    }

    /// Frees an object of this session, or one that is shared. An object that is not allocated is [`Invalid`](Error::Invalid): so is the second of
    /// two frees. (Two threads that free one object at the same instant can't both be told, except in paranoid mode.)
    #[inline]
    pub fn free(&self, object: Object) -> Result<()> {
        if self.put_ready(object) {
            return Ok(());
        }
        self.free_slowly(object)
    }

    #[cold]
    #[inline(never)]
    fn free_slowly(&self, object: Object) -> Result<()> {
        let (offset, header) = self.header_of(object)?;
        self.act_unpinned(|actor| {
            let word = actor.word(offset)?;
            if actor.shared.paranoid {
                actor.check_place(offset)?;
            }
            match header.state() {
                State::Owned if header.owner() == actor.me => {
                    actor.local.owned = actor.local.owned.saturating_sub(1)
                }
                State::Live => {}
                State::Owned => return Err(Error::Invalid("an object that another session owns")),
                _ => return Err(Error::Invalid("an object that is not allocated")),
            }
            if actor.shared.paranoid {
                let held = header.step(word, State::Held, actor.me);
                let held = held.ok_or(Error::Invalid("an object that is not allocated"))?;
                return actor.stow(offset, word, held);
            }
            actor.stow(offset, word, header.next(State::Held, actor.me))
        })
    }

    /// Makes an object the region's: it outlives the session and its process, and anyone may free it.
    ///
    /// ```
    /// # use weald_hot::{Region, RegionOptions, Object};
    /// # let region = Region::anonymous(&RegionOptions { capacity: 16 << 20, ..Default::default() })?;
    /// # let session = region.join("example")?;
    /// let object = session.alloc(5, 0, 7)?;
    /// session.write(object, 0, b"bytes")?;
    /// session.share(object)?;
    /// session.put(b"where", &object.offset().to_le_bytes())?;
    ///
    /// let other = region.join("another process, say")?;
    /// let place = other.get(b"where")?.unwrap();
    /// let object = Object::at(u64::from_le_bytes(place.try_into().unwrap()));
    /// let mut bytes = [0; 5];
    /// other.read(object, 0, &mut bytes)?;
    /// assert_eq!(&bytes, b"bytes");
    /// other.free(object)?;
    /// # Ok::<(), weald_hot::Error>(())
    /// ```
    #[inline]
    pub fn share(&self, object: Object) -> Result<()> {
        let (offset, header) = self.header_of(object)?;
        let owned = (State::Owned, self.owner);
        match self.shared.map.nth_word(offset / 8) {
            Some(word) if header.is(owned.0, owned.1) => {
                let live = header.next_from(owned, (State::Live, Owner::NOBODY));
                word.store(live.0, Ordering::Release);
            }
            _ => return Err(Error::Invalid("an object that this session doesn't own")),
        }
        let mut local = self.local.borrow_mut();
        local.owned = local.owned.saturating_sub(1);
        Ok(())
    }

    /// The size and the tag that an object was allocated with.
    pub fn size_and_tag(&self, object: Object) -> Result<(u64, u16)> {
        let (offset, _) = self.allocated(object)?;
        let word = self.shared.map.word(offset + 8)?.load(Ordering::Acquire);
        Ok((size_of(word), tag_of(word)))
    }

    /// Checks one object: its header, its place in its superblocks and its size. [`Corrupt`](Error::Corrupt) if something is wrong.
    pub fn verify_object(&self, object: Object) -> Result<()> {
        let _pin = self.pin();
        let (offset, header) = self.allocated(object)?;
        self.act_unpinned(|actor| {
            actor.check_place(offset)?;
            let size = size_of(actor.word(offset + 8)?.load(Ordering::Acquire));
            let end = (object.0 - offset).checked_add(size);
            if end.is_none_or(|end| end > actor.class(header.class()).map_or(0, |class| class.footprint)) {
                return corrupt("an object within its footprint", offset);
            }
            Ok(())
        })
    }

    /// Writes `bytes` into an object, `at` bytes from its start.
    ///
    /// Who may write when is between the sessions that share the object. Bytes that are written while another reads
    /// may reach it in part.
    pub fn write(&self, object: Object, at: u64, bytes: &[u8]) -> Result<()> {
        let words = self.words_of(object, at, bytes.len() as u64)?;
        let lead = (at % 8) as usize;
        let mut rest = bytes;
        let mut shift = lead;
        for word in words {
            let n = rest.len().min(8 - shift);
            let mut buffer = if n == 8 {
                [0; 8]
            } else {
                word.load(Ordering::Relaxed).to_ne_bytes()
            };
            buffer[shift..shift + n].copy_from_slice(&rest[..n]);
            word.store(u64::from_ne_bytes(buffer), Ordering::Release);
            rest = &rest[n..];
            shift = 0;
        }
        Ok(())
    }

    /// Reads into `buffer` from an object, `at` bytes from its start.
    pub fn read(&self, object: Object, at: u64, buffer: &mut [u8]) -> Result<()> {
        let words = self.words_of(object, at, buffer.len() as u64)?;
        copy_bytes(words, (at % 8) as usize, buffer);
        Ok(())
    }

    /// The words that cover a range of an object.
    fn words_of(&self, object: Object, at: u64, len: u64) -> Result<&[AtomicU64]> {
        let (size, _) = self.size_and_tag(object)?;
        if at.checked_add(len).is_none_or(|end| end > size) {
            return Err(Error::Invalid("a range outside of the object"));
        }
        let start = object.0 + at / 8 * 8;
        self.shared
            .map
            .words(start, (object.0 + at + len - start).div_ceil(8))
    }

    /// Gives free memory back: magazines to superblocks, empty superblocks to volumes, empty volumes to the system. What others have in their
    /// magazines, or may still be reading, stays.
    pub fn trim(&self) -> Result<()> {
        if self.shared.has_views {
            self.act(|actor| actor.reap())?;
        }
        self.act_unpinned(|actor| actor.trim())
    }

    /// The place of an object's header, and the header.
    #[inline]
    fn header_of(&self, object: Object) -> Result<(u64, Header)> {
        const NOT_ONE: Error = Error::Invalid("an object that is not allocated");
        if !object.0.is_multiple_of(16) || object.0 < self.shared.layout.data_start + HEADER_LEN {
            return Err(NOT_ONE);
        }
        let Some(word) = self.shared.map.nth_word((object.0 - HEADER_LEN) / 8) else {
            return Err(NOT_ONE);
        };
        let header = Header::load(word);
        if header.state() != State::Shifted {
            return Ok((object.0 - HEADER_LEN, header));
        }
        let distance = header.0 >> 3;
        if distance > 4096 || !distance.is_multiple_of(16) || distance + HEADER_LEN > object.0 {
            return Err(NOT_ONE);
        }
        let offset = object.0 - distance - HEADER_LEN;
        Ok((offset, Header::load(self.shared.map.word(offset)?)))
    }

    fn allocated(&self, object: Object) -> Result<(u64, Header)> {
        let (offset, header) = self.header_of(object)?;
        match header.state() {
            State::Owned | State::Live => Ok((offset, header)),
            _ => Err(Error::Invalid("an object that is not allocated")),
        }
    }
}
