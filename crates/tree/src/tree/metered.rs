//! The same operations, with what they cost.

use weald_engine::{Committed, SyncPolicy};
use weald_proof::{Answer, Element, Hash, Query};

use super::answer::Ground;
use super::diff::Difference;
use super::meter::Meter;
use super::reclaim::Reclaimed;
use super::record::TreeKind;
use super::snapshot::TreeSnapshot;
use super::store::TreeStore;
use super::tx::{TreeSavepoint, TreeTx};
use crate::cost::{CostResult, OperationCost};
use crate::error::Result;

/// A [`TreeTx`] whose operations say what they cost. Each write then looks up what it replaces, which does not count as read.
///
/// Costs are those of the operation, not of the machine: a Merkle page that is looked at is a seek, whether it was in memory or not, and
/// putting a page together that was not counts no hashes. So they are the same on every storage and at any time.
///
/// ```
/// use weald_engine::Database;
/// use weald_tree::{Element, TreeStore};
///
/// let store = TreeStore::open(Database::in_memory()?)?;
/// let mut tx = store.begin()?.metered();
/// let put = tx.put(&[], b"key", Element::SumItem(5));
/// put.value?;
/// assert_eq!(put.cost.added_bytes, 33 + 3 + 2); // prefix and kind, key, element
///
/// let estimate = tx.estimate()?;
/// let commit = tx.commit();
/// commit.value?;
/// assert_eq!(commit.cost, estimate);
/// assert_eq!(commit.cost.hash_calls, 3); // value, leaf, height
/// # Ok::<(), weald_tree::Error>(())
/// ```
#[must_use = "a transaction that is dropped is rolled back"]
pub struct MeteredTx<'s>(TreeTx<'s>);

impl<'s> TreeTx<'s> {
    /// The same transaction, counting what its operations cost.
    pub fn metered(self) -> MeteredTx<'s> {
        MeteredTx(self)
    }

    /// What the [commit](Self::commit) would cost if there were no others meanwhile: that is what it costs then. Others can change
    /// it by what they do to the same trees.
    ///
    /// It does all the work of a commit but for writing, and does not count as read.
    pub fn estimate(&self) -> Result<OperationCost> {
        let estimate = Meter::run(|meter| self.settle_as_it_is(meter));
        estimate.value?;
        Ok(estimate.cost)
    }
}

impl<'s> MeteredTx<'s> {
    /// The transaction without the costs.
    pub fn into_inner(self) -> TreeTx<'s> {
        self.0
    }

    /// As [`TreeTx::get`].
    pub fn get(&self, path: &[&[u8]], key: &[u8]) -> CostResult<Option<Element>> {
        Meter::run(|meter| self.0.element(meter, path, key))
    }

    /// As [`TreeTx::follow`].
    pub fn follow(&self, path: &[&[u8]], key: &[u8]) -> CostResult<Option<Element>> {
        Meter::run(|meter| self.0.followed(meter, path, key))
    }

    /// As [`TreeTx::query`].
    pub fn query(&self, query: &Query) -> CostResult<Answer> {
        Meter::run(|meter| self.0.answer(meter, query))
    }

    /// As [`TreeTx::root`].
    pub fn root(&self) -> CostResult<Hash> {
        Meter::run(|meter| self.0.root_hash(meter))
    }

    /// As [`TreeTx::put`]. What follows for the tree's pages is part of the commit's cost.
    pub fn put(&mut self, path: &[&[u8]], key: &[u8], element: Element) -> CostResult<()> {
        Meter::run(|meter| self.0.put_as(meter, path, key, element))
    }

    /// As [`TreeTx::delete`].
    pub fn delete(&mut self, path: &[&[u8]], key: &[u8]) -> CostResult<bool> {
        Meter::run(|meter| self.0.delete_as(meter, path, key))
    }

    /// As [`TreeTx::create_tree`].
    pub fn create_tree(&mut self, path: &[&[u8]], key: &[u8], kind: TreeKind) -> CostResult<bool> {
        Meter::run(|meter| self.0.create_tree_as(meter, path, key, kind))
    }

    /// As [`TreeTx::drop_tree`]: the same, whatever the tree held.
    pub fn drop_tree(&mut self, path: &[&[u8]], key: &[u8]) -> CostResult<bool> {
        Meter::run(|meter| self.0.drop_tree_as(meter, path, key))
    }

    /// As [`TreeTx::savepoint`]. It costs nothing that is counted.
    pub fn savepoint(&mut self) -> Result<TreeSavepoint> {
        self.0.savepoint()
    }

    /// As [`TreeTx::rollback_to`]. It costs nothing that is counted.
    pub fn rollback_to(&mut self, savepoint: &TreeSavepoint) -> Result<()> {
        self.0.rollback_to(savepoint)
    }

    /// As [`TreeTx::estimate`].
    pub fn estimate(&self) -> Result<OperationCost> {
        self.0.estimate()
    }

    /// As [`TreeTx::commit`].
    pub fn commit(self) -> CostResult<Committed> {
        Meter::run(|meter| self.0.commit_as(meter, None))
    }

    /// As [`TreeTx::commit_with`].
    pub fn commit_with(self, policy: SyncPolicy) -> CostResult<Committed> {
        Meter::run(|meter| self.0.commit_as(meter, Some(policy)))
    }

    /// As [`TreeTx::rollback`].
    pub fn rollback(self) {
        self.0.rollback();
    }
}

/// A [`TreeSnapshot`] whose operations say what they cost.
#[derive(Clone, Copy)]
pub struct MeteredSnapshot<'a, 's>(&'a TreeSnapshot<'s>);

impl<'s> TreeSnapshot<'s> {
    /// The same snapshot, counting what its operations cost.
    #[must_use]
    pub fn metered(&self) -> MeteredSnapshot<'_, 's> {
        MeteredSnapshot(self)
    }
}

impl MeteredSnapshot<'_, '_> {
    /// As [`TreeSnapshot::root`].
    pub fn root(&self) -> CostResult<Hash> {
        Meter::run(|meter| self.0.root_hash(meter))
    }

    /// As [`TreeSnapshot::get`].
    pub fn get(&self, path: &[&[u8]], key: &[u8]) -> CostResult<Option<Element>> {
        Meter::run(|meter| self.0.element(meter, path, key))
    }

    /// As [`TreeSnapshot::follow`].
    pub fn follow(&self, path: &[&[u8]], key: &[u8]) -> CostResult<Option<Element>> {
        Meter::run(|meter| self.0.followed(meter, path, key))
    }

    /// As [`TreeSnapshot::query`].
    pub fn query(&self, query: &Query) -> CostResult<Answer> {
        Meter::run(|meter| self.0.answer(meter, query))
    }

    /// As [`TreeSnapshot::diff`]: what it costs in both snapshots.
    pub fn diff(&self, later: &TreeSnapshot<'_>) -> CostResult<Vec<Difference>> {
        Meter::run(|meter| self.0.diff_as(meter, later))
    }

    /// As [`TreeSnapshot::prove`].
    pub fn prove(&self, query: &Query) -> CostResult<Vec<u8>> {
        Meter::run(|meter| self.0.proof(meter, query))
    }
}

/// A [`TreeStore`] whose operations say what they cost.
#[derive(Clone, Copy)]
pub struct MeteredStore<'s>(&'s TreeStore);

impl TreeStore {
    /// The same store, counting what its operations cost.
    #[must_use]
    pub fn metered(&self) -> MeteredStore<'_> {
        MeteredStore(self)
    }
}

impl<'s> MeteredStore<'s> {
    /// As [`TreeStore::begin`], with costs.
    pub fn begin(&self) -> Result<MeteredTx<'s>> {
        self.0.begin().map(TreeTx::metered)
    }

    /// As [`TreeStore::root`].
    pub fn root(&self) -> CostResult<Hash> {
        Meter::run(|meter| self.0.snapshot()?.root_hash(meter))
    }

    /// As [`TreeStore::reclaim`].
    pub fn reclaim(&self, entries_max: u64) -> CostResult<Reclaimed> {
        Meter::run(|meter| self.0.reclaim_as(meter, entries_max))
    }
}
