//! Hints: writes kept for owners that did not take them in time, and delivered when they are back.
//!
//! They are stored, bounded for each node, and sent a batch at a time. What is over the bound is dropped and left to comparisons. A hint that is older than
//! what its owner has sealed is refused there, and void.

use std::collections::{BTreeMap, VecDeque};

use crate::bugs::Bug;
use crate::codec::{Bytes, DecodeError, Wire, wire_struct};
use crate::entry::{Entry, Record};
use crate::id::{NodeId, Owner, RequestId};
use crate::message::{Body, Origin, WriteItem, Written};
use crate::node::{Node, Pending, StartError, meta};
use crate::store::{Meta, StoreOp};

#[derive(Clone, Debug)]
struct Hint {
    number: u64,
    kept: Kept,
}

/// A hint as it is stored.
#[derive(Clone, Debug)]
struct Kept {
    key: Bytes,
    record: Record,
}

wire_struct!(Kept { key, record });

impl Hint {
    fn size(&self) -> usize {
        self.kept.key.len() + Entry::plain(self.kept.record.clone()).size()
    }
}

#[derive(Debug, Default)]
struct Queue {
    hints: VecDeque<Hint>,
    bytes: usize,
    next_at: u64,
    /// The batch that is on its way: its numbers, by their places in the message.
    sent: Option<(RequestId, Vec<u64>)>,
}

#[derive(Debug, Default)]
pub(crate) struct Hints {
    queues: BTreeMap<NodeId, Queue>,
    next: u64,
}

fn name(node: NodeId, number: u64) -> Vec<u8> {
    [meta::HINTS, &node.0.to_be_bytes(), &number.to_be_bytes()].concat()
}

impl Hints {
    pub(crate) fn restored(stored: &Meta) -> Result<Hints, StartError> {
        let damaged = |source| StartError::Damaged { name: "hint", source };
        let mut hints = Hints::default();
        for (name, bytes) in stored.iter().filter(|(name, _)| name.starts_with(meta::HINTS)) {
            let rest = &name[meta::HINTS.len()..];
            let (node, rest) = rest.split_first_chunk().ok_or(damaged(DecodeError::Short))?;
            let number = rest.try_into().map_err(|_| damaged(DecodeError::Short))?;
            let hint = Hint {
                number: u64::from_be_bytes(number),
                kept: Kept::from_bytes(bytes).map_err(damaged)?,
            };
            hints.next = hints.next.max(hint.number);
            let queue = hints.queues.entry(NodeId(u64::from_be_bytes(*node))).or_default();
            queue.bytes += hint.size();
            queue.hints.push_back(hint);
        }
        Ok(hints)
    }

    pub(crate) fn count(&self) -> usize {
        self.queues.values().map(|queue| queue.hints.len()).sum()
    }

    /// A node is back: its hints are due.
    pub(crate) fn wake(&mut self, node: NodeId) {
        if let Some(queue) = self.queues.get_mut(&node) {
            queue.next_at = 0;
        }
    }

    pub(crate) fn forget_all(&mut self) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
        let queues = std::mem::take(&mut self.queues);
        let names = queues.iter().flat_map(|(&node, queue)| {
            queue
                .hints
                .iter()
                .map(move |hint| (name(node, hint.number), None))
        });
        names.collect()
    }
}

impl Node {
    pub(crate) fn keep_hint(&mut self, node: NodeId, key: Bytes, record: Record) {
        if self.has_bug(Bug::NoRepair) {
            return;
        }
        self.hints.next += 1;
        let hint = Hint {
            number: self.hints.next,
            kept: Kept { key, record },
        };
        let queue = self.hints.queues.entry(node).or_default();
        if queue.bytes + hint.size() > self.config.hint_bytes_max {
            self.stats.hints_dropped += 1;
            return;
        }
        queue.bytes += hint.size();
        let changes = vec![(name(node, hint.number), Some(hint.kept.to_bytes()))];
        queue.hints.push_back(hint);
        self.store(StoreOp::Meta { changes }, Pending::Nothing);
    }

    pub(super) fn tick_hints(&mut self) {
        let now = self.now.steady_ms;
        let due: Vec<NodeId> = self
            .hints
            .queues
            .iter()
            .filter(|(node, queue)| now >= queue.next_at && self.members.is_reachable(**node))
            .map(|(&node, _)| node)
            .collect();
        for node in due {
            self.send_hints(node);
        }
    }

    fn send_hints(&mut self, node: NodeId) {
        let request = self.next_request();
        let Some(layout) = self.layout.clone() else { return };
        let owns = |hint: &Hint| {
            layout
                .owners(layout.partition_of(&hint.kept.key))
                .iter()
                .any(|owner| owner.node == node)
        };
        let Some(queue) = self.hints.queues.get_mut(&node) else {
            return;
        };
        queue.next_at = self.now.steady_ms + self.config.hint_interval_ms;
        let (kept, void): (VecDeque<Hint>, VecDeque<Hint>) =
            std::mem::take(&mut queue.hints).into_iter().partition(owns);
        queue.hints = kept;
        let batch: Vec<&Hint> = queue.hints.iter().take(self.config.hint_batch).collect();
        queue.sent = Some((request, batch.iter().map(|hint| hint.number).collect()));
        let item = |(index, hint): (u16, &Hint)| WriteItem {
            index,
            key: hint.kept.key.clone(),
            entry: Entry::plain(hint.kept.record.clone()),
        };
        let items: Vec<WriteItem> = (0..).zip(batch).map(item).collect();
        self.stats.hints_dropped += void.len() as u64;
        self.forget_hints(
            node,
            &void.iter().map(|hint| hint.number).collect::<Vec<u64>>(),
            &void,
        );
        if items.is_empty() {
            self.hints.queues.remove(&node);
            return;
        }
        let (origin, durable) = (Origin::Hint, true);
        self.send(
            node,
            Body::Write {
                request,
                origin,
                durable,
                items,
            },
        );
    }

    fn forget_hints(&mut self, node: NodeId, numbers: &[u64], gone: &VecDeque<Hint>) {
        if numbers.is_empty() {
            return;
        }
        if let Some(queue) = self.hints.queues.get_mut(&node) {
            queue.bytes = queue.bytes.saturating_sub(gone.iter().map(Hint::size).sum());
        }
        let changes = numbers.iter().map(|&number| (name(node, number), None)).collect();
        self.store(StoreOp::Meta { changes }, Pending::Nothing);
    }

    /// Whether the answer was to hints.
    pub(super) fn hints_written(
        &mut self,
        from: Owner,
        request: RequestId,
        items: &[(u16, Written)],
    ) -> bool {
        let Some(queue) = self.hints.queues.get_mut(&from.node) else {
            return false;
        };
        let Some((_, numbers)) = queue.sent.take_if(|(sent, _)| *sent == request) else {
            return false;
        };
        let over = |(index, written): &(u16, Written)| {
            let number = numbers.get(usize::from(*index)).copied();
            number.filter(|_| !matches!(written, Written::Failed | Written::Ahead))
        };
        let over: Vec<u64> = items.iter().filter_map(over).collect();
        let (gone, kept) = std::mem::take(&mut queue.hints)
            .into_iter()
            .partition(|hint| over.contains(&hint.number));
        queue.hints = kept;
        // There may be more: the next batch goes at the next tick.
        queue.next_at = 0;
        self.stats.hints_delivered += over.len() as u64;
        self.forget_hints(from.node, &over, &gone);
        true
    }

    pub(super) fn hints_refused(&mut self, request: RequestId) {
        for queue in self.hints.queues.values_mut() {
            queue.sent.take_if(|(sent, _)| *sent == request);
        }
    }
}
