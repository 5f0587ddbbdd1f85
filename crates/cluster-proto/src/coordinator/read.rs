//! Reads: one owner sends the entry, the others its rank. Where they differ, a majority is brought to the greatest before the answer, so that no later reader sees less.

use std::collections::{BTreeMap, BTreeSet};

use super::{Op, OpId, PartResult, Purpose, Side, not_enough};
use crate::bugs::Bug;
use crate::client::{Error, Found, Reply};
use crate::codec::Bytes;
use crate::config::majority;
use crate::entry::Rank;
use crate::id::{ClientToken, NodeId, Owner, RequestId};
use crate::message::{Body, ReadItem};
use crate::node::Node;
use crate::register::Action;

#[derive(Debug)]
pub(crate) struct ReadOp {
    purpose: Purpose,
    needed: u8,
    request: RequestId,
    items: Vec<Item>,
    refusals: BTreeSet<Owner>,
    /// All owners are asked: the first ones did not answer.
    widened: bool,
    pub(super) resend_at: u64,
    pub(super) ends_at: u64,
}

#[derive(Debug)]
struct Item {
    key: Bytes,
    side: Side,
    /// The order in which owners are asked; the first one for the whole entry.
    order: Vec<Owner>,
    answers: BTreeMap<Owner, ReadItem>,
    /// Another operation goes on with it; this is the answer if all goes well there.
    handed_on: Option<Found>,
    result: Option<Result<Found, Error>>,
}

impl ReadOp {
    pub(super) fn refused(&mut self, from: Owner, soon: Option<u64>) {
        self.refusals.insert(from);
        self.widened = true;
        self.resend_at = self.resend_at.min(soon.unwrap_or(u64::MAX));
    }

    pub(super) fn client(&self) -> Option<ClientToken> {
        match self.purpose {
            Purpose::Client(client) => Some(client),
            _ => None,
        }
    }
}

/// What the answers about a key call for.
enum Next {
    Wait,
    Answer(Found),
    Fetch(Owner),
    Register,
    WriteBack(crate::entry::Entry, Vec<Owner>, Found, bool),
}

impl Node {
    pub(super) fn begin_read(&mut self, purpose: Purpose, keys: Vec<Bytes>, needed: u8) {
        let ends_at = self.now.steady_ms + self.config.request_timeout_ms;
        let item = |key| Item {
            key,
            side: Side {
                owners: Vec::new(),
                needed,
            },
            order: Vec::new(),
            answers: BTreeMap::new(),
            handed_on: None,
            result: None,
        };
        let id = self.add_op(Op::Read(ReadOp {
            purpose,
            needed,
            request: RequestId(0),
            items: keys.into_iter().map(item).collect(),
            refusals: BTreeSet::new(),
            widened: false,
            resend_at: 0,
            ends_at,
        }));
        self.plan_read(id);
    }

    pub(super) fn plan_read(&mut self, id: OpId) {
        let request = self.new_request(id);
        let Some(layout) = self.layout.clone() else { return };
        let Some(Op::Read(mut op)) = self.coordinator.ops.remove(&id) else {
            return;
        };
        op.request = request;
        op.refusals.clear();
        for item in &mut op.items {
            item.side = self.read_side(layout.partition_of(&item.key), op.needed);
            item.answers.clear();
            item.order = self.preferred(&item.side.owners);
        }
        self.coordinator.ops.insert(id, Op::Read(op));
        self.send_read(id);
        self.reply_read(id);
    }

    /// This node first, then those that are thought to be there, in random order; the others last.
    fn preferred(&mut self, owners: &[Owner]) -> Vec<Owner> {
        let mut order = owners.to_vec();
        self.random.shuffle(&mut order);
        let place = |owner: &Owner| match owner.node {
            node if node == self.owner.node => 0,
            node if self.members.is_alive(node) => 1,
            node if self.members.is_reachable(node) => 2,
            _ => 3,
        };
        order.sort_by_key(place);
        order
    }

    fn send_read(&mut self, id: OpId) {
        let resend_at = self.now.steady_ms + self.config.resend_ms;
        let Some(Op::Read(op)) = self.coordinator.ops.get_mut(&id) else {
            return;
        };
        op.resend_at = resend_at;
        let mut messages: BTreeMap<(NodeId, bool), Vec<(u16, Bytes)>> = BTreeMap::new();
        for (index, item) in op.items.iter().enumerate() {
            if item.result.is_some() || item.handed_on.is_some() {
                continue;
            }
            let count = if op.widened {
                item.order.len()
            } else {
                usize::from(op.needed)
            };
            for (place, owner) in item.order.iter().take(count).enumerate() {
                let whole = place == 0 || op.widened;
                if !item.answers.contains_key(owner) {
                    messages
                        .entry((owner.node, whole))
                        .or_default()
                        .push((index as u16, item.key.clone()));
                }
            }
        }
        let request = op.request;
        for ((node, whole), keys) in messages {
            self.send(node, Body::Read { request, whole, keys });
        }
    }

    pub(crate) fn on_read_done(&mut self, from: Owner, request: RequestId, items: Vec<ReadItem>) {
        let Some(id) = self.op_of(request) else { return };
        let Some(Op::Read(op)) = self.coordinator.ops.get_mut(&id) else {
            return;
        };
        let mut touched = Vec::new();
        for answer in items {
            let index = answer.index;
            let Some(item) = op.items.get_mut(usize::from(index)) else {
                continue;
            };
            let open = item.result.is_none() && item.handed_on.is_none();
            if !open || !item.side.owners.contains(&from) {
                continue;
            }
            let known = item
                .answers
                .get(&from)
                .is_some_and(|known| known.entry.is_some() && known.rank >= answer.rank);
            if !known {
                item.answers.insert(from, answer);
            }
            touched.push(index);
        }
        for index in touched {
            self.judge_read(id, index);
        }
        self.reply_read(id);
    }

    fn judge_read(&mut self, id: OpId, index: u16) {
        let Some(Op::Read(op)) = self.coordinator.ops.get(&id) else {
            return;
        };
        let (request, item) = (op.request, &op.items[usize::from(index)]);
        let key = item.key.clone();
        match self.next_of(op, item) {
            Next::Wait => {}
            Next::Answer(found) => self.set_found(id, index, Ok(found)),
            Next::Fetch(owner) => {
                let (whole, keys) = (true, vec![(index, key)]);
                self.send(owner.node, Body::Read { request, whole, keys });
            }
            Next::Register => {
                self.hand_on(id, index, Found::default());
                self.begin_ballot(Purpose::Part(id, index), key, Action::Read);
            }
            Next::WriteBack(entry, holders, found, wait) => {
                if wait {
                    self.hand_on(id, index, found);
                    self.begin_write_back(Purpose::Part(id, index), &key, entry, &holders);
                } else {
                    self.set_found(id, index, Ok(found));
                    self.begin_write_back(Purpose::Background, &key, entry, &holders);
                }
            }
        }
    }

    fn next_of(&self, op: &ReadOp, item: &Item) -> Next {
        let Some(layout) = &self.layout else {
            return Next::Wait;
        };
        if item.answers.len() < usize::from(item.side.needed) {
            return Next::Wait;
        }
        let binding = op.needed >= majority(layout.quorums.replica_count);
        if binding && item.answers.values().any(|answer| answer.register) {
            return Next::Register;
        }
        let greatest = item
            .answers
            .values()
            .map(|answer| answer.rank)
            .max()
            .unwrap_or_default();
        if greatest == Rank::ABSENT {
            return Next::Answer(Found::default());
        }
        let holders: Vec<Owner> = item
            .answers
            .iter()
            .filter(|(_, answer)| answer.rank == greatest)
            .map(|(&owner, _)| owner)
            .collect();
        let Some(entry) = holders.iter().find_map(|owner| item.answers[owner].entry.clone()) else {
            return holders.first().map_or(Next::Wait, |&owner| Next::Fetch(owner));
        };
        let found = self.found(&entry.record);
        let differ = holders.len() < item.answers.len();
        // While a partition moves, the next reader may ask the other side: what is answered must be there as well.
        let moving = layout.writers(layout.partition_of(&item.key)).len() > 1;
        if !(differ || (moving && binding)) || self.has_bug(Bug::NoReadRepair) {
            return Next::Answer(found);
        }
        Next::WriteBack(entry, holders, found, binding)
    }

    fn hand_on(&mut self, id: OpId, index: u16, found: Found) {
        if let Some(Op::Read(op)) = self.coordinator.ops.get_mut(&id) {
            op.items[usize::from(index)].handed_on = Some(found);
        }
    }

    fn set_found(&mut self, id: OpId, index: u16, result: Result<Found, Error>) {
        if let Some(Op::Read(op)) = self.coordinator.ops.get_mut(&id)
            && let Some(item) = op.items.get_mut(usize::from(index))
        {
            item.result = Some(result);
        }
    }

    pub(super) fn read_part_done(&mut self, id: OpId, index: u16, result: PartResult) {
        let Some(Op::Read(op)) = self.coordinator.ops.get_mut(&id) else {
            return;
        };
        let Some(item) = op.items.get_mut(usize::from(index)) else {
            return;
        };
        let Some(found) = item.handed_on.clone() else {
            return;
        };
        match result {
            PartResult::Written(Ok(_)) => self.set_found(id, index, Ok(found)),
            PartResult::Written(Err(error)) | PartResult::Found(Err(error)) => {
                self.set_found(id, index, Err(error))
            }
            PartResult::Found(Ok(found)) => self.set_found(id, index, Ok(found)),
            PartResult::MetRegister => {
                // The key became a register, or was settled, since it was read: begin again with it.
                item.handed_on = None;
                item.answers.clear();
                op.widened = true;
                op.resend_at = 0;
                return;
            }
        }
        self.reply_read(id);
    }

    fn reply_read(&mut self, id: OpId) {
        let Some(Op::Read(op)) = self.coordinator.ops.get(&id) else {
            return;
        };
        let results: Option<Vec<Result<Found, Error>>> =
            op.items.iter().map(|item| item.result.clone()).collect();
        let Some(results) = results else { return };
        let (purpose, request) = (op.purpose, op.request);
        self.coordinator.ops.remove(&id);
        self.end_request(request);
        if let Purpose::Client(client) = purpose {
            self.stats.failures += u64::from(results.iter().any(Result::is_err));
            self.reply(client, Reply::Values(results));
        }
    }

    pub(super) fn tick_read(&mut self, id: OpId) {
        let now = self.now.steady_ms;
        let Some(Op::Read(op)) = self.coordinator.ops.get_mut(&id) else {
            return;
        };
        if now < op.ends_at {
            op.widened = true;
            // An answer that was to bring the whole entry may have been lost.
            for item in op
                .items
                .iter_mut()
                .filter(|item| item.result.is_none() && item.handed_on.is_none())
            {
                let needed = usize::from(item.side.needed);
                if item.answers.len() >= needed {
                    item.answers.retain(|_, answer| answer.entry.is_some());
                }
            }
            self.send_read(id);
            return;
        }
        let refusals = op.refusals.clone();
        for item in op.items.iter_mut().filter(|item| item.result.is_none()) {
            let answered = |owner: &Owner| item.answers.contains_key(owner);
            let sides = std::slice::from_ref(&item.side);
            item.result = Some(Err(not_enough(sides, answered, |owner| {
                refusals.contains(owner) && !answered(owner)
            })));
        }
        self.reply_read(id);
    }
}
