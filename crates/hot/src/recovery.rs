//! Cleaning up after the dead.
//!
//! A dead session has left behind, at most: objects whose headers name it as their owner; one entry that it had unlinked and not
//! yet retired, which its slot names; one superblock between two places, which its slot names; volumes in its hands. A walk over all headers
//! finds the first and decides about each by one compare-and-swap; the rest is looked up. Every step may be repeated, so whoever
//! cleans up may die as well, and several may clean up after different sessions at once.
//!
//! Nobody waits for any of this. What is not cleaned up yet is only memory that can't be used.

use crate::actor::{Actor, Remains};
use crate::class::VOLUME_CLASS;
use crate::error::{Error, Result};
use crate::heap::{
    Found, Superblock, TAG_ENTRY, TAG_LINE, TAG_NODE, TAG_TABLE, Visit, VolumeState, VolumeWord, Whereabouts,
};
use crate::layout::at;
use crate::map::entry::Entry;
use crate::order::Node;
use crate::process::Identity;
use crate::protocol::RETRIES;
use crate::protocol::header::{self, Header, Owner, State};
use crate::session::{SlotState, Status, field};
use crate::sync::Ordering;

impl Actor<'_> {
    /// Cleans up after all sessions that nobody works for any more. Returns how many there were.
    pub(crate) fn recover_dead(&mut self) -> Result<usize> {
        if self.local.recovering {
            return Ok(0);
        }
        let mut dead = Vec::new();
        let mine = Status::new(SlotState::Recovering, self.shared.identity);
        for index in 0..self.shared.sessions_used() {
            let status = self.shared.status(index)?;
            if self.shared.is_orphan(status) && self.shared.step_status(index, status, mine)? {
                dead.push(index);
            }
        }
        if dead.is_empty() {
            return Ok(0);
        }
        self.local.recovering = true;
        let owners: Vec<Owner> = dead.iter().map(|&index| Owner(index as u16 + 1)).collect();
        let swept = self.sweep(&owners);
        self.local.recovering = false;
        if let Err(error) = swept {
            // Nobody has to wait for this process to end before trying again.
            let nobody = Status::new(SlotState::Abandoned, Identity { pid: 0, start: 0 });
            for &index in &dead {
                self.shared.step_status(index, mine, nobody)?;
            }
            return Err(error);
        }
        for &index in &dead {
            self.free_slot(index)?;
        }
        if self.shared.has_views {
            self.with_pin(|actor| actor.reap())?;
        }
        self.shared
            .fixed(at::RECOVERIES)
            .fetch_add(dead.len() as u64, Ordering::Relaxed);
        Ok(dead.len())
    }

    fn free_slot(&self, index: u64) -> Result<()> {
        self.shared.forget_views(index)?;
        let slot = self.shared.layout.session(index);
        for offset in (field::PIN..field::HAND + 8).step_by(8) {
            self.word(slot + offset)?.store(0, Ordering::Release);
        }
        self.word(slot + field::STATUS)?.store(0, Ordering::SeqCst);
        Ok(())
    }

    /// Undoes or finishes whatever the sessions of `dead` had begun. Nobody else acts for them.
    pub(crate) fn sweep(&mut self, dead: &[Owner]) -> Result<()> {
        // Read first: one of the dead may have had the slot that is ours now.
        let mut left = Vec::new();
        for &owner in dead {
            let slot = self.shared.layout.session(u64::from(owner.0) - 1);
            let read = |field| Ok::<_, Error>(self.word(slot + field)?.load(Ordering::Acquire));
            left.push((read(field::OLD)?, read(field::HAND)?));
        }
        for volume in 0..self.shared.layout.volumes {
            self.sweep_volume(volume, dead)?;
        }
        self.walk(&mut |actor, visit| match visit {
            Visit::Object(found, block) => actor.sweep_object(found, block, dead),
            Visit::Superblock(_) => Ok(()),
            Visit::VolumeHeader(found) => actor.sweep_volume_header(found, dead),
            // What was damaged is for `verify` to report; it must not keep the rest from coming back.
            Visit::Broken(_) => Ok(()),
        })?;
        self.walk(&mut |actor, visit| match visit {
            Visit::Superblock(block) => actor.relist(block),
            _ => Ok(()),
        })?;
        for (old, hand) in left {
            // Pinned like the walks: others are at work on the same things, and may free them.
            self.with_pin(|actor| actor.sweep_old_entry(old))?;
            self.with_pin(|actor| actor.sweep_hand(hand))?;
        }
        if self.shared.has_views {
            // Among what the dead took with them may be tickets.
            self.shared.fixed(at::KEPT_LOST).store(1, Ordering::SeqCst);
        }
        Ok(())
    }

    fn sweep_object(&mut self, found: Found<'_>, block: Superblock<'_>, dead: &[Owner]) -> Result<()> {
        let Found { offset, word, header } = found;
        let is_theirs = dead.contains(&header.owner());
        match header.state() {
            State::Held if is_theirs => {
                if header.step(word, State::Free, Owner::NOBODY).is_some() {
                    header::offer(block.free(), 1 << header.index());
                }
                Ok(())
            }
            State::Owned if is_theirs => self.sweep_owned(found),
            State::Retired if is_theirs => {
                if header.step(word, State::Retired, self.me).is_some() {
                    self.retire(offset, Remains::Object)?;
                }
                Ok(())
            }
            // Tables and lines are unlinked in bulk; the one who did it may have died in the middle.
            State::Live if matches!(self.tag(offset)?, TAG_LINE | TAG_TABLE) => {
                let tag = self.tag(offset)?;
                if !self.is_part_of_map(offset, tag)? {
                    self.bury(offset, header)?;
                }
                Ok(())
            }
            State::Free => {
                // The bit that says so may have been lost between two steps.
                if block.free().load(Ordering::SeqCst) >> header.index() & 1 == 0 {
                    header::offer(block.free(), 1 << header.index());
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// An object that a dead session had allocated: the map has it, or nobody.
    fn sweep_owned(&mut self, found: Found<'_>) -> Result<()> {
        let Found { offset, word, header } = found;
        let tag = self.tag(offset)?;
        // What doesn't look like an entry or a node was not written yet, and so it is not linked either.
        let is_linked = match tag {
            TAG_ENTRY => match Entry::load(self.shared, offset) {
                Ok(entry) => self.is_linked(offset, entry.hash())?,
                Err(_) => false,
            },
            TAG_NODE => match Node::load(self.shared, offset) {
                Ok(node) => self.is_listed(node)?,
                Err(_) => false,
            },
            TAG_LINE | TAG_TABLE => self.is_part_of_map(offset, tag)?,
            _ => false,
        };
        if is_linked {
            if tag == TAG_ENTRY && self.shared.ordered {
                let key = Entry::load(self.shared, offset)?.key();
                let node = self.ensure_node(&key)?;
                self.renew(&key, node)?;
            }
            if tag == TAG_ENTRY && self.shared.cache_bytes != 0 {
                // Twice in a queue does no harm.
                let entry = Entry::load(self.shared, offset)?;
                self.enqueue(&entry, false)?;
            }
            // Failure: somebody has replaced and retired it since.
            let _ = header.step(word, State::Live, Owner::NOBODY);
            return Ok(());
        }
        if header.step(word, State::Retired, self.me).is_some() {
            self.retire(offset, Remains::Object)?;
        }
        Ok(())
    }

    /// A superblock that spans a volume, in the hands of the dead.
    fn sweep_volume_header(&mut self, found: Found<'_>, dead: &[Owner]) -> Result<()> {
        let Found { offset, word, header } = found;
        let is_theirs = dead.contains(&header.owner()) && header.class() == VOLUME_CLASS;
        if is_theirs
            && header.state() == State::Retired
            && header.step(word, State::Retired, self.me).is_some()
        {
            self.retire(offset, Remains::Superblock)?;
        }
        Ok(())
    }

    fn sweep_volume(&mut self, volume: u64, dead: &[Owner]) -> Result<()> {
        let word = self.shared.volume_word(volume)?;
        let seen = VolumeWord::load(word);
        let start = self.shared.layout.volume_start(volume);
        let is_theirs = dead.contains(&seen.owner());
        match seen.state() {
            VolumeState::Held if is_theirs => {
                // It may have memory or not; without it is what can be made sure of.
                if let Some(held) = seen.step(word, VolumeState::Held, self.me, 0) {
                    self.shared.unback_volume(volume);
                    held.step(word, VolumeState::Absent, Owner::NOBODY, 0);
                }
            }
            VolumeState::OwnedRun if is_theirs => {
                if self.is_part_of_map(start, TAG_TABLE)? {
                    seen.step(word, VolumeState::Run, Owner::NOBODY, seen.run_len());
                } else if seen
                    .step(word, VolumeState::OwnedRun, self.me, seen.run_len())
                    .is_some()
                {
                    self.retire(start, Remains::Run)?;
                }
            }
            VolumeState::Run
                if !self.is_part_of_map(start, TAG_TABLE)?
                    && seen
                        .step(word, VolumeState::OwnedRun, self.me, seen.run_len())
                        .is_some() =>
            {
                self.retire(start, Remains::Run)?;
            }
            VolumeState::Tail if is_theirs && !self.has_head(volume)? => {
                seen.step(word, VolumeState::Free, Owner::NOBODY, 0);
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether a run before this volume spans it.
    fn has_head(&self, tail: u64) -> Result<bool> {
        for volume in (0..tail).rev() {
            let word = VolumeWord::load(self.shared.volume_word(volume)?);
            match word.state() {
                VolumeState::Run | VolumeState::OwnedRun => return Ok(volume + word.run_len() > tail),
                VolumeState::Tail => {}
                _ => return Ok(false),
            }
        }
        Ok(false)
    }

    /// Puts a superblock back into circulation that has free objects and doesn't go round.
    fn relist(&mut self, block: Superblock<'_>) -> Result<()> {
        if block.free().load(Ordering::SeqCst) != 0 && !block.is_listed() {
            let block = self.superblock(block.offset, Some(block.class_number))?;
            self.list(block)?;
        }
        Ok(())
    }

    /// The entry or node that a dead session was about to unlink: if it did, and nobody retired it, that is for us to do.
    fn sweep_old_entry(&mut self, offset: u64) -> Result<()> {
        if offset == 0 || self.check_place(offset).is_err() {
            return Ok(());
        }
        // Live since we are pinned, so it stays what it is until we are not.
        let header = Header::load(self.word(offset)?);
        if header.state() != State::Live {
            return Ok(());
        }
        match self.tag(offset)? {
            TAG_ENTRY => {
                let entry = Entry::load(self.shared, offset)?;
                if !self.is_linked(offset, entry.hash())? {
                    self.bury(offset, header)?;
                }
            }
            TAG_NODE => {
                let node = Node::load(self.shared, offset)?;
                if node.is_dead() {
                    self.unlink(node)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// The superblock that a dead session was moving from one place to another.
    fn sweep_hand(&mut self, offset: u64) -> Result<()> {
        if offset == 0 {
            return Ok(());
        }
        let mut in_hand = 0;
        for _ in 0..RETRIES {
            let Ok(block) = self.superblock(offset, None) else {
                return Ok(());
            };
            if !block.is_listed() {
                return self.relist(block);
            }
            match self.whereabouts(block)? {
                Whereabouts::Circulating => return Ok(()),
                Whereabouts::Lost => return self.restack(block),
                // One who only tried to take it lets go at once. One who keeps it is stopped, and really has it.
                Whereabouts::InHand if in_hand > 100 => return Ok(()),
                Whereabouts::InHand => in_hand += 1,
                Whereabouts::Unknown => {}
            }
            std::thread::yield_now();
        }
        Err(Error::Again("a stack of superblocks that others keep changing"))
    }
}

#[cfg(test)]
mod tests {
    use crate::heap::{TAG_ENTRY, TAG_NODE};
    use crate::process::Identity;
    use crate::protocol::header::{Header, State};
    use crate::region::{Region, RegionOptions};
    use crate::session::{SlotState, Status};
    use crate::sync::Ordering;

    #[test]
    fn what_was_allocated_and_not_written_yet_comes_back() {
        for tag in [TAG_ENTRY, TAG_NODE] {
            let options = RegionOptions {
                capacity: 16 << 20,
                ordered: true,
                ..Default::default()
            };
            let region = Region::anonymous(&options).unwrap();
            let (mortal, survivor) = (region.join("mortal").unwrap(), region.join("survivor").unwrap());
            survivor.put(b"k", b"v").unwrap();
            let offset = mortal.act(|actor| actor.allocate(100, tag)).unwrap();
            // What stood there before, of something else.
            for word in region.shared.map.words(offset + 16, 12).unwrap() {
                word.store(u64::MAX, Ordering::Relaxed);
            }
            let index = u64::from(mortal.owner.0) - 1;
            let killed = Status::new(SlotState::Abandoned, Identity { pid: 0, start: 0 });
            let status = region.shared.status(index).unwrap();
            assert!(region.shared.step_status(index, status, killed).unwrap());
            std::mem::forget(mortal);
            assert_eq!(survivor.recover().unwrap(), 1);
            let header = Header::load(region.shared.map.word(offset).unwrap());
            assert_ne!(header.state(), State::Owned);
            let report = survivor.verify().unwrap();
            assert_eq!((report.entries, report.nodes), (1, 1));
        }
    }
}
