//! The two halves of a commit: what is done beside others, and what is done when it is its turn.
//!
//! Commits of one database are made one at a time, but bringing Merkle pages up to date is most of the work, and what it comes to follows from a tree's contents alone. So
//! a transaction settles its trees before its turn, on its own snapshot, and stages the entries of pages. When it is its turn, and what it read has not changed, each tree
//! whose top is the same still has all that was settled from, as the top binds it; it is taken over. Trees that others have changed, and those that
//! hold them, are settled anew, on the newest state.

use std::cell::Cell;
use std::sync::OnceLock;

use weald_engine::{BucketId, Committed, Opened, OptimisticTx, Readable, Savepoint, SyncPolicy, Writable};

use super::cache::PageCache;
use super::meter::Meter;
use super::planted::{Planted, is_planted};
use super::reader::Reader;
use super::settle::{Places, Settled, Touched, Work};
use super::turns::Turns;
use crate::cost::OperationCost;
use crate::error::Result;

/// A transaction that has done what can be done before its turn.
pub(crate) struct Prepared<'s> {
    pub(crate) tx: OptimisticTx<'s>,
    pub(crate) touched: Touched,
    pub(crate) places: Places,
    /// The bucket of all trees, as it was found last.
    pub(crate) all: OnceLock<Opened>,
    pub(crate) cache: &'s PageCache,
    pub(crate) turns: &'s Turns,
    /// The state before anything was staged that follows from entries.
    mark: Savepoint,
    ahead: Settled,
}

impl<'s> Prepared<'s> {
    /// Settles what others are not likely to change before its turn.
    pub(crate) fn new(
        mut tx: OptimisticTx<'s>,
        touched: Touched,
        places: Places,
        mut all: OnceLock<Opened>,
        cache: &'s PageCache,
        turns: &'s Turns,
        meter: Meter<'_>,
    ) -> Result<Prepared<'s>> {
        let began = tx.txid();
        // Fails early if it can't be committed, and makes it likelier that trees are those of its turn.
        tx.refresh()?;
        if tx.txid() != began {
            all = OnceLock::new();
        }
        let mark = tx.savepoint();
        let mut prepared = Prepared {
            tx,
            touched,
            places,
            all,
            cache,
            turns,
            mark,
            ahead: Settled::default(),
        };
        // Whatever can't be done now may be done when it is its turn, or fails then.
        match prepared.settle(meter) {
            Err(_) => prepared.ahead = Settled::default(),
            Ok(all) => {
                if prepared.ahead.stage(&mut prepared.tx, all).is_err() {
                    prepared.tx.rollback_to(&prepared.mark)?;
                    prepared.ahead.unstage();
                }
            }
        }
        Ok(prepared)
    }

    /// Settles; returns the bucket of all trees.
    fn settle(&mut self, meter: Meter<'_>) -> Result<BucketId> {
        // What is taken over counts then.
        let unknown = Cell::new(OperationCost::default());
        let reader = Reader::new(&self.tx.untracked(), &self.all, self.cache, meter.onto(&unknown))?;
        let work = Work {
            touched: &self.touched,
            places: &self.places,
            depth: 0,
        };
        self.ahead.go_on(&reader, work, |tree| {
            self.turns.is_crowded(tree) || is_planted(Planted::NothingAhead)
        })?;
        Ok(reader.trees.id())
    }

    /// Waits for its turn, settles the rest and commits. A function of its own, so that a profiler can tell what others wait for.
    #[inline(never)]
    pub(crate) fn commit(self, meter: Meter<'_>, policy: Option<SyncPolicy>) -> Result<Committed> {
        let Prepared {
            tx,
            touched,
            places,
            mut all,
            cache,
            turns,
            mark,
            ahead: mut settled,
        } = self;
        let (base, prepared) = (tx.txid(), settled.len());
        let mut tx = tx.into_exclusive().inspect_err(|_| settled.forget_made(cache))?;
        // Nothing that was read has changed, so trees are where they were.
        let others = tx.txid() != base;
        if others {
            all = OnceLock::new();
        }
        let bucket = Reader::new(&tx.root(), &all, cache, Meter::OFF)?.trees.id();
        if others {
            let changed = settled.forget_changed(&Reader::new(&tx.root(), &all, cache, Meter::OFF)?)?;
            changed.iter().for_each(|tree| turns.note_crowded(tree));
            if settled.len() < prepared {
                tx.rollback_to(&mark)?;
                settled.unstage();
                settled.stage(&mut tx, bucket)?;
            }
        }
        let ahead = settled.len();
        let work = Work {
            touched: &touched,
            places: &places,
            depth: 0,
        };
        settled.go_on(&Reader::new(&tx.root(), &all, cache, meter)?, work, |_| false)?;
        meter.add(settled.cost());
        settled.stage_all(&mut tx, bucket)?;
        let committed = match policy {
            Some(policy) => tx.commit_with(policy)?,
            None => tx.commit()?,
        };
        settled.forget_superseded(cache);
        turns.count(ahead, settled.len() - ahead, prepared - ahead);
        Ok(committed)
    }
}
