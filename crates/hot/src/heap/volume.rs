//! The pool of volumes: a word for each says what it is, and whose while it changes.

use crate::actor::Actor;
use crate::class::{VOLUME_CLASS, VOLUME_PREFIX};
use crate::error::{Error, Result, corrupt};
use crate::heap::Superblock;
use crate::layout::at;
use crate::protocol::header::{self, Header, Owner, State};
use crate::region::Shared;
use crate::sync::{AtomicU64, Ordering};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum VolumeState {
    /// Without memory.
    Absent = 0,
    /// With memory, and empty.
    Free = 1,
    /// Between two states, in the hands of the owner.
    Held = 2,
    /// Cut up into objects.
    Cut = 3,
    /// The first of a run that serves as one piece.
    Run = 4,
    /// One of a run, not the first.
    Tail = 5,
    /// A run that is being filled by the owner, or that the owner has unlinked.
    OwnedRun = 6,
}

/// One value of a volume's word: 4 bits of state, 12 of owner, 24 of length, 24 of generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct VolumeWord(pub(crate) u64);

impl VolumeWord {
    #[inline]
    pub(crate) fn load(word: &AtomicU64) -> VolumeWord {
        VolumeWord(word.load(Ordering::Acquire))
    }

    /// Whether the state is [`Absent`](VolumeState::Absent), asked for every entry that is read.
    #[inline]
    fn is_absent(self) -> bool {
        (self.0 & 15).wrapping_sub(1) >= VolumeState::OwnedRun as u64
    }

    pub(crate) fn state(self) -> VolumeState {
        match self.0 & 15 {
            1 => VolumeState::Free,
            2 => VolumeState::Held,
            3 => VolumeState::Cut,
            4 => VolumeState::Run,
            5 => VolumeState::Tail,
            6 => VolumeState::OwnedRun,
            _ => VolumeState::Absent,
        }
    }

    pub(crate) fn owner(self) -> Owner {
        Owner((self.0 >> 4) as u16 & Owner::MAX)
    }

    pub(crate) fn run_len(self) -> u64 {
        self.0 >> 16 & 0xff_ffff
    }

    pub(crate) fn next(self, state: VolumeState, owner: Owner, run_len: u64) -> VolumeWord {
        let generation = (self.0 >> 40).wrapping_add(1) << 40;
        VolumeWord(generation | (run_len & 0xff_ffff) << 16 | u64::from(owner.0) << 4 | state as u64)
    }

    pub(crate) fn step(
        self,
        word: &AtomicU64,
        state: VolumeState,
        owner: Owner,
        run_len: u64,
    ) -> Option<VolumeWord> {
        let next = self.next(state, owner, run_len);
        match word.compare_exchange(self.0, next.0, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => Some(next),
            Err(_) => None,
        }
    }
}

impl Shared {
    #[inline]
    pub(crate) fn volume_word(&self, volume: u64) -> Result<&AtomicU64> {
        self.map.word(self.layout.volume_word(volume))
    }

    /// Whether the volume under an offset has memory: only then may it be looked at.
    #[inline]
    pub(crate) fn is_backed(&self, offset: u64) -> Result<bool> {
        let volume = self.layout.volume_of(offset)?;
        Ok(!VolumeWord::load(self.volume_word(volume)?).is_absent())
    }

    /// The bytes from an offset to the end of its volume, if it lies in one with memory.
    #[inline(always)]
    pub(crate) fn backed_room(&self, offset: u64) -> Option<u64> {
        let volume = offset.wrapping_sub(self.layout.data_start) >> self.layout.volume_shift;
        if volume >= self.layout.volumes {
            return None;
        }
        let word = VolumeWord::load(self.map.nth_word(self.layout.volume_table / 8 + volume)?);
        (!word.is_absent()).then(|| self.layout.room_behind(offset))
    }

    /// `count` words from `offset` on, all in volumes with memory.
    pub(crate) fn backed_words(&self, offset: u64, count: u64) -> Result<&[AtomicU64]> {
        let words = self.map.words(offset, count)?;
        let last = offset + count.saturating_sub(1) * 8;
        for volume in self.layout.volume_of(offset)?..=self.layout.volume_of(last)? {
            if VolumeWord::load(self.volume_word(volume)?).state() == VolumeState::Absent {
                return corrupt("a range of volumes with memory", offset);
            }
        }
        Ok(words)
    }

    /// Volumes with memory, and the empty ones among them.
    pub(crate) fn count_volumes(&self) -> Result<(u64, u64)> {
        let (mut backed, mut free) = (0, 0);
        for volume in 0..self.layout.volumes {
            match VolumeWord::load(self.volume_word(volume)?).state() {
                VolumeState::Absent => {}
                VolumeState::Free => {
                    backed += 1;
                    free += 1;
                }
                _ => backed += 1,
            }
        }
        Ok((backed, free))
    }
}

impl<'a> Actor<'a> {
    pub(crate) fn superblock_of_volume(&self, volume: u64) -> Result<Superblock<'a>> {
        self.superblock(self.shared.layout.volume_start(volume) + VOLUME_PREFIX, None)
    }

    /// Takes a free volume, or one more from the system, and returns the place and header of the superblock that will span it.
    pub(crate) fn open_volume(&mut self) -> Result<(u64, Header)> {
        let volume = self.claim_volume()?;
        let offset = self.shared.layout.volume_start(volume) + VOLUME_PREFIX;
        let word = self.word(offset)?;
        let header = Header::new(State::Held, VOLUME_CLASS, 0, self.me, self.number());
        word.store(header.0, Ordering::Release);
        Ok((offset, header))
    }

    /// Opens a volume to others whose superblock is in place.
    pub(crate) fn finish_volume(&mut self, superblock: u64) -> Result<()> {
        let volume = self.shared.layout.volume_of(superblock)?;
        let word = self.shared.volume_word(volume)?;
        let seen = VolumeWord::load(word);
        if seen.state() != VolumeState::Held || seen.step(word, VolumeState::Cut, Owner::NOBODY, 1).is_none()
        {
            return corrupt(
                "a volume that its holder holds",
                self.shared.layout.volume_word(volume),
            );
        }
        Ok(())
    }

    fn claim_volume(&mut self) -> Result<u64> {
        let volumes = self.shared.layout.volumes;
        let hint = self.shared.fixed(at::VOLUME_HINT);
        let start = hint.load(Ordering::Relaxed) % volumes;
        for wanted in [VolumeState::Free, VolumeState::Absent] {
            for volume in (start..volumes).chain(0..start) {
                if self.claim_one(volume, wanted)? {
                    hint.store(volume, Ordering::Relaxed);
                    return Ok(volume);
                }
            }
        }
        Err(Error::Full("the region"))
    }

    /// Makes volume `volume` ours if it is in the state that is wanted, free or absent, and gets memory for it.
    fn claim_one(&mut self, volume: u64, wanted: VolumeState) -> Result<bool> {
        let word = self.shared.volume_word(volume)?;
        let seen = VolumeWord::load(word);
        if seen.state() != wanted {
            return Ok(false);
        }
        let Some(held) = seen.step(word, VolumeState::Held, self.me, 1) else {
            return Ok(false);
        };
        header::before_writing();
        if wanted == VolumeState::Absent
            && let Err(error) = self.shared.back_volume(volume)
        {
            held.step(word, VolumeState::Absent, Owner::NOBODY, 0);
            return Err(error);
        }
        Ok(true)
    }

    /// Takes back a volume whose superblock was retired by us.
    pub(crate) fn close_volume(&mut self, superblock: u64) -> Result<()> {
        let volume = self.shared.layout.volume_of(superblock)?;
        let word = self.shared.volume_word(volume)?;
        let seen = VolumeWord::load(word);
        if seen.state() == VolumeState::Cut && seen.step(word, VolumeState::Free, Owner::NOBODY, 0).is_some()
        {
            // One is kept, so that a single object that comes and goes doesn't cost system calls.
            self.trim_volumes(1)?;
        }
        Ok(())
    }

    /// Gives free volumes back to the system until `keep` are left.
    pub(crate) fn trim_volumes(&mut self, keep: u64) -> Result<()> {
        let mut free = 0;
        for volume in 0..self.shared.layout.volumes {
            let word = self.shared.volume_word(volume)?;
            let seen = VolumeWord::load(word);
            if seen.state() != VolumeState::Free {
                continue;
            }
            free += 1;
            if free > keep
                && let Some(held) = seen.step(word, VolumeState::Held, self.me, 0)
            {
                self.shared.unback_volume(volume);
                held.step(word, VolumeState::Absent, Owner::NOBODY, 0);
            }
        }
        Ok(())
    }

    /// Takes enough adjacent volumes for `len` bytes. Returns the place of the first; the run is owned by this session.
    pub(crate) fn allocate_run(&mut self, len: u64) -> Result<u64> {
        let count = len.div_ceil(self.shared.layout.volume_size);
        let volumes = self.shared.layout.volumes;
        let mut first = 0;
        while first + count <= volumes {
            let mut got = 0;
            while got < count
                && (self.claim_one(first + got, VolumeState::Free)?
                    || self
                        .claim_one(first + got, VolumeState::Absent)
                        .inspect_err(|_| {
                            let _ = self.unclaim(first, got);
                        })?)
            {
                got += 1;
            }
            if got < count {
                self.unclaim(first, got)?;
                first += got + 1;
                continue;
            }
            for volume in (first..first + count).rev() {
                let word = self.shared.volume_word(volume)?;
                let state = if volume == first {
                    VolumeState::OwnedRun
                } else {
                    VolumeState::Tail
                };
                let next =
                    VolumeWord::load(word).next(state, self.me, if volume == first { count } else { 0 });
                word.store(next.0, Ordering::Release);
            }
            return Ok(self.shared.layout.volume_start(first));
        }
        Err(Error::Full("the region, for a run of volumes"))
    }

    fn unclaim(&self, first: u64, count: u64) -> Result<()> {
        for volume in first..first + count {
            let word = self.shared.volume_word(volume)?;
            let seen = VolumeWord::load(word);
            if seen.state() == VolumeState::Held && seen.owner() == self.me {
                seen.step(word, VolumeState::Free, Owner::NOBODY, 0);
            }
        }
        Ok(())
    }

    /// Moves a run from owned to linked or back. `false` if it was not in the state that `from` says.
    pub(crate) fn step_run(
        &self,
        offset: u64,
        from: VolumeState,
        to: VolumeState,
        owner: Owner,
    ) -> Result<bool> {
        let word = self.shared.volume_word(self.shared.layout.volume_of(offset)?)?;
        let seen = VolumeWord::load(word);
        Ok(seen.state() == from && seen.step(word, to, owner, seen.run_len()).is_some())
    }

    /// Frees the volumes of a run that this session owns.
    pub(crate) fn free_run(&mut self, offset: u64) -> Result<()> {
        let first = self.shared.layout.volume_of(offset)?;
        let head = VolumeWord::load(self.shared.volume_word(first)?);
        if head.state() != VolumeState::OwnedRun || head.owner() != self.me {
            return Ok(());
        }
        let end = (first + head.run_len()).min(self.shared.layout.volumes);
        // One who died here may have freed the last of them, and others use them now. A tail of theirs has a head of theirs before it.
        let mut last = first;
        while last + 1 < end
            && VolumeWord::load(self.shared.volume_word(last + 1)?).state() == VolumeState::Tail
        {
            last += 1;
        }
        // The head last: as long as it stands, the tails are known to be its own.
        for volume in (first..=last).rev() {
            let word = self.shared.volume_word(volume)?;
            VolumeWord::load(word).step(word, VolumeState::Free, Owner::NOBODY, 0);
        }
        self.trim_volumes(1)
    }
}
