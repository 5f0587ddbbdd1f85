//! Checking a whole region.

use std::collections::HashSet;

use crate::actor::Actor;
use crate::error::{Result, corrupt};
use crate::heap::{
    Found, Superblock, TAG_ENTRY, TAG_LINE, TAG_NODE, TAG_TABLE, Visit, VolumeState, VolumeWord,
};
use crate::layout::{GROUPS, SIEVE, at};
use crate::map::entry::Entry;
use crate::map::slot;
use crate::map::table::{CHAIN_MAX, LINK, SLOTS, Table};
use crate::order::{LEVELS, MARK, Node};
use crate::protocol::header::{Header, State};
use crate::protocol::line::{Guard, LineState};
use crate::protocol::stack;
use crate::session::{Session, SlotState};
use crate::sync::Ordering;

/// What a region holds, as [`Session::verify`] found it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Volumes that hold something.
    pub volumes: u64,
    /// Superblocks of all levels.
    pub superblocks: u64,
    /// Objects that callers of [`Session::alloc`] have.
    pub objects: u64,
    /// Keys of the map.
    pub entries: u64,
    /// What keys had before and a view still sees, and removals that are kept for the same reason.
    pub versions: u64,
    /// Tables of the map and lines beside them.
    pub map_parts: u64,
    /// Nodes of the ordered index.
    pub nodes: u64,
    /// Objects in magazines.
    pub held: u64,
    /// Objects that wait until nobody can be reading them.
    pub retired: u64,
    /// Objects that are free.
    pub free: u64,
}

impl Session {
    /// Checks the whole region: every superblock, object, list, line and entry, and that nothing belongs to nobody.
    ///
    /// Exact when nobody writes; while others do, it may take their half-done work for damage.
    ///
    /// ```
    /// # use weald_hot::{Region, RegionOptions};
    /// # let region = Region::anonymous(&RegionOptions { capacity: 16 << 20, ..Default::default() })?;
    /// # let session = region.join("example")?;
    /// session.put(b"k", b"v")?;
    /// // What killed processes left would count as damage.
    /// session.recover()?;
    /// assert_eq!(session.verify()?.entries, 1);
    /// # Ok::<(), weald_hot::Error>(())
    /// ```
    pub fn verify(&self) -> Result<Report> {
        self.act_unpinned(|actor| Verifier::new(actor).and_then(|verifier| verifier.run(actor)))
    }

    /// Checks one volume, by its number.
    pub fn verify_volume(&self, volume: u64) -> Result<Report> {
        if volume >= self.shared.layout.volumes {
            return Err(crate::Error::Invalid("a volume that the region doesn't have"));
        }
        let _pin = self.pin();
        self.act_unpinned(|actor| {
            let mut verifier = Verifier::new(actor)?;
            actor.walk_volume(volume, &mut |actor, visit| verifier.visit(actor, visit))?;
            Ok(verifier.report)
        })
    }
}

struct Verifier {
    report: Report,
    /// Superblocks in active slots and on stacks.
    circulating: HashSet<u64>,
    linked: u64,
    /// Keys of the index.
    nodes: HashSet<Vec<u8>>,
}

impl Verifier {
    fn new(actor: &Actor<'_>) -> Result<Verifier> {
        let mut circulating = HashSet::new();
        for class in 0..actor.shared.layout.classes.len() as u8 {
            for group in 0..=SIEVE {
                let active = actor.shared.layout.active(group, class);
                if group < GROUPS {
                    let offset = stack::top(actor.word(active)?.load(Ordering::SeqCst));
                    if offset != 0 && !circulating.insert(offset) {
                        return corrupt("a superblock in one place only", offset);
                    }
                }
                let mut offset = stack::top(actor.word(active + 8)?.load(Ordering::SeqCst));
                while offset != 0 {
                    if !circulating.insert(offset) {
                        return corrupt("a superblock in one place only", offset);
                    }
                    let block = actor.superblock(offset, Some(class))?;
                    offset = actor.word(block.offset + 32)?.load(Ordering::Acquire);
                }
            }
        }
        Ok(Verifier {
            report: Report::default(),
            circulating,
            linked: 0,
            nodes: keys_in_order(actor)?,
        })
    }

    fn run(mut self, actor: &mut Actor<'_>) -> Result<Report> {
        for volume in 0..actor.shared.layout.volumes {
            let word = VolumeWord::load(actor.shared.volume_word(volume)?);
            self.report.volumes +=
                u64::from(!matches!(word.state(), VolumeState::Absent | VolumeState::Free));
            if matches!(word.state(), VolumeState::Held | VolumeState::OwnedRun) {
                self.check_owner(actor, word.owner().0, actor.shared.layout.volume_word(volume))?;
            }
        }
        actor.walk(&mut |actor, visit| self.visit(actor, visit))?;
        // In this order, as a table that is next becomes current.
        let next = actor.shared.table(at::TABLE_NEXT)?;
        let current = actor.shared.table(at::TABLE)?;
        if let (Some(next), Some(current)) = (next, current) {
            self.check_table(actor, next, Some(current))?;
        }
        if let Some(current) = current {
            self.check_table(actor, current, None)?;
        }
        if self.linked != self.report.entries {
            return corrupt("as many entries in lines as in superblocks", self.linked);
        }
        self.report.entries -= self.report.versions.min(self.report.entries);
        Ok(self.report)
    }

    fn visit(&mut self, actor: &mut Actor<'_>, visit: Visit<'_>) -> Result<()> {
        match visit {
            Visit::Broken(error) => Err(error),
            Visit::VolumeHeader(found) => self.check_owner(actor, found.header.owner().0, found.offset),
            Visit::Superblock(block) => self.check_superblock(block),
            Visit::Object(found, block) => self.check_object(actor, found, block),
        }
    }

    fn check_superblock(&mut self, block: Superblock<'_>) -> Result<()> {
        self.report.superblocks += 1;
        let free = block.free().load(Ordering::SeqCst);
        if free & !block.class.all_free() != 0 {
            return corrupt("a bitmap of the superblock's own objects", block.offset);
        }
        if block.is_listed() != self.circulating.contains(&block.offset) {
            return corrupt("a superblock that is where it says", block.offset);
        }
        if free != 0 && !block.is_listed() {
            return corrupt("a superblock with free objects among those in use", block.offset);
        }
        Ok(())
    }

    fn check_object(&mut self, actor: &Actor<'_>, found: Found<'_>, block: Superblock<'_>) -> Result<()> {
        let Found { offset, header, .. } = found;
        let place = block.object(header.index());
        if header.class() != block.class_number || header.index() >= block.class.count || place != offset {
            return corrupt("a header that fits its place", offset);
        }
        match header.state() {
            State::Free => {
                self.report.free += 1;
                if block.free().load(Ordering::SeqCst) >> header.index() & 1 == 0 {
                    return corrupt("a free object that its superblock offers", offset);
                }
                Ok(())
            }
            State::Held => {
                self.report.held += 1;
                self.check_owner(actor, header.owner().0, offset)
            }
            State::Retired => {
                self.report.retired += 1;
                self.check_owner(actor, header.owner().0, offset)
            }
            State::Owned => {
                self.report.objects += 1;
                self.check_owner(actor, header.owner().0, offset)
            }
            State::Live => self.check_live(actor, offset),
            State::Unformatted | State::Super | State::Shifted => corrupt("a header", offset),
        }
    }

    fn check_live(&mut self, actor: &Actor<'_>, offset: u64) -> Result<()> {
        let is_linked = match actor.tag(offset)? {
            TAG_ENTRY => {
                self.report.entries += 1;
                let entry = Entry::load(actor.shared, offset)?;
                if actor.shared.ordered && !self.nodes.contains(&entry.key()) {
                    return corrupt("an entry whose key is in the index", offset);
                }
                actor.is_linked(offset, entry.hash())?
            }
            TAG_NODE => {
                self.report.nodes += 1;
                let node = Node::load(actor.shared, offset)?;
                !node.is_dead() && actor.is_listed(node)?
            }
            tag @ (TAG_LINE | TAG_TABLE) => {
                self.report.map_parts += 1;
                actor.is_part_of_map(offset, tag)?
            }
            _ => {
                self.report.objects += 1;
                true
            }
        };
        if is_linked {
            Ok(())
        } else {
            corrupt("an object that somebody has", offset)
        }
    }

    fn check_owner(&self, actor: &Actor<'_>, owner: u16, offset: u64) -> Result<()> {
        let index = u64::from(owner).wrapping_sub(1);
        if index >= actor.shared.layout.sessions {
            return corrupt("an owner that is a session", offset);
        }
        let status = actor.shared.status(index)?;
        // One who left without waiting for its readers is cleaned up after by whoever comes next.
        if status.state() != SlotState::Abandoned
            && (status.state() == SlotState::Free || actor.shared.is_orphan(status))
        {
            return corrupt("an owner that lives", offset);
        }
        Ok(())
    }

    /// An entry that something leads to.
    fn check_entry<'a>(&mut self, actor: &Actor<'a>, place: u64) -> Result<Entry<'a>> {
        let entry = Entry::load(actor.shared, place)?;
        let state = Header::load(entry.header()).state();
        if !matches!(state, State::Live | State::Owned) || actor.tag(place)? != TAG_ENTRY {
            return corrupt("a slot of an entry that is in use", place);
        }
        self.linked += 1;
        Ok(entry)
    }

    /// What a key had before, and whether its newest entry is a value at all.
    fn check_history<'a>(&mut self, actor: &Actor<'a>, newest: Entry<'a>, key: &[u8]) -> Result<()> {
        self.report.versions += u64::from(newest.is_tombstone());
        let mut above = newest;
        while let Some(older) = actor.shared.before(&above)? {
            self.check_entry(actor, older.offset)?;
            self.report.versions += 1;
            let in_order = actor.shared.date(&older) <= actor.shared.date(&above);
            if older.key() != key || !in_order || self.report.versions > self.report.entries {
                return corrupt("an older entry of the same key", older.offset);
            }
            above = older;
        }
        Ok(())
    }

    /// Checks a table that takes the place of the one `before`, if there is one.
    fn check_table(&mut self, actor: &Actor<'_>, table: Table, before: Option<Table>) -> Result<()> {
        for index in 0..table.lines() {
            // Until both lines that a line becomes are filled its entries are still its own, though one of the two may have them already.
            if let Some(before) = before.filter(|before| before != &table) {
                let line = before.line(index & (before.lines() - 1));
                if Guard::load(&actor.shared.map.line(line)?[0]).state() != LineState::Moved {
                    continue;
                }
            }
            let head = actor.shared.map.line(table.line(index))?;
            match Guard::load(&head[0]).state() {
                LineState::Raw | LineState::Moved => {}
                LineState::Pending => {
                    return corrupt("a line without a pending insertion", table.line(index));
                }
                LineState::Idle | LineState::Frozen => self.check_chain(actor, table, index)?,
            }
        }
        Ok(())
    }

    fn check_chain(&mut self, actor: &Actor<'_>, table: Table, index: u64) -> Result<()> {
        let mut words = actor.shared.map.line(table.line(index))?;
        let mut keys = HashSet::new();
        for _ in 0..CHAIN_MAX {
            for word in &words[1..=SLOTS] {
                let slot = word.load(Ordering::Acquire);
                let Some(place) = slot::place(slot) else { continue };
                let entry = self.check_entry(actor, place)?;
                let key = entry.key();
                let hash = actor.shared.hash(&key);
                if hash != entry.hash()
                    || table.head(hash) != table.line(index)
                    || !slot::fits(slot, slot::tag(hash))
                {
                    return corrupt("an entry where its key belongs", place);
                }
                self.check_history(actor, entry, &key)?;
                if !keys.insert(key) {
                    return corrupt("a key that stands in one slot only", place);
                }
            }
            match slot::place(words[LINK].load(Ordering::Acquire)) {
                Some(next) => words = actor.shared.map.line(next)?,
                None => return Ok(()),
            }
        }
        corrupt("a chain of lines that ends", table.line(index))
    }
}

/// The keys of the index, which must ascend. The levels above must lead to nodes that are in the list.
fn keys_in_order(actor: &Actor<'_>) -> Result<HashSet<Vec<u8>>> {
    let mut keys = HashSet::new();
    let mut listed = HashSet::new();
    each_of_level(actor, 0, &mut |node, key| {
        keys.insert(key);
        listed.insert(node.offset);
        Ok(())
    })?;
    for level in 1..LEVELS {
        each_of_level(actor, level, &mut |node, _| {
            if listed.contains(&node.offset) {
                Ok(())
            } else {
                corrupt("a node that is in the list as well", node.offset)
            }
        })?;
    }
    Ok(keys)
}

fn each_of_level<'a>(
    actor: &Actor<'a>,
    level: usize,
    visit: &mut dyn FnMut(Node<'a>, Vec<u8>) -> Result<()>,
) -> Result<()> {
    let mut last: Option<Vec<u8>> = None;
    let head = actor.shared.fixed(at::INDEX_HEAD + level as u64 * 8);
    let mut next = head.load(Ordering::Acquire) & !MARK;
    while next != 0 {
        let node = Node::load(actor.shared, next)?;
        let key = node.key();
        if last.as_ref().is_some_and(|last| *last >= key) {
            return corrupt("keys that ascend", next);
        }
        visit(node, key.clone())?;
        last = Some(key);
        next = node.link(level)?.load(Ordering::Acquire) & !MARK;
    }
    Ok(())
}
