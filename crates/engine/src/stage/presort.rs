//! Puts a long log in order while it still grows.
//!
//! Who stages operations one after the other, and needs their order only at the end, notes each of them here. What is noted is sorted in runs by a
//! thread of its own, by what the slots alone say: eight bytes of the key, and the number of the operation. The index is built from that as from slots in
//! any order, so that a mistake here would cost time and nothing else.

use std::collections::BTreeMap;
use std::panic::resume_unwind;
use std::sync::mpsc::{Sender, channel};
use std::thread::{Builder, JoinHandle};

use super::Stage;
use super::log::{Kind, Log, NO_OP, OpNumber};
use super::slots::Slot;
use crate::ids::TreeId;

/// Operations on one tree that are sorted together. A log shorter than that is sorted without a thread.
const RUN: usize = 16 << 10;

/// Slots by tree.
pub(super) type SlotsByTree = BTreeMap<TreeId, Vec<Slot>>;

/// The operations of a stage that is filled, on their way into order.
pub(crate) struct Presort {
    run: usize,
    /// How many operations were noted.
    noted: usize,
    /// Runs that are not full.
    growing: SlotsByTree,
    sorter: Option<Sorter>,
}

/// The thread that sorts.
struct Sorter {
    runs: Sender<(TreeId, Vec<Slot>)>,
    thread: JoinHandle<SlotsByTree>,
}

impl Presort {
    pub(crate) fn new() -> Presort {
        Presort::in_runs_of(RUN)
    }

    pub(super) fn in_runs_of(run: usize) -> Presort {
        Presort {
            run,
            noted: 0,
            growing: SlotsByTree::new(),
            sorter: None,
        }
    }

    /// Notes the last operation of `stage`. Those of one that keeps no bytes of keys outside of its arena, or is in order already, are left alone.
    #[inline]
    pub(crate) fn note(&mut self, stage: &Stage) {
        let log = &stage.log;
        let Some(op) = log.len().checked_sub(1).map(|op| op as OpNumber) else {
            return;
        };
        let is_point = matches!(
            log.kind(op),
            Kind::Put | Kind::PutLarge | Kind::Delete | Kind::Merge
        );
        // One that left nothing behind has the one before it as the last, which is known.
        let is_next = op as usize == self.noted;
        if !is_point || !is_next || log.is_secure() || stage.index.get().is_some() {
            return;
        }
        self.noted += 1;
        let tree = log.tree(op);
        let slots = self.growing.entry(tree).or_default();
        slots.push(Slot {
            prefix: log.prefix(log.key(op)),
            op,
            end: NO_OP,
        });
        if slots.len() == self.run {
            let run = std::mem::replace(slots, Vec::with_capacity(self.run));
            self.hand_over(tree, run);
        }
    }

    #[cold]
    fn hand_over(&mut self, tree: TreeId, run: Vec<Slot>) {
        if self.sorter.is_none() {
            self.sorter = Sorter::start();
        }
        match &self.sorter {
            Some(sorter) => {
                // Fails only where the thread has panicked, which is heard of when it is waited for.
                let _ = sorter.runs.send((tree, run));
            }
            // The system has no thread for it now: the runs grow on, and are sorted at the end.
            None => {
                self.run *= 2;
                self.growing.insert(tree, run);
            }
        }
    }

    /// Everything that was noted, by tree, mostly in order; `None` where it is not all that `log` has.
    pub(super) fn finish(self, log: &Log) -> Option<SlotsByTree> {
        let mut sorted = match self.sorter {
            Some(Sorter { runs, thread }) => {
                drop(runs);
                thread.join().unwrap_or_else(|panic| resume_unwind(panic))
            }
            None => SlotsByTree::new(),
        };
        for (tree, mut rest) in self.growing {
            let slots = sorted.entry(tree).or_default();
            rest.sort_unstable_by_key(order);
            slots.append(&mut rest);
            merge_runs(slots);
        }
        (self.noted == log.len()).then_some(sorted)
    }
}

impl Sorter {
    fn start() -> Option<Sorter> {
        let (runs, received) = channel::<(TreeId, Vec<Slot>)>();
        let sort = move || {
            let mut sorted = SlotsByTree::new();
            for (tree, mut run) in received {
                run.sort_unstable_by_key(order);
                sorted.entry(tree).or_default().append(&mut run);
            }
            sorted.values_mut().for_each(|slots| merge_runs(slots));
            sorted
        };
        let thread = Builder::new().name("weald-sort".into()).spawn(sort).ok()?;
        Some(Sorter { runs, thread })
    }
}

/// Merges sorted runs that lie one behind the other: the stable sort finds them.
fn merge_runs(slots: &mut [Slot]) {
    slots.sort_by_key(order);
}

fn order(slot: &Slot) -> u128 {
    u128::from(slot.prefix) << 32 | u128::from(slot.op)
}
