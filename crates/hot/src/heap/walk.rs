//! A walk over every object of a region, from the volumes down.

use crate::actor::Actor;
use crate::class::VOLUME_PREFIX;
use crate::error::{Error, Result};
use crate::heap::{Superblock, VolumeState, VolumeWord};
use crate::protocol::header::{Header, State};
use crate::sync::AtomicU64;

/// An object that a walk came across.
#[derive(Clone, Copy)]
pub(crate) struct Found<'a> {
    pub(crate) offset: u64,
    pub(crate) word: &'a AtomicU64,
    pub(crate) header: Header,
}

/// What a walk shows.
pub(crate) enum Visit<'a> {
    /// A superblock, before its objects.
    Superblock(Superblock<'a>),
    /// Anything in a superblock that is not one itself.
    Object(Found<'a>, Superblock<'a>),
    /// The header of a volume's own superblock while that is being made or given back.
    VolumeHeader(Found<'a>),
    /// What should be a superblock and is none: given back this instant, or damaged.
    Broken(Error),
}

impl<'a> Actor<'a> {
    /// Shows everything to `visit`. Pinned for a volume at a time, so that a long walk doesn't hold memory back.
    pub(crate) fn walk(
        &mut self,
        visit: &mut dyn FnMut(&mut Actor<'_>, Visit<'_>) -> Result<()>,
    ) -> Result<()> {
        (0..self.shared.layout.volumes)
            .try_for_each(|volume| self.with_pin(|actor| actor.walk_volume(volume, visit)))
    }

    pub(crate) fn walk_volume(
        &mut self,
        volume: u64,
        visit: &mut dyn FnMut(&mut Actor<'_>, Visit<'_>) -> Result<()>,
    ) -> Result<()> {
        if VolumeWord::load(self.shared.volume_word(volume)?).state() != VolumeState::Cut {
            return Ok(());
        }
        let offset = self.shared.layout.volume_start(volume) + VOLUME_PREFIX;
        let word = self.word(offset)?;
        let header = Header::load(word);
        match header.state() {
            State::Super => match self.superblock(offset, None) {
                Ok(block) => self.walk_superblock(block, visit),
                Err(error) => visit(self, Visit::Broken(error)),
            },
            _ => visit(self, Visit::VolumeHeader(Found { offset, word, header })),
        }
    }

    /// The depth is bounded because a superblock of a class lies in one of a larger class, which is checked.
    fn walk_superblock(
        &mut self,
        block: Superblock<'_>,
        visit: &mut dyn FnMut(&mut Actor<'_>, Visit<'_>) -> Result<()>,
    ) -> Result<()> {
        visit(self, Visit::Superblock(block))?;
        for index in 0..block.class.count {
            let offset = block.object(index);
            let word = self.word(offset)?;
            let header = Header::load(word);
            if header.state() != State::Super {
                visit(self, Visit::Object(Found { offset, word, header }, block))?;
                continue;
            }
            match self.superblock(offset, None) {
                Ok(inner) if inner.class_number < block.class_number => self.walk_superblock(inner, visit)?,
                Ok(_) => visit(
                    self,
                    Visit::Broken(crate::error::corruption(
                        "a superblock of a smaller class",
                        offset,
                    )),
                )?,
                Err(error) => visit(self, Visit::Broken(error))?,
            }
        }
        Ok(())
    }
}
