//! Scans across the cluster: every node sends what it has in order, and the coordinator merges, as far as all of them have got.

use std::collections::{BTreeMap, BTreeSet};

use super::{Op, OpId, Purpose, Side, not_enough};
use crate::client::{Found, Reply};
use crate::codec::Bytes;
use crate::entry::Entry;
use crate::id::{ClientToken, Owner, RequestId};
use crate::message::Body;
use crate::node::Node;

#[derive(Debug)]
pub(crate) struct ScanOp {
    pub(super) client: ClientToken,
    start: Bytes,
    end: Option<Bytes>,
    limit: usize,
    needed: u8,
    request: RequestId,
    sides: Vec<Side>,
    answers: BTreeMap<Owner, Answer>,
    refusals: BTreeSet<Owner>,
    found: Vec<(Bytes, Found)>,
    pub(super) resend_at: u64,
    pub(super) ends_at: u64,
}

#[derive(Debug)]
struct Answer {
    entries: Vec<(Bytes, Entry)>,
    upto: Option<Bytes>,
}

impl ScanOp {
    pub(super) fn refused(&mut self, from: Owner, soon: Option<u64>) {
        self.refusals.insert(from);
        self.resend_at = self.resend_at.min(soon.unwrap_or(u64::MAX));
    }
}

impl Node {
    pub(super) fn begin_scan(
        &mut self,
        client: ClientToken,
        start: Bytes,
        end: Option<Bytes>,
        limit: usize,
        needed: u8,
    ) {
        let ends_at = self.now.steady_ms + self.config.request_timeout_ms;
        let id = self.add_op(Op::Scan(ScanOp {
            client,
            start,
            end,
            limit,
            needed,
            request: RequestId(0),
            sides: Vec::new(),
            answers: BTreeMap::new(),
            refusals: BTreeSet::new(),
            found: Vec::new(),
            resend_at: 0,
            ends_at,
        }));
        self.plan_scan(id);
    }

    pub(super) fn plan_scan(&mut self, id: OpId) {
        let request = self.new_request(id);
        let Some(layout) = self.layout.clone() else { return };
        let Some(Op::Scan(op)) = self.coordinator.ops.get(&id) else {
            return;
        };
        let needed = op.needed;
        // Partitions with the same owners count as one.
        let sets: BTreeSet<Vec<Owner>> = layout
            .all_partitions()
            .map(|partition| layout.readers(partition))
            .collect();
        let sides = sets
            .into_iter()
            .map(|owners| self.spoil(Side { owners, needed }))
            .collect();
        let Some(Op::Scan(op)) = self.coordinator.ops.get_mut(&id) else {
            return;
        };
        op.request = request;
        op.answers.clear();
        op.refusals.clear();
        op.sides = sides;
        self.send_scan(id);
    }

    fn send_scan(&mut self, id: OpId) {
        let resend_at = self.now.steady_ms + self.config.resend_ms;
        let Some(Op::Scan(op)) = self.coordinator.ops.get_mut(&id) else {
            return;
        };
        op.resend_at = resend_at;
        let owners: BTreeSet<Owner> = op
            .sides
            .iter()
            .flat_map(|side| side.owners.iter().copied())
            .collect();
        let open: Vec<Owner> = owners
            .into_iter()
            .filter(|owner| !op.answers.contains_key(owner))
            .collect();
        let body = Body::Scan {
            request: op.request,
            start: op.start.clone(),
            end: op.end.clone(),
            limit: (op.limit - op.found.len()).max(1) as u32,
        };
        for owner in open {
            self.send(owner.node, body.clone());
        }
    }

    pub(crate) fn on_scan_done(
        &mut self,
        from: Owner,
        request: RequestId,
        entries: Vec<(Bytes, Entry)>,
        upto: Option<Bytes>,
    ) {
        let Some(id) = self.op_of(request) else { return };
        let Some(Op::Scan(op)) = self.coordinator.ops.get_mut(&id) else {
            return;
        };
        op.answers.insert(from, Answer { entries, upto });
        let complete = |side: &Side| side.count(|owner| op.answers.contains_key(owner)) >= side.needed;
        if op.sides.iter().all(complete) {
            self.merge_scan(id);
        }
    }

    /// Takes over what all answers cover; goes on from there if that is too little.
    fn merge_scan(&mut self, id: OpId) {
        let now_ms = self.now_ms();
        let Some(Op::Scan(op)) = self.coordinator.ops.get_mut(&id) else {
            return;
        };
        let answers = std::mem::take(&mut op.answers);
        let covered = answers.values().filter_map(|answer| answer.upto.clone()).min();
        let mut merged: BTreeMap<Bytes, Entry> = BTreeMap::new();
        for (key, entry) in answers.into_values().flat_map(|answer| answer.entries) {
            let within = covered.as_ref().is_none_or(|covered| key <= *covered);
            let greater = merged.get(&key).is_none_or(|known| entry.rank() > known.rank());
            if within && greater {
                merged.insert(key, entry);
            }
        }
        let mut next = covered.as_ref().map(after);
        for (key, entry) in merged {
            if entry.record.live(now_ms).is_none() {
                continue;
            }
            if op.found.len() == op.limit {
                next = Some(key);
                break;
            }
            let found = Found {
                version: Some(entry.record.version),
                expires_ms: entry.record.expires_ms,
                value: entry.record.value,
            };
            op.found.push((key, found));
        }
        match next {
            Some(next) if op.found.len() < op.limit => {
                op.start = next;
                let request = op.request;
                self.end_request(request);
                self.plan_scan(id);
            }
            next => {
                let (client, request, entries) = (op.client, op.request, std::mem::take(&mut op.found));
                self.coordinator.ops.remove(&id);
                self.end_request(request);
                self.reply(client, Reply::Page { entries, next });
            }
        }
    }

    pub(super) fn tick_scan(&mut self, id: OpId) {
        let now = self.now.steady_ms;
        let Some(Op::Scan(op)) = self.coordinator.ops.get(&id) else {
            return;
        };
        if now < op.ends_at {
            self.send_scan(id);
            return;
        }
        let answered = |owner: &Owner| op.answers.contains_key(owner);
        let error = not_enough(&op.sides, answered, |owner| {
            op.refusals.contains(owner) && !answered(owner)
        });
        let (client, request) = (op.client, op.request);
        self.coordinator.ops.remove(&id);
        self.end_request(request);
        self.fail(Purpose::Client(client), error);
    }
}

/// The first key after this one.
fn after(key: &Bytes) -> Bytes {
    key.iter().copied().chain([0]).collect()
}
