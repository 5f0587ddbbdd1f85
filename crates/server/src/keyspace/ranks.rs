//! Which rank a place in the order of a large sorted set has.
//!
//! The order is cut into blocks of some hundred members, and the blocks into groups; both have a record that says how many members they have, under the
//! place where they begin. A rank is the sum of the groups before it, the blocks before it in its group, and the members before it in its
//! block: at ten million members some hundred records of each. Adding a member changes one record of each kind.

use crate::keyspace::items::after;
use crate::keyspace::layout::{self, PREFIX_LEN, RawKey, tag};
use crate::keyspace::record::damaged;
use crate::keyspace::{Keyspace, Result};

/// A block of more members, or a group of more blocks, is cut in two.
const SPLIT: u64 = 512;
/// A block of fewer members is joined with the one after it if both are small.
const JOIN: u64 = 64;

/// A block or group: where it begins, how many members it has, and of a group how many blocks.
struct Part {
    place: RawKey,
    members: u64,
    blocks: u64,
}

fn key(id: u64, tag: u8, place: &[u8]) -> RawKey {
    let mut key = layout::prefix(id, tag);
    key.extend_from_slice(place);
    key
}

fn part(key: &[u8], value: &[u8]) -> Result<Part> {
    let word = |at: usize| Some(u64::from_le_bytes(*value.get(at..)?.first_chunk()?));
    Ok(Part {
        place: RawKey::from_slice(&key[PREFIX_LEN..]),
        members: word(0).ok_or_else(damaged)?,
        blocks: word(8).ok_or_else(damaged)?,
    })
}

impl Keyspace<'_> {
    /// The block or group that has a place; the first begins before everything.
    fn part_with(&self, db: usize, id: u64, tag: u8, place: &[u8]) -> Result<Part> {
        let mut end = key(id, tag, place);
        end.push(0);
        match self
            .items(db, &layout::prefix(id, tag), &end)?
            .next_back()
            .transpose()?
        {
            Some((key, value)) => part(key, value),
            None => Ok(Part {
                place: RawKey::new(),
                members: 0,
                blocks: 0,
            }),
        }
    }

    fn put_part(&mut self, db: usize, id: u64, tag: u8, part: &Part) -> Result<()> {
        let mut value = [0; 16];
        value[..8].copy_from_slice(&part.members.to_le_bytes());
        value[8..].copy_from_slice(&part.blocks.to_le_bytes());
        self.put_item(db, &key(id, tag, &part.place), &value)
    }

    /// A member came at a place; its record is there already.
    pub(super) fn count_in(&mut self, db: usize, id: u64, place: &[u8]) -> Result<()> {
        let mut block = self.part_with(db, id, tag::BLOCKS, place)?;
        let mut group = self.part_with(db, id, tag::GROUPS, place)?;
        block.members += 1;
        group.members += 1;
        if group.blocks == 0 {
            group.blocks = 1;
        }
        if block.members > SPLIT {
            let half = block.members / 2;
            let start = key(id, tag::ORDER, &block.place);
            let end = after(layout::prefix(id, tag::ORDER));
            let middle = self
                .items(db, &start, &end)?
                .nth(half as usize)
                .transpose()?
                .ok_or_else(damaged)?;
            let place = RawKey::from_slice(&middle.0[PREFIX_LEN..]);
            let upper = Part {
                place,
                members: block.members - half,
                blocks: 0,
            };
            self.put_part(db, id, tag::BLOCKS, &upper)?;
            block.members = half;
            group.blocks += 1;
        }
        self.put_part(db, id, tag::BLOCKS, &block)?;
        if group.blocks > SPLIT {
            self.split_group(db, id, &mut group)?;
        }
        self.put_part(db, id, tag::GROUPS, &group)
    }

    fn split_group(&mut self, db: usize, id: u64, group: &mut Part) -> Result<()> {
        let half = group.blocks / 2;
        let start = key(id, tag::BLOCKS, &group.place);
        let end = after(layout::prefix(id, tag::BLOCKS));
        let (mut members, mut blocks, mut middle) = (0, 0, None);
        for pair in self.items(db, &start, &end)? {
            let (key, value) = pair?;
            let block = part(key, value)?;
            if blocks == half {
                middle = Some(block.place);
                break;
            }
            blocks += 1;
            members += block.members;
        }
        let upper = Part {
            place: middle.ok_or_else(damaged)?,
            members: group.members.checked_sub(members).ok_or_else(damaged)?,
            blocks: group.blocks - half,
        };
        self.put_part(db, id, tag::GROUPS, &upper)?;
        group.members = members;
        group.blocks = half;
        Ok(())
    }

    /// A member went from a place.
    pub(super) fn count_out(&mut self, db: usize, id: u64, place: &[u8]) -> Result<()> {
        let mut block = self.part_with(db, id, tag::BLOCKS, place)?;
        let mut group = self.part_with(db, id, tag::GROUPS, place)?;
        block.members = block.members.checked_sub(1).ok_or_else(damaged)?;
        group.members = group.members.checked_sub(1).ok_or_else(damaged)?;
        if block.members < JOIN
            && let Some(next) = self.next_in_group(db, id, &block, &group)?
            && next.members + block.members <= SPLIT / 2
        {
            self.discard_item(db, &key(id, tag::BLOCKS, &next.place))?;
            block.members += next.members;
            group.blocks -= 1;
        }
        // What a group begins with stays while the group does.
        if block.members == 0 && block.place != group.place {
            self.discard_item(db, &key(id, tag::BLOCKS, &block.place))?;
            group.blocks -= 1;
        } else if group.members == 0 && !group.place.is_empty() && group.blocks == 1 {
            self.discard_item(db, &key(id, tag::BLOCKS, &block.place))?;
            return self.discard_item(db, &key(id, tag::GROUPS, &group.place));
        } else {
            self.put_part(db, id, tag::BLOCKS, &block)?;
        }
        self.put_part(db, id, tag::GROUPS, &group)
    }

    /// The block after this one, if it is in the same group.
    fn next_in_group(&self, db: usize, id: u64, block: &Part, group: &Part) -> Result<Option<Part>> {
        let next = |tag: u8, place: &[u8]| -> Result<Option<Part>> {
            let mut start = key(id, tag, place);
            start.push(0);
            let found = self
                .items(db, &start, &after(layout::prefix(id, tag)))?
                .next()
                .transpose()?;
            found.map(|(key, value)| part(key, value)).transpose()
        };
        let Some(found) = next(tag::BLOCKS, &block.place)? else {
            return Ok(None);
        };
        let next_group = next(tag::GROUPS, &group.place)?;
        Ok(next_group
            .is_none_or(|next| found.place < next.place)
            .then_some(found))
    }

    /// How many members come before a place.
    pub(super) fn rank_of(&self, db: usize, id: u64, place: &[u8]) -> Result<u64> {
        let mut rank = 0;
        let mut from = RawKey::new();
        for tag in [tag::GROUPS, tag::BLOCKS] {
            let mut end = key(id, tag, place);
            end.push(0);
            let mut last = 0;
            for pair in self.items(db, &key(id, tag, &from), &end)? {
                let (key, value) = pair?;
                let part = part(key, value)?;
                rank += std::mem::replace(&mut last, part.members);
                from = part.place;
            }
        }
        for pair in self.items(db, &key(id, tag::ORDER, &from), &key(id, tag::ORDER, place))? {
            pair?;
            rank += 1;
        }
        Ok(rank)
    }

    /// The key of the record in order that has a rank, which must be less than the number of members.
    pub(super) fn key_at(&self, db: usize, id: u64, rank: u64) -> Result<RawKey> {
        let mut left = rank;
        let mut from = RawKey::new();
        for tag in [tag::GROUPS, tag::BLOCKS] {
            for pair in self.items(db, &key(id, tag, &from), &after(layout::prefix(id, tag)))? {
                let (key, value) = pair?;
                let part = part(key, value)?;
                from = part.place;
                if left < part.members {
                    break;
                }
                left -= part.members;
            }
        }
        let end = after(layout::prefix(id, tag::ORDER));
        let found = self
            .items(db, &key(id, tag::ORDER, &from), &end)?
            .nth(left as usize)
            .transpose()?;
        found.map(|(key, _)| RawKey::from_slice(key)).ok_or_else(damaged)
    }
}
