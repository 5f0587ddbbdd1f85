//! The order over the log: for each tree the last operation of every key, the deleted ranges, and what it takes to undo each
//! operation exactly.

use std::collections::BTreeMap;

use super::log::{Kind, Log, NO_OP, OpNumber};
use super::presort::SlotsByTree;
use super::slots::{Slot, Slots};
use crate::ids::TreeId;

/// What is staged for one tree.
#[derive(Debug, Default)]
pub(super) struct TreeIndex {
    /// The last operation of every key that has one.
    pub(super) points: Slots,
    /// Deleted ranges of the base: disjoint, and no two touch.
    pub(super) ranges: Slots,
    pub(super) dropped: bool,
    /// Whether keys came in another order than they sort in.
    pub(super) mixed: bool,
}

impl TreeIndex {
    fn is_empty(&self) -> bool {
        !self.dropped && self.points.is_empty() && self.ranges.is_empty()
    }

    /// The last operation on `key`.
    pub(super) fn point(&self, log: &Log, key: &[u8]) -> Option<OpNumber> {
        let at = self.points.find(log, key).ok()?;
        self.points.get(at).map(|slot| slot.op)
    }

    /// Whether what the base has under `key` is gone.
    pub(super) fn hides(&self, log: &Log, key: &[u8]) -> bool {
        if self.dropped {
            return true;
        }
        let after = self.ranges.upper_bound(log, key);
        let Some(range) = self.ranges.before(after).and_then(|at| self.ranges.get(at)) else {
            return false;
        };
        log.range_end(range.end).is_none_or(|end| key < end)
    }

    /// Hides a range of the base and forgets the points in it.
    fn delete_range(&mut self, log: &Log, op: OpNumber) -> Undo {
        let start = log.key(op);
        let end = log.range_end(op);
        let from = self.points.lower_bound(log, start);
        let to = match end {
            Some(end) => self.points.lower_bound(log, end),
            None => self.points.end(),
        };
        let points = self.points.drain(from, to);

        // Every range that overlaps or touches this one becomes one with it.
        let mut from = self.ranges.lower_bound(log, start);
        if let Some(before) = self.ranges.before(from)
            && let Some(range) = self.ranges.get(before)
            && log.range_end(range.end).is_none_or(|its_end| its_end >= start)
        {
            from = before;
        }
        let to = match end {
            Some(end) => self.ranges.upper_bound(log, end),
            None => self.ranges.end(),
        };
        let ranges = self.ranges.drain(from, to);
        let first = ranges.first().map_or(op, |range| range.op);
        let first = if log.key(first) < start { first } else { op };
        let last = ranges.last().map_or(op, |range| range.end);
        let last = match (log.range_end(last), end) {
            (_, None) => op,
            (Some(its_end), Some(end)) if its_end <= end => op,
            _ => last,
        };
        let union = Slot {
            prefix: log.prefix(log.key(first)),
            op: first,
            end: last,
        };
        let at = self.ranges.lower_bound(log, log.key(first));
        self.ranges.insert(at, union);
        Undo::Range {
            points,
            ranges,
            union,
        }
    }

    fn undo_range(&mut self, log: &Log, points: Vec<Slot>, ranges: Vec<Slot>, union: Slot) {
        if let Ok(at) = self.ranges.find(log, log.key(union.op)) {
            self.ranges.remove(at);
        }
        for (slots, removed) in [(&mut self.ranges, ranges), (&mut self.points, points)] {
            for slot in removed {
                let at = slots.lower_bound(log, log.key(slot.op));
                slots.insert(at, slot);
            }
        }
    }
}

/// How to take back an operation that is not a point.
#[derive(Debug)]
enum Undo {
    Range {
        points: Vec<Slot>,
        ranges: Vec<Slot>,
        union: Slot,
    },
    Drop {
        was: TreeIndex,
    },
}

#[derive(Debug, Default)]
pub(super) struct Index {
    trees: BTreeMap<TreeId, TreeIndex>,
    /// For every operation on a point the one before it on the same key that was still staged then, else [`NO_OP`].
    previous: Vec<OpNumber>,
    /// Of the operations that are not points, in the order of the log.
    undo: Vec<Undo>,
}

impl Index {
    /// Orders a log that has only points: a range or a drop makes the stage build its index first.
    pub(super) fn of_points(log: &Log) -> Index {
        if log.len() == 0 {
            return Index::default();
        }
        // Mostly one tree follows itself, and often there is only one: then its slots are never moved.
        let mut slots = SlotsByTree::new();
        let mut run: Vec<Slot> = Vec::with_capacity(log.len());
        let mut tree = log.tree(0);
        for op in 0..log.len() as OpNumber {
            if log.tree(op) != tree {
                slots.entry(tree).or_default().append(&mut run);
                tree = log.tree(op);
            }
            let prefix = log.prefix(log.key(op));
            run.push(Slot {
                prefix,
                op,
                end: NO_OP,
            });
        }
        match slots.get_mut(&tree) {
            Some(others) => others.append(&mut run),
            None => drop(slots.insert(tree, run)),
        }
        Index::of_slots(log, slots)
    }

    /// The same from slots that were made before: one for each operation, by tree. The nearer to their order, the less it takes.
    pub(super) fn of_slots(log: &Log, slots: SlotsByTree) -> Index {
        let mut previous = vec![NO_OP; log.len()];
        let mut trees = BTreeMap::new();
        for (tree, mut slots) in slots {
            sort_by_key(log, &mut slots);
            let index = TreeIndex {
                mixed: !slots.is_sorted_by_key(|slot| slot.op),
                points: without_earlier(log, slots, &mut previous),
                ..TreeIndex::default()
            };
            trees.insert(tree, index);
        }
        Index {
            trees,
            previous,
            undo: Vec::new(),
        }
    }

    pub(super) fn tree(&self, tree: TreeId) -> Option<&TreeIndex> {
        self.trees.get(&tree)
    }

    /// The trees that something is staged for, in ascending order.
    pub(super) fn trees(&self) -> impl Iterator<Item = (TreeId, &TreeIndex)> {
        self.trees
            .iter()
            .filter(|(_, index)| !index.is_empty())
            .map(|(tree, index)| (*tree, index))
    }

    pub(super) fn previous(&self, op: OpNumber) -> Option<OpNumber> {
        let previous = self.previous[op as usize];
        (previous != NO_OP).then_some(previous)
    }

    /// Bytes of memory that the index fills, roughly.
    pub(super) fn bytes(&self) -> usize {
        self.previous.len() * (size_of::<Slot>() + size_of::<OpNumber>())
    }

    /// Takes in the operation that was just logged.
    pub(super) fn apply(&mut self, log: &Log, op: OpNumber) {
        let index = self.trees.entry(log.tree(op)).or_default();
        let mut previous = NO_OP;
        match log.kind(op) {
            Kind::Put | Kind::PutLarge | Kind::Delete | Kind::Merge => {
                let key = log.key(op);
                match index.points.find(log, key) {
                    Ok(at) => {
                        let slot = index.points.get_mut(at).expect("the search found a slot");
                        previous = std::mem::replace(&mut slot.op, op);
                    }
                    Err(at) => {
                        let prefix = log.prefix(key);
                        index.mixed |= at != index.points.end();
                        index.points.insert(
                            at,
                            Slot {
                                prefix,
                                op,
                                end: NO_OP,
                            },
                        );
                    }
                }
            }
            Kind::DeleteRange | Kind::DeleteFrom => self.undo.push(index.delete_range(log, op)),
            Kind::DropTree => {
                let dropped = TreeIndex {
                    dropped: true,
                    ..TreeIndex::default()
                };
                let was = std::mem::replace(index, dropped);
                self.undo.push(Undo::Drop { was });
            }
        }
        self.previous.push(previous);
    }

    /// Takes back the last operation, which is still in the log.
    pub(super) fn undo(&mut self, log: &Log, op: OpNumber) {
        let previous = self.previous.pop();
        let index = self.trees.entry(log.tree(op)).or_default();
        match log.kind(op) {
            Kind::Put | Kind::PutLarge | Kind::Delete | Kind::Merge => {
                let Ok(at) = index.points.find(log, log.key(op)) else {
                    unreachable!("the last operation on a key is in the index");
                };
                match previous {
                    Some(NO_OP) | None => index.points.remove(at),
                    Some(previous) => {
                        index.points.get_mut(at).expect("the search found a slot").op = previous
                    }
                }
            }
            Kind::DeleteRange | Kind::DeleteFrom | Kind::DropTree => match self.undo.pop() {
                Some(Undo::Range {
                    points,
                    ranges,
                    union,
                }) => index.undo_range(log, points, ranges, union),
                Some(Undo::Drop { was }) => *index = was,
                None => unreachable!("every range and drop in the index has an undo"),
            },
        }
    }
}

/// Sorts the slots of one tree by key, then by operation.
fn sort_by_key(log: &Log, slots: &mut [Slot]) {
    if !sort(log, slots, 0) {
        for slot in slots {
            slot.prefix = log.prefix(log.key(slot.op));
        }
    }
}

/// Keeps the last of each key and links it to the ones before.
fn without_earlier(log: &Log, mut slots: Vec<Slot>, previous: &mut [OpNumber]) -> Slots {
    slots.dedup_by(|later, kept| {
        let same = later.prefix == kept.prefix && log.key(later.op) == log.key(kept.op);
        if same {
            previous[later.op as usize] = kept.op;
            kept.op = later.op;
        }
        same
    });
    Slots::from_sorted(slots)
}

/// How many times a sort looks at the next bytes of keys that were the same so far, before it compares whole keys.
const SORT_ROUNDS: u32 = 16;

/// Sorts by key, then by operation. In the first round the slots have the prefixes of their keys. Leaves prefixes of its own in them, unless it says that
/// they are still those of the keys.
///
/// A comparison that goes to the arena costs a cache miss or two, so the keys are sorted by eight bytes behind the beginning that they
/// all share, which the slots hold, and then those with the same eight bytes by their next, and so on.
fn sort(log: &Log, slots: &mut [Slot], round: u32) -> bool {
    if log.is_secure() || round == SORT_ROUNDS {
        slots.sort_unstable_by(|a, b| log.key(a.op).cmp(log.key(b.op)).then(a.op.cmp(&b.op)));
        return round == 0;
    }
    let shared = common_prefix(log, slots);
    let mut intact = round == 0 && shared == 0;
    if !intact {
        for slot in &mut *slots {
            slot.prefix = log.prefix(&log.key(slot.op)[shared..]);
        }
    }
    // Finds out by itself, in one pass, when the slots are in order already.
    slots.sort_unstable_by_key(|slot| u128::from(slot.prefix) << 32 | u128::from(slot.op));
    for same in slots.chunk_by_mut(|a, b| a.prefix == b.prefix) {
        // Most are alone, and not worth a look into the arena.
        let [first, others @ ..] = &*same else { continue };
        if !others.is_empty() && others.iter().any(|slot| log.key(slot.op) != log.key(first.op)) {
            // A key that ends within its eight bytes looks like one with zeroes there.
            let ends = same.iter().any(|slot| log.key(slot.op).len() < shared + 8);
            let round = if ends { SORT_ROUNDS } else { round + 1 };
            sort(log, same, round);
            intact = false;
        }
    }
    intact
}

fn common_prefix(log: &Log, slots: &[Slot]) -> usize {
    let Some(first) = slots.first().map(|slot| log.key(slot.op)) else {
        return 0;
    };
    let mut shared = first;
    for slot in slots {
        let key = log.key(slot.op);
        if !key.starts_with(shared) {
            let len = shared.iter().zip(key).take_while(|(a, b)| a == b).count();
            shared = &shared[..len];
        }
        if shared.is_empty() {
            break;
        }
    }
    shared.len()
}
