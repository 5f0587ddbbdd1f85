//! One file of the simulated disk: what programs see, what is surely on the medium, and everything in
//! between.

use std::collections::BTreeSet;

use super::chance::{Choose, Dice};
use super::contents::{Contents, Node, PAGE, SECTOR};

/// How many versions are remembered at least before older ones of the same sector are forgotten.
const VERSIONS_MIN: usize = 1 << 16;

#[derive(Clone, Debug, Default)]
pub(super) struct Inode {
    /// What programs see.
    now: Contents,
    len: u64,
    /// What the last flush that worked left on the medium.
    durable: Contents,
    durable_len: u64,
    /// Every version of every sector since that flush, oldest first. The newest version of a sector is the
    /// one in `now`.
    versions: Vec<(u64, Node)>,
    /// What `thin_out` left the last time.
    versions_thinned: usize,
    /// The same for the length.
    lens: Vec<u64>,
    /// Sectors that a failed flush took for clean: `now` has what the medium doesn't, and no later flush will
    /// bring it there.
    forgotten: BTreeSet<u64>,
    /// Handles that are open.
    pub(super) open: u32,
}

impl Inode {
    /// A file whose contents are durable.
    fn settled(contents: Contents, len: u64) -> Inode {
        Inode {
            now: contents.clone(),
            len,
            durable: contents,
            durable_len: len,
            ..Inode::default()
        }
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Reads into `buf`; the number of bytes that there were.
    pub(super) fn read(&self, buf: &mut [u8], offset: u64) -> usize {
        let rest = usize::try_from(self.len.saturating_sub(offset)).unwrap_or(usize::MAX);
        let count = rest.min(buf.len());
        if count > 0 {
            self.now.read(&mut buf[..count], offset);
        }
        count
    }

    /// Writes `bytes` at `offset`. Returns how many sectors more take space now.
    pub(super) fn write(&mut self, bytes: &[u8], offset: u64) -> u64 {
        let (mut took, mut at, mut rest) = (0, offset, bytes);
        while !rest.is_empty() {
            let whole = rest
                .first_chunk::<PAGE>()
                .filter(|_| at.is_multiple_of(PAGE as u64));
            let count = if let Some(page) = whole {
                took += self.write_page(page, at);
                PAGE
            } else {
                let room = SECTOR - (at % SECTOR as u64) as usize;
                let part = &rest[..room.min(rest.len())];
                took += u64::from(self.write_in_sector(part, at));
                part.len()
            };
            rest = &rest[count..];
            at += count as u64;
        }
        took
    }

    /// Writes a page to its place: what eight writes of sectors do, in one go.
    fn write_page(&mut self, page: &[u8; PAGE], offset: u64) -> u64 {
        self.make_room(8);
        let first = offset / SECTOR as u64;
        let mut sectors = [[0; SECTOR]; 8];
        sectors.as_flattened_mut().copy_from_slice(page);
        let mut took = 0;
        for ((sector, node), new) in (first..).zip(self.now.page_mut(first)).zip(Node::page(&sectors)) {
            took += u64::from(matches!(node, Node::Hole));
            let forgotten = !self.forgotten.is_empty() && self.forgotten.remove(&sector);
            if node.is_data() || new.is_data() || forgotten {
                self.versions.push((sector, new.clone()));
            }
            *node = new;
        }
        for end in 1..=8 {
            self.grow(offset + end * SECTOR as u64);
        }
        took
    }

    /// Writes `bytes`, which lie within one sector, at `offset`. Returns whether that took the space of one
    /// more sector.
    pub(super) fn write_in_sector(&mut self, bytes: &[u8], offset: u64) -> bool {
        let sector = offset / SECTOR as u64;
        let inner = (offset % SECTOR as u64) as usize;
        let new = if let Ok(whole) = bytes.try_into() {
            Node::sector(whole)
        } else {
            let mut merged = self.now.get(sector).bytes();
            merged[inner..inner + bytes.len()].copy_from_slice(bytes);
            Node::sector(&merged)
        };
        let took = matches!(self.replace(sector, new), Node::Hole);
        self.grow(offset + bytes.len() as u64);
        took
    }

    /// Makes `new` the newest version of a sector.
    fn replace(&mut self, sector: u64, new: Node) -> Node {
        self.make_room(1);
        let old = self.now.set(sector, new.clone());
        let forgotten = !self.forgotten.is_empty() && self.forgotten.remove(&sector);
        // Zeros in the place of zeros are no other version.
        if old.is_data() || new.is_data() || forgotten {
            self.versions.push((sector, new));
        }
        old
    }

    /// Makes room for so many versions.
    fn make_room(&mut self, more: usize) {
        if self.versions.len() + more > VERSIONS_MIN.max(2 * self.versions_thinned) {
            self.thin_out();
        }
    }

    /// Forgets all but the newest few versions of each sector, so that a file that is never flushed takes
    /// memory in proportion to its size, not to the number of writes.
    fn thin_out(&mut self) {
        self.versions.sort_by_key(|(sector, _)| *sector);
        let mut kept = Vec::new();
        for versions in self.versions.chunk_by(|a, b| a.0 == b.0) {
            kept.extend_from_slice(&versions[versions.len().saturating_sub(2)..]);
        }
        self.versions = kept;
        self.versions_thinned = self.versions.len();
    }

    fn grow(&mut self, end: u64) {
        if end > self.len {
            self.change_len(end);
        }
    }

    fn change_len(&mut self, len: u64) {
        self.len = len;
        if self.lens.len() >= VERSIONS_MIN {
            self.lens.drain(..VERSIONS_MIN / 2);
        }
        self.lens.push(len);
    }

    pub(super) fn set_len(&mut self, len: u64) {
        if len < self.len {
            self.zero(len, u64::MAX);
        }
        if len != self.len {
            self.change_len(len);
        }
    }

    /// Zeros the bytes from `start` to `end`, and frees the sectors that lie there whole.
    pub(super) fn zero(&mut self, start: u64, end: u64) {
        const SIZE: u64 = SECTOR as u64;
        let (first, last) = (start.div_ceil(SIZE), end / SIZE);
        let seen = end.min(self.len);
        self.zero_in_sector(start, seen.min(first * SIZE));
        if first <= last {
            self.zero_in_sector(last * SIZE, seen);
        }
        if first < last {
            for sector in self.now.data(first..last) {
                self.replace(sector, Node::Hole);
            }
            self.now.free(first..last);
            self.forgotten.retain(|sector| !(first..last).contains(sector));
        }
    }

    fn zero_in_sector(&mut self, from: u64, to: u64) {
        let sector = from / SECTOR as u64;
        if from < to && self.now.get(sector).is_data() {
            let mut bytes = self.now.get(sector).bytes();
            let inner = (from % SECTOR as u64) as usize;
            bytes[inner..inner + (to - from) as usize].fill(0);
            self.replace(sector, Node::sector(&bytes));
        }
    }

    /// Gives a range space.
    pub(super) fn allocate(&mut self, start: u64, end: u64) {
        self.now
            .allocate(start / SECTOR as u64..end.div_ceil(SECTOR as u64));
        self.grow(end);
    }

    /// How many sectors of the range take no space yet.
    pub(super) fn holes(&self, start: u64, end: u64) -> u64 {
        self.now.holes(start / SECTOR as u64..end.div_ceil(SECTOR as u64))
    }

    /// How many sectors take space.
    pub(super) fn allocated(&self) -> u64 {
        self.now.allocated()
    }

    /// A flush that works.
    pub(super) fn sync(&mut self) {
        let mut synced = self.now.clone();
        for &sector in &self.forgotten {
            synced.set(sector, self.durable.get(sector).clone());
        }
        self.durable = synced;
        self.durable_len = self.len;
        self.versions.clear();
        self.versions_thinned = 0;
        self.lens.clear();
    }

    /// A flush that fails: each sector may have reached the medium, may still be dirty, or may pass for clean
    /// without having got there, either still visible to programs or not.
    pub(super) fn fail_sync(&mut self, dice: &mut Dice) {
        let mut versions = std::mem::take(&mut self.versions);
        versions.sort_by_key(|(sector, _)| *sector);
        for group in versions.chunk_by(|a, b| a.0 == b.0) {
            let sector = group[0].0;
            match dice.below(4) {
                0 => drop(self.durable.set(sector, group[group.len() - 1].1.clone())),
                1 => self.versions.extend_from_slice(group),
                2 => drop(self.forgotten.insert(sector)),
                _ => drop(self.now.set(sector, self.durable.get(sector).clone())),
            }
        }
        self.now.cut(self.len);
    }

    /// The file as it is found after the power was cut.
    pub(super) fn after_crash(&self, choose: &mut dyn Choose) -> Inode {
        if self.versions.is_empty() && self.lens.is_empty() {
            return Inode::settled(self.durable.clone(), self.durable_len);
        }
        let mut found = self.durable.clone();
        choose.group();
        let mut put = |versions: &[(u64, Node)]| {
            let picked = choose.pick(versions.len() + 1);
            if let Some((sector, node)) = picked.checked_sub(1).map(|i| &versions[i]) {
                found.set(*sector, node.clone());
            }
        };
        match &self.versions[..] {
            [] => {}
            [one] => put(std::slice::from_ref(one)),
            many if many.is_sorted_by_key(|(sector, _)| *sector) => {
                many.chunk_by(|a, b| a.0 == b.0).for_each(put)
            }
            many => {
                let mut sorted = many.to_vec();
                sorted.sort_by_key(|(sector, _)| *sector);
                sorted.chunk_by(|a, b| a.0 == b.0).for_each(put);
            }
        }
        let picked = choose.pick(self.lens.len() + 1);
        let len = picked.checked_sub(1).map_or(self.durable_len, |i| self.lens[i]);
        found.cut(len);
        Inode::settled(found, len)
    }

    /// Everything written becomes durable, also what a failed flush forgot, and `change` is made to the
    /// medium itself.
    pub(super) fn alter(&mut self, change: impl FnOnce(&mut Inode)) {
        self.forgotten.clear();
        change(self);
        self.sync();
    }
}
