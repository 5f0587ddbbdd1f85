//! Writes, and the write-backs of readers.
//!
//! A write is acknowledged when a quorum of each side has applied it, or holds something later. If one of them held something later, that may have been acknowledged before this write began, by a faster clock: then this
//! write would lose to what came before it. So it is written again, once, with a version later than all that the quorum told of. Whatever was acknowledged, or shown to a reader, before the write began, is among that; so what is later
//! still was there at the same time, and the write has its place right before it. Owners that have not answered by the end get a hint.

use std::collections::BTreeSet;

use super::{Op, OpId, PartResult, Purpose, Side, not_enough};
use crate::bugs::Bug;
use crate::client::{Error, Reply};
use crate::clock::Version;
use crate::codec::Bytes;
use crate::config::majority;
use crate::entry::{Entry, Record};
use crate::id::{ClientToken, NodeId, Owner, RequestId};
use crate::message::{Body, Origin, WriteItem, Written};
use crate::node::Node;
use crate::register::Action;

#[derive(Debug)]
pub(crate) struct WriteOp {
    purpose: Purpose,
    origin: Origin,
    durable: bool,
    needed: u8,
    request: RequestId,
    items: Vec<Item>,
    refusals: BTreeSet<Owner>,
    replied: bool,
    /// Its version is later than everything that was to be seen when the client asked: a quorum has told.
    again: bool,
    pub(super) resend_at: u64,
    pub(super) ends_at: u64,
}

#[derive(Debug)]
struct Item {
    key: Bytes,
    entry: Entry,
    sides: Vec<Side>,
    /// In the order in which they came; one for each owner.
    answers: Vec<(Owner, Written)>,
    /// Another operation goes on with it.
    handed_on: bool,
    result: Option<Result<Version, Error>>,
}

impl Item {
    fn new(key: Bytes, entry: Entry) -> Item {
        Item {
            key,
            entry,
            sides: Vec::new(),
            answers: Vec::new(),
            handed_on: false,
            result: None,
        }
    }

    /// There are at most twice as many as replicas.
    fn answer(&self, owner: &Owner) -> Option<Written> {
        let mut answers = self.answers.iter();
        answers
            .find(|(from, _)| from == owner)
            .map(|(_, written)| *written)
    }

    fn take_answer(&mut self, owner: Owner, written: Written) {
        match self.answers.iter_mut().find(|(from, _)| *from == owner) {
            Some((_, before)) => *before = written,
            None => self.answers.push((owner, written)),
        }
    }

    fn holds(&self, owner: &Owner) -> bool {
        matches!(
            self.answer(owner),
            Some(Written::Applied | Written::Superseded { .. })
        )
    }

    /// The greatest version that an owner held when this came.
    fn greatest_met(&self) -> Option<Version> {
        let met = self.answers.iter().filter_map(|(_, answer)| match answer {
            Written::Superseded { by } => Some(by.version),
            _ => None,
        });
        met.max()
    }

    fn refuses(&self, owner: &Owner) -> bool {
        self.answer(owner).is_some() && !self.holds(owner)
    }

    /// All owners, each once.
    fn owners(&self) -> impl Iterator<Item = &Owner> {
        let sides = self.sides.iter().enumerate();
        sides.flat_map(|(at, side)| {
            let before = &self.sides[..at];
            let first = |owner: &&Owner| !before.iter().any(|side| side.owners.contains(owner));
            side.owners.iter().filter(first)
        })
    }

    fn is_owner(&self, owner: &Owner) -> bool {
        self.sides.iter().any(|side| side.owners.contains(owner))
    }

    /// What the answers amount to, once they do.
    fn verdict(&self) -> Option<Result<(), Error>> {
        let enough = |side: &Side| side.count(|owner| self.holds(owner)) >= side.needed;
        if !self.sides.is_empty() && self.sides.iter().all(enough) {
            return Some(Ok(()));
        }
        let hopeless = |side: &Side| {
            let refused = side.count(|owner| self.refuses(owner));
            (side.owners.len() as u8).saturating_sub(refused) < side.needed && refused > 0
        };
        self.sides
            .iter()
            .any(hopeless)
            .then(|| Err(self.error(&BTreeSet::new())))
    }

    fn error(&self, refusals: &BTreeSet<Owner>) -> Error {
        let refused = |owner: &Owner| self.refuses(owner) || (refusals.contains(owner) && !self.holds(owner));
        not_enough(&self.sides, |owner| self.holds(owner), refused)
    }
}

impl WriteOp {
    pub(super) fn refused(&mut self, from: Owner, soon: Option<u64>) {
        self.refusals.insert(from);
        self.resend_at = self.resend_at.min(soon.unwrap_or(u64::MAX));
    }

    pub(super) fn client(&self) -> Option<ClientToken> {
        match self.purpose {
            Purpose::Client(client) if !self.replied => Some(client),
            _ => None,
        }
    }
}

impl Node {
    pub(super) fn begin_put(
        &mut self,
        purpose: Purpose,
        items: Vec<(Bytes, Option<Bytes>)>,
        ttl_ms: Option<u64>,
        needed: u8,
        durable: bool,
    ) -> Result<(), Error> {
        let mut list = Vec::with_capacity(items.len());
        for (key, value) in items {
            let version = self.issue_version()?;
            let expires_ms = ttl_ms
                .filter(|_| value.is_some())
                .map(|ttl| version.ms().saturating_add(ttl));
            let record = Record {
                version,
                expires_ms,
                value,
            };
            list.push(Item::new(key, Entry::plain(record)));
        }
        self.begin_write(purpose, Origin::Client, list, needed, durable);
        Ok(())
    }

    fn begin_write(
        &mut self,
        purpose: Purpose,
        origin: Origin,
        items: Vec<Item>,
        needed: u8,
        durable: bool,
    ) -> OpId {
        let ends_at = self.now.steady_ms + self.config.request_timeout_ms;
        let id = self.add_op(Op::Write(WriteOp {
            purpose,
            origin,
            durable,
            needed,
            request: RequestId(0),
            items,
            refusals: BTreeSet::new(),
            replied: false,
            again: false,
            resend_at: 0,
            ends_at,
        }));
        self.plan_write(id);
        id
    }

    /// Writes back what a reader found, until so many have it that no majority of readers can miss it. Those in `holders` have it already.
    pub(super) fn begin_write_back(
        &mut self,
        purpose: Purpose,
        key: &Bytes,
        entry: Entry,
        holders: &[Owner],
    ) {
        self.stats.read_repairs += 1;
        let Some(layout) = self.layout.clone() else { return };
        let replicas = layout.quorums.replica_count;
        let mut item = Item::new(key.clone(), entry);
        item.answers = holders.iter().map(|&owner| (owner, Written::Applied)).collect();
        let needed = replicas - majority(replicas) + 1;
        self.begin_write(purpose, Origin::Reader, vec![item], needed, true);
    }

    /// Asks the owners, as the layout names them now.
    pub(super) fn plan_write(&mut self, id: OpId) {
        let request = self.new_request(id);
        let Some(layout) = self.layout.clone() else { return };
        let Some(Op::Write(mut op)) = self.coordinator.ops.remove(&id) else {
            return;
        };
        op.request = request;
        op.refusals.clear();
        for item in &mut op.items {
            item.sides = self.sides(layout.partition_of(&item.key), op.needed);
            // What readers have seen at owners that still are some goes on to count; other answers were given under another layout.
            let mut answers = std::mem::take(&mut item.answers);
            answers.retain(|(owner, _)| op.origin == Origin::Reader && item.is_owner(owner));
            item.answers = answers;
        }
        self.coordinator.ops.insert(id, Op::Write(op));
        self.send_write(id);
        self.judge_write(id);
    }

    /// One message to each node that has not answered, with all that it has to apply.
    fn send_write(&mut self, id: OpId) {
        let resend_at = self.now.steady_ms + self.config.resend_ms;
        let Some(Op::Write(op)) = self.coordinator.ops.get_mut(&id) else {
            return;
        };
        op.resend_at = resend_at;
        // In the order of the nodes.
        let mut messages: Vec<(NodeId, Vec<WriteItem>)> = Vec::new();
        let room = op.items.len().min(16);
        for (index, item) in op.items.iter().enumerate() {
            let over = item.handed_on || matches!(item.result, Some(Err(_)));
            for owner in item.owners() {
                if over || item.answer(owner).is_some() {
                    continue;
                }
                let at = match messages.binary_search_by_key(&owner.node, |(node, _)| *node) {
                    Ok(at) => at,
                    Err(at) => {
                        messages.insert(at, (owner.node, Vec::with_capacity(room)));
                        at
                    }
                };
                let items = &mut messages[at].1;
                let index = index as u16;
                // A node whose copy is being replaced is an owner twice.
                if items.last().is_none_or(|last| last.index != index) {
                    items.push(WriteItem {
                        index,
                        key: item.key.clone(),
                        entry: item.entry.clone(),
                    });
                }
            }
        }
        let (request, origin, durable) = (op.request, op.origin, op.durable);
        for (node, items) in messages {
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
    }

    pub(crate) fn on_write_done(&mut self, from: Owner, request: RequestId, items: &[(u16, Written)]) {
        let Some(id) = self.op_of(request) else {
            self.repair_written(from, request, items);
            return;
        };
        let Some(Op::Write(op)) = self.coordinator.ops.get_mut(&id) else {
            return;
        };
        for &(index, written) in items {
            let Some(item) = op.items.get_mut(usize::from(index)) else {
                continue;
            };
            if item.is_owner(&from) {
                item.take_answer(from, written);
            }
        }
        self.judge_write(id);
    }

    /// Looks at each key whether its answers amount to something.
    fn judge_write(&mut self, id: OpId) {
        let careless = self.has_bug(Bug::OvertakenIsDone);
        let Some(Op::Write(op)) = self.coordinator.ops.get_mut(&id) else {
            return;
        };
        let reader = op.origin == Origin::Reader;
        let settled = reader || op.again || careless;
        let mut to_register = Vec::new();
        let mut overtaken = Vec::new();
        let mut met_register = false;
        for (index, item) in op.items.iter_mut().enumerate() {
            if item.result.is_some() || item.handed_on {
                continue;
            }
            if item
                .answers
                .iter()
                .any(|(_, answer)| *answer == Written::IsRegister)
            {
                item.handed_on = true;
                met_register |= reader;
                to_register.push((index as u16, item.key.clone(), item.entry.record.clone()));
                continue;
            }
            if reader && item.answers.iter().any(|(_, answer)| *answer == Written::TooOld) {
                // Settled meanwhile: what was read may have been deleted and forgotten.
                item.handed_on = true;
                met_register = true;
                continue;
            }
            match item.verdict() {
                None => {}
                Some(Err(error)) => item.result = Some(Err(error)),
                Some(Ok(())) => match item.greatest_met().filter(|_| !settled) {
                    Some(by) => overtaken.push((index as u16, by)),
                    None => item.result = Some(Ok(item.entry.record.version)),
                },
            }
        }
        if met_register {
            self.finish_write(id, Some(PartResult::MetRegister));
            return;
        }
        for (index, key, record) in to_register {
            self.begin_ballot(Purpose::Part(id, index), key, Action::Put(record));
        }
        for (index, by) in overtaken {
            self.write_later(id, index, by);
        }
        self.reply_write(id);
    }

    /// Writes a key again, with a version later than the one that was met.
    fn write_later(&mut self, id: OpId, index: u16, by: Version) {
        self.stats.overtaken += 1;
        let _ = self.clock.observe(by.stamp);
        let version = self.issue_version().ok().filter(|version| *version > by);
        let soon = self.now.steady_ms + self.config.resend_ms / 8;
        let Some(Op::Write(op)) = self.coordinator.ops.get_mut(&id) else {
            return;
        };
        let (needed, durable, ends_at) = (op.needed, op.durable, op.ends_at);
        let Some(item) = op.items.get_mut(usize::from(index)) else {
            return;
        };
        let Some(version) = version else {
            // The clock's ceiling is on its way, or the other's clock is as far ahead as any may be: the owners are asked again a little later.
            item.answers.clear();
            op.resend_at = op.resend_at.min(soon);
            return;
        };
        item.handed_on = true;
        let record = &item.entry.record;
        let lived = record
            .expires_ms
            .map(|expires| expires.saturating_sub(record.version.ms()));
        let record = Record {
            version,
            expires_ms: lived.map(|lived| version.ms().saturating_add(lived)),
            value: record.value.clone(),
        };
        let items = vec![Item::new(item.key.clone(), Entry::plain(record))];
        let later = self.begin_write(Purpose::Part(id, index), Origin::Client, items, needed, durable);
        if let Some(Op::Write(op)) = self.coordinator.ops.get_mut(&later) {
            (op.again, op.ends_at) = (true, ends_at);
        }
    }

    pub(super) fn write_part_done(&mut self, id: OpId, index: u16, result: &PartResult) {
        let Some(Op::Write(op)) = self.coordinator.ops.get_mut(&id) else {
            return;
        };
        let Some(item) = op.items.get_mut(usize::from(index)) else {
            return;
        };
        if let PartResult::Written(result) = result {
            item.result = Some(*result);
            self.reply_write(id);
        }
    }

    /// Answers when every key has a result; goes on as long as owners have not answered.
    fn reply_write(&mut self, id: OpId) {
        let Some(Op::Write(op)) = self.coordinator.ops.get_mut(&id) else {
            return;
        };
        if op.items.iter().any(|item| item.result.is_none()) {
            return;
        }
        if !op.replied {
            op.replied = true;
            let results: Vec<Result<Version, Error>> =
                op.items.iter().filter_map(|item| item.result).collect();
            self.hint_the_absent(id, false);
            let Some(Op::Write(op)) = self.coordinator.ops.get(&id) else {
                return;
            };
            let purpose = op.purpose;
            self.tell_written(purpose, results);
        }
        let Some(Op::Write(op)) = self.coordinator.ops.get(&id) else {
            return;
        };
        let answered = |item: &Item| item.owners().all(|owner| item.answer(owner).is_some());
        let over = |item: &Item| item.handed_on || matches!(item.result, Some(Err(_))) || answered(item);
        if op.items.iter().all(over) || op.origin == Origin::Reader {
            self.finish_write(id, None);
        }
    }

    fn tell_written(&mut self, purpose: Purpose, results: Vec<Result<Version, Error>>) {
        match purpose {
            Purpose::Client(client) => {
                self.stats.failures += u64::from(results.iter().any(Result::is_err));
                self.reply(client, Reply::Written(results));
            }
            Purpose::Part(op, index) => {
                let result = results.into_iter().next().unwrap_or(Err(Error::Unknown));
                self.part_done(op, index, PartResult::Written(result));
            }
            Purpose::Background => {}
        }
    }

    /// Keeps hints for owners that have not answered: those that are not there, or at the end all.
    fn hint_the_absent(&mut self, id: OpId, all: bool) {
        let Some(Op::Write(op)) = self.coordinator.ops.get_mut(&id) else {
            return;
        };
        if op.origin != Origin::Client {
            return;
        }
        let mut hints = Vec::new();
        for item in op
            .items
            .iter_mut()
            .filter(|item| !item.handed_on && matches!(item.result, Some(Ok(_))))
        {
            let absent = |owner: &&Owner| {
                let absent = all || !self.members.is_reachable(owner.node);
                absent && owner.node != self.owner.node && item.answer(owner).is_none()
            };
            let absent: Vec<Owner> = item.owners().filter(absent).copied().collect();
            for owner in absent {
                item.answers.push((owner, Written::Failed));
                hints.push((owner.node, item.key.clone(), item.entry.record.clone()));
            }
        }
        for (node, key, record) in hints {
            self.keep_hint(node, key, record);
        }
    }

    pub(super) fn tick_write(&mut self, id: OpId) {
        let now = self.now.steady_ms;
        let Some(Op::Write(op)) = self.coordinator.ops.get_mut(&id) else {
            return;
        };
        if now < op.ends_at {
            self.send_write(id);
            return;
        }
        if op.replied {
            self.hint_the_absent(id, true);
            self.finish_write(id, None);
            return;
        }
        // Keys that another operation goes on with end with that one, which has the same time.
        let refusals = op.refusals.clone();
        for item in op.items.iter_mut().filter(|item| item.result.is_none()) {
            let unknown = item.handed_on;
            item.result = Some(Err(if unknown {
                Error::Unknown
            } else {
                item.error(&refusals)
            }));
        }
        self.reply_write(id);
        self.hint_the_absent(id, true);
        self.finish_write(id, None);
    }

    /// Forgets the operation; tells whoever waits if that has not been done.
    fn finish_write(&mut self, id: OpId, result: Option<PartResult>) {
        let Some(Op::Write(op)) = self.coordinator.ops.remove(&id) else {
            return;
        };
        self.end_request(op.request);
        if let (Some(result), Purpose::Part(parent, index)) = (result, op.purpose) {
            self.part_done(parent, index, result);
        }
    }
}
