//! Rounds after which deletions may be forgotten: only when every owner has everything up to a mark.
//!
//! 1. *Seal*: every owner refuses, from now on, writes from outside that are as old as the mark, and has finished those that it had taken and made all of it durable. What exists up to the mark exists at an owner.
//! 2. *Compare*: the primary compares with every other owner, and then once more with each but the last. Now all have what any one had.
//! 3. *Settle*: every owner refuses from then on anything as old, wherever it comes from, and answers as if what is spent were gone.
//! 4. *Forget*: when all have settled, every owner drops deletions and expired values up to the mark. One that misses it does so in a later round.
//!
//! Nobody drops before all have settled: an owner that has dropped a register takes plain writes of the key, and another that still counted the deletion would outrank them.
//!
//! An owner that is away stops the round, and so deletions wait for it, however long. A round that fails is begun again some time later with a later mark; sealed stays sealed. There is no round while partitions move.

use std::collections::{BTreeSet, VecDeque};

use super::RepairPending;
use crate::bugs::Bug;
use crate::clock::Version;
use crate::id::{NodeId, Owner, Partition, RequestId};
use crate::message::{Body, Refusal};
use crate::node::{Node, Pending};
use crate::replica::ReplicaPending;
use crate::store::StoreOp;

#[derive(Debug)]
pub(crate) struct Round {
    partition: Partition,
    mark: Version,
    owners: BTreeSet<Owner>,
    request: RequestId,
    stage: Stage,
    ends_at: u64,
}

#[derive(Debug)]
enum Stage {
    Sealing(BTreeSet<Owner>),
    Comparing(VecDeque<Owner>),
    Settling(BTreeSet<Owner>),
}

impl Node {
    /// How old a deletion must be: older than any request that is still under way.
    fn settle_after_ms(&self) -> u64 {
        self.config
            .settle_after_ms
            .max(2 * self.config.request_timeout_ms)
    }

    pub(super) fn seal(&mut self, partition: Partition, owners: BTreeSet<Owner>) {
        let mark = Version::end_of_ms(self.clock.physical_ms().saturating_sub(self.settle_after_ms()));
        let request = self.next_request();
        self.want_sums(partition);
        for owner in &owners {
            self.send(
                owner.node,
                Body::Seal {
                    request,
                    partition,
                    mark,
                },
            );
        }
        self.repair.round = Some(Round {
            partition,
            mark,
            owners,
            request,
            stage: Stage::Sealing(BTreeSet::new()),
            ends_at: self.now.steady_ms + 4 * self.config.request_timeout_ms,
        });
    }

    pub(super) fn tick_round(&mut self) {
        let now = self.now.steady_ms;
        self.repair.round.take_if(|round| now >= round.ends_at);
    }

    pub(crate) fn serve_seal(
        &mut self,
        from: NodeId,
        request: RequestId,
        partition: Partition,
        mark: Version,
    ) {
        if self.clock.is_ahead(mark.stamp) || !self.replica.parts.contains_key(&partition) {
            return self.refuse(from, request, Refusal::NotOwner);
        }
        // In memory at once; what was taken before is waited for.
        let _ = self
            .replica
            .mark(partition, |marks| marks.sealed = marks.sealed.max(mark));
        self.repair_store(
            StoreOp::Sync { partition },
            RepairPending::Barrier(from, request, partition, mark),
        );
    }

    pub(super) fn sealed(
        &mut self,
        to: NodeId,
        request: RequestId,
        partition: Partition,
        mark: Version,
        done: bool,
    ) {
        let change = self
            .replica
            .mark(partition, |marks| marks.sealed = marks.sealed.max(mark));
        let Some(change) = change.filter(|_| done) else {
            return;
        };
        let changes = vec![change];
        let answer = Body::MarkDone { request };
        self.store(
            StoreOp::Meta { changes },
            Pending::ThenSend(crate::effect::To::Node(to), Box::new(answer)),
        );
    }

    pub(crate) fn serve_settle(
        &mut self,
        from: NodeId,
        request: RequestId,
        partition: Partition,
        mark: Version,
    ) {
        let marks = self.replica.marks(partition);
        if mark > marks.sealed {
            return self.refuse(from, request, Refusal::TooOld);
        }
        let change = self
            .replica
            .mark(partition, |marks| marks.settled = marks.settled.max(mark));
        let Some(change) = change else {
            return self.refuse(from, request, Refusal::NotOwner);
        };
        let changes = vec![change];
        self.repair_store(
            StoreOp::Meta { changes },
            RepairPending::Marked(from, request, partition, mark),
        );
    }

    pub(super) fn marked(
        &mut self,
        to: NodeId,
        request: RequestId,
        partition: Partition,
        mark: Version,
        done: bool,
    ) {
        if !done {
            return;
        }
        if self.has_bug(Bug::EarlyDrop) {
            self.drop_spent(partition, mark);
        }
        self.send(to, Body::MarkDone { request });
    }

    pub(crate) fn serve_forget(
        &mut self,
        from: NodeId,
        request: RequestId,
        partition: Partition,
        mark: Version,
    ) {
        if mark > self.replica.marks(partition).settled {
            return self.refuse(from, request, Refusal::TooOld);
        }
        self.drop_spent(partition, mark);
    }

    fn drop_spent(&mut self, partition: Partition, mark: Version) {
        self.replica_store(
            StoreOp::DropSpent { partition, mark },
            ReplicaPending::Dropped(partition),
        );
    }

    pub(crate) fn on_mark_done(&mut self, from: Owner, request: RequestId) {
        let owner = self.owner;
        let Some(round) = self
            .repair
            .round
            .as_mut()
            .filter(|round| round.request == request)
        else {
            return;
        };
        let (Stage::Sealing(done) | Stage::Settling(done)) = &mut round.stage else {
            return;
        };
        if !round.owners.contains(&from) {
            return;
        }
        done.insert(from);
        if done.len() < round.owners.len() {
            return;
        }
        if matches!(round.stage, Stage::Settling(_)) {
            return self.forget_in_round();
        }
        let others: Vec<Owner> = round
            .owners
            .iter()
            .copied()
            .filter(|other| *other != owner)
            .collect();
        let again = others.len().saturating_sub(1);
        round.stage = Stage::Comparing(others.iter().chain(&others[..again]).copied().collect());
        self.compare_in_round();
    }

    /// All owners have settled.
    fn forget_in_round(&mut self) {
        let request = self.next_request();
        let Some(round) = self.repair.round.take() else {
            return;
        };
        self.stats.settled += 1;
        let (partition, mark) = (round.partition, round.mark);
        for owner in round.owners {
            self.send(
                owner.node,
                Body::Forget {
                    request,
                    partition,
                    mark,
                },
            );
        }
    }

    fn compare_in_round(&mut self) {
        let Some(round) = &mut self.repair.round else {
            return;
        };
        let Stage::Comparing(queue) = &mut round.stage else {
            return;
        };
        let partition = round.partition;
        if let Some(peer) = queue.pop_front() {
            if !self.begin_session(partition, peer, true) {
                self.repair.round = None;
            }
            return;
        }
        let request = self.next_request();
        let Some(round) = &mut self.repair.round else {
            return;
        };
        round.stage = Stage::Settling(BTreeSet::new());
        round.request = request;
        let (mark, owners) = (round.mark, round.owners.clone());
        for owner in owners {
            self.send(
                owner.node,
                Body::Settle {
                    request,
                    partition,
                    mark,
                },
            );
        }
    }

    pub(super) fn round_compared(&mut self, partition: Partition, _peer: Owner, equal: bool) {
        let Some(round) = &self.repair.round else { return };
        if round.partition != partition || !matches!(round.stage, Stage::Comparing(_)) {
            return;
        }
        if equal {
            self.compare_in_round();
        } else {
            self.repair.round = None;
        }
    }
}
