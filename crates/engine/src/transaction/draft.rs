//! What both kinds of writing transactions are made of.

use std::io::Read;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::core::{Core, now_ms};
use crate::error::{Error, Result};
use crate::ids::{PageId, TreeId, TxId};
use crate::large::format::LEN_MAX;
use crate::op::LargeRef;
use crate::roots::Roots;
use crate::stage::{self, Stage};
use crate::store::{Keep, Pin, run_of};
use crate::transaction::bucket::View;
use crate::transaction::names;
use crate::transaction::reads::Reads;
use crate::tree;

/// A transaction that writes: the state it began with, and what it has staged on top.
pub(crate) struct Draft<'db> {
    pub(crate) core: &'db Core,
    pin: Pin<'db>,
    /// What reads stand on: the state that the transaction began with, or the one that it spilled to.
    pub(crate) roots: Roots,
    pub(crate) stage: Stage,
    pub(crate) reads: Option<Reads>,
    keep: Keep,
    now_ms: OnceLock<u64>,
    spilled: Spilled,
    may_spill: bool,
    savepoints: Vec<u64>,
    /// Bytes of large values that were put for the log to have, also if nothing refers to them any longer.
    held_bytes: u64,
}

/// A longer value goes straight to its pages: written twice, it would take longer than the second flush does.
const LOGGED_MAX: u64 = 256 << 10;

/// What a large transaction has put into pages already.
#[derive(Default)]
struct Spilled {
    created: Vec<PageId>,
    large: Vec<LargeRef>,
    any: bool,
    /// Which of all states that were ever spilled to the last one is.
    number: u64,
}

/// A state of a transaction to go back to; see [`Writable::savepoint`](crate::Writable::savepoint).
#[derive(Clone, Copy, Debug)]
pub struct Savepoint {
    id: u64,
    stage: stage::Savepoint,
}

/// Numbers states that were spilled to; 0 is none of them.
static SPILLS: AtomicU64 = AtomicU64::new(1);

/// Numbers savepoints, so that one of another transaction is not taken for one of this.
static SAVEPOINTS: AtomicU64 = AtomicU64::new(0);

impl<'db> Draft<'db> {
    pub(crate) fn new(core: &'db Core, pin: Pin<'db>, roots: Roots, reads: Option<Reads>) -> Draft<'db> {
        Draft {
            core,
            pin,
            roots,
            stage: Stage::new(&core.arenas),
            may_spill: reads.is_none(),
            reads,
            keep: Keep::default(),
            now_ms: OnceLock::new(),
            spilled: Spilled::default(),
            savepoints: Vec::new(),
            held_bytes: 0,
        }
    }

    pub(crate) fn view(&self) -> View<'_> {
        View {
            core: self.core,
            pages: self.core.store.snapshot(&self.pin),
            roots: &self.roots,
            stage: (!self.stage.is_empty()).then_some(&self.stage),
            reads: self.reads.as_ref(),
            keep: &self.keep,
            now_ms: &self.now_ms,
            spill: self.spilled.number,
        }
    }

    /// Stands on another state from now on. What was read stays noted.
    pub(crate) fn stand_on(&mut self, pin: Pin<'db>, roots: Roots) {
        self.pin = pin;
        self.roots = roots;
    }

    /// Stands on the newest state from now on, while nobody else commits, and notes no further reads. What is staged stays,
    /// and stays in memory, since pages that it might spill to are told by the state that it began with.
    pub(crate) fn rebase(&mut self, newest: Pin<'db>, head: Roots) {
        self.stand_on(newest, head);
        self.reads = None;
    }

    pub(crate) fn base_txid(&self) -> TxId {
        self.pin.snapshot()
    }

    /// Whether parts of the transaction are in pages that the log does not know of.
    pub(crate) fn has_spilled(&self) -> bool {
        self.spilled.any
    }

    pub(crate) fn put(
        &mut self,
        tree: TreeId,
        key: &[u8],
        value: &[u8],
        ttl: Option<Duration>,
    ) -> Result<()> {
        self.check_writable()?;
        let expires = self.expires(ttl);
        self.put_until(tree, key, value, expires)
    }

    /// Puts a value that expires at a given time.
    pub(crate) fn put_until(
        &mut self,
        tree: TreeId,
        key: &[u8],
        value: &[u8],
        expires: Option<u64>,
    ) -> Result<()> {
        self.check_key(key)?;
        let max = self.inline_max(key);
        self.check_room(key.len() + value.len().min(max))?;
        if value.len() <= max {
            self.stage.put(tree, key, value, expires);
        } else {
            let large = self.store_large(value)?;
            self.stage.put_large(tree, key, large, expires);
        }
        self.spill_if_large()
    }

    /// Puts exactly `len` bytes of a stream, which expire at a given time.
    pub(crate) fn put_reader(
        &mut self,
        tree: TreeId,
        key: &[u8],
        source: &mut dyn Read,
        len: u64,
        expires: Option<u64>,
    ) -> Result<()> {
        self.check_key(key)?;
        self.check_room(key.len())?;
        if len <= self.inline_max(key) as u64 || self.is_logged(len) {
            let mut value = vec![0; len as usize];
            let failed = |e| Error::io("read the value for", &self.core.path, None, e);
            source.read_exact(&mut value).map_err(failed)?;
            return self.put_until(tree, key, &value, expires);
        }
        let large = self.write_large(len, source)?;
        self.stage.put_large(tree, key, large, expires);
        self.spill_if_large()
    }

    pub(crate) fn delete(&mut self, tree: TreeId, key: &[u8]) -> Result<()> {
        self.check_key(key)?;
        self.check_room(key.len())?;
        self.stage.delete(tree, key);
        self.spill_if_large()
    }

    pub(crate) fn delete_range(&mut self, tree: TreeId, start: &[u8], end: Option<&[u8]>) -> Result<()> {
        self.check_writable()?;
        self.check_room(start.len() + end.map_or(0, <[u8]>::len))?;
        self.stage.delete_range(tree, start, end);
        self.spill_if_large()
    }

    /// Stages an operand without a read.
    pub(crate) fn merge(&mut self, tree: TreeId, key: &[u8], operator: &str, operand: &[u8]) -> Result<()> {
        self.check_key(key)?;
        self.check_room(key.len() + operand.len())?;
        let operators = &self.core.options.merge_operators;
        let index = operators.iter().position(|(name, _)| name == operator);
        let index = index.ok_or_else(|| Error::UnknownMergeOperator {
            name: operator.to_owned(),
        })?;
        self.stage.merge(tree, key, index as u32, operand);
        self.spill_if_large()
    }

    /// Stages what the bucket machinery keeps for itself.
    pub(crate) fn put_internal(&mut self, tree: TreeId, key: &[u8], value: &[u8]) {
        self.stage.put(tree, key, value, None);
    }

    /// Forgets a bucket and all that is in it.
    pub(crate) fn drop_bucket(&mut self, tree: TreeId) -> Result<()> {
        let mut doomed = vec![tree];
        while let Some(tree) = doomed.pop() {
            for (key, child) in names::children(&self.view(), tree)? {
                self.stage.delete(TreeId::NAMES, &key);
                doomed.push(child);
            }
            self.stage.delete(TreeId::ATTRIBUTES, &names::sequence_key(tree));
            self.stage.drop_tree(tree);
        }
        Ok(())
    }

    pub(crate) fn savepoint(&mut self) -> Savepoint {
        // What is in pages can't be taken back one by one.
        self.may_spill = false;
        let id = SAVEPOINTS.fetch_add(1, Ordering::Relaxed);
        self.savepoints.push(id);
        Savepoint {
            id,
            stage: self.stage.savepoint(),
        }
    }

    pub(crate) fn rollback_to(&mut self, savepoint: &Savepoint) -> Result<()> {
        let index = self
            .savepoints
            .iter()
            .position(|id| *id == savepoint.id)
            .ok_or(Error::SavepointGone)?;
        self.savepoints.truncate(index + 1);
        for large in self.stage.rollback_to(&savepoint.stage) {
            self.core.store.disown(run_of(large, self.core.store.page_size()));
        }
        Ok(())
    }

    pub(crate) fn discard_name(&mut self, key: &[u8]) {
        self.stage.delete(TreeId::NAMES, key);
    }

    /// Turns merge operands into the values that they come to on top of `roots`.
    pub(crate) fn resolve_merges(&mut self, roots: &Roots) -> Result<()> {
        let merged = self.stage.merged();
        if merged.is_empty() {
            return Ok(());
        }
        let view = View {
            roots,
            reads: None,
            ..self.view()
        };
        let mut resolved = Vec::with_capacity(merged.len());
        for (tree, key) in merged {
            let bucket = crate::transaction::Bucket::of(view, tree)?;
            let value = bucket
                .entry(&key)?
                .map(|e| view.value(&e).map(|v| (v.to_vec(), e.expires)))
                .transpose()?;
            resolved.push((tree, key, value));
        }
        for (tree, key, value) in resolved {
            match value {
                Some((value, expires)) if value.len() <= self.inline_max(&key) => {
                    self.stage.put(tree, &key, &value, expires);
                }
                Some((value, expires)) => {
                    let large = self.store_large(&value)?;
                    self.stage.put_large(tree, &key, large, expires);
                }
                None => self.stage.delete(tree, &key),
            }
        }
        Ok(())
    }

    fn check_writable(&self) -> Result<()> {
        if self.core.options.read_only {
            Err(Error::ReadOnly)
        } else {
            Ok(())
        }
    }

    fn check_key(&self, key: &[u8]) -> Result<()> {
        self.check_writable()?;
        let max = self.core.key_max();
        if key.len() > max {
            return Err(Error::too_large("a key", key.len() as u64, max as u64));
        }
        Ok(())
    }

    /// Refuses what an optimistic transaction, which stays in memory, has no room for.
    fn check_room(&self, more: usize) -> Result<()> {
        let (bytes, max) = (self.stage.bytes() + more, self.core.options.transaction_bytes_max);
        if self.reads.is_some() && bytes as u64 > max {
            return Err(Error::too_large("an optimistic transaction", bytes as u64, max));
        }
        Ok(())
    }

    /// The longest value that stays in the leaf beside `key`.
    fn inline_max(&self, key: &[u8]) -> usize {
        let max = tree::max_inline(self.core.store.page_size(), key.len());
        self.core
            .options
            .overflow_threshold
            .map_or(max, |threshold| threshold.min(max))
    }

    pub(crate) fn expires(&self, ttl: Option<Duration>) -> Option<u64> {
        let ms = u64::try_from(ttl?.as_millis()).unwrap_or(u64::MAX);
        Some(self.now_ms.get_or_init(now_ms).saturating_add(ms))
    }

    /// Bytes of large values that go to the log.
    pub(crate) fn held_bytes(&self) -> u64 {
        self.held_bytes
    }

    /// Whether a large value of so many bytes goes to the log.
    fn is_logged(&self, len: u64) -> bool {
        self.core.wal.is_some() && len <= LOGGED_MAX && self.held_bytes + len <= self.core.options.bulk_bytes
    }

    fn store_large(&mut self, value: &[u8]) -> Result<LargeRef> {
        let len = value.len() as u64;
        if !self.is_logged(len) {
            return self.write_large(len, &mut &value[..]);
        }
        self.core.check_writable()?;
        let birth = TxId(self.base_txid().0 + 1);
        let large = self.core.store.hold_large(birth, value)?;
        self.held_bytes += len;
        Ok(large)
    }

    fn write_large(&self, len: u64, source: &mut dyn Read) -> Result<LargeRef> {
        self.core.check_writable()?;
        if len > LEN_MAX {
            return Err(Error::too_large("a value", len, LEN_MAX));
        }
        self.core
            .store
            .write_large(TxId(self.base_txid().0 + 1), len, source)
    }

    /// Keeps the memory of a large transaction bounded: what is staged goes to pages that nobody else sees.
    fn spill_if_large(&mut self) -> Result<()> {
        let (bytes, max) = (self.stage.bytes() as u64, self.core.options.transaction_bytes_max);
        if bytes <= max {
            return Ok(());
        }
        if !self.may_spill {
            return Ok(());
        }
        let roots = self.roots;
        self.resolve_merges(&roots)?;
        let txid = TxId(self.base_txid().0 + 1);
        self.roots = self
            .core
            .spill(self.roots, txid, &mut self.stage, &mut self.spilled.created)?;
        let superseded: Vec<_> = self.stage.superseded_large_values().collect();
        superseded
            .iter()
            .for_each(|l| self.core.store.disown(run_of(*l, self.core.store.page_size())));
        self.spilled.large.extend(
            self.stage
                .large_values()
                .filter(|large| !superseded.contains(large)),
        );
        self.spilled.any = true;
        self.spilled.number = SPILLS.fetch_add(1, Ordering::Relaxed);
        self.stage.clear();
        Ok(())
    }

    /// The pages that the transaction has spilled to.
    pub(crate) fn spilled_pages(&mut self) -> &mut Vec<PageId> {
        &mut self.spilled.created
    }

    /// The large values that what was spilled refers to.
    pub(crate) fn spilled_large(&self) -> &[LargeRef] {
        &self.spilled.large
    }

    /// A commit has what was staged and spilled: nothing is to be rolled back any more.
    pub(crate) fn settle(&mut self) {
        self.stage.clear();
        if self.spilled.any {
            self.core.state().spilled = false;
        }
        self.spilled = Spilled::default();
    }
}

impl Drop for Draft<'_> {
    /// Rolls back what was not committed.
    fn drop(&mut self) {
        let size = self.core.store.page_size();
        let staged: Vec<_> = self.stage.large_values().collect();
        for large in staged.into_iter().chain(self.spilled.large.drain(..)) {
            self.core.store.disown(run_of(large, size));
        }
        if self.spilled.any {
            self.core.state().spilled = false;
            let txid = TxId(self.base_txid().0 + 1);
            let mut space = self.core.store.space();
            space.forget_spilled();
            self.core.store.take_back(&mut space, txid, &self.spilled.created);
        }
    }
}
