//! Transactions that only read.

use std::sync::{Arc, OnceLock};

use crate::core::Core;
use crate::ids::TxId;
use crate::replayed::Replayed;
use crate::roots::Roots;
use crate::store::{Keep, Pin};
use crate::transaction::bucket::{Bucket, View};
use crate::transaction::traits::Readable;

/// A snapshot of the database: what was committed when it began, and nothing of what comes later.
///
/// It blocks nobody and nobody blocks it. What it reads stays on the disk for as long as it lives, so one that lives long costs space, which
/// [`Stats::pending_bytes`](crate::Stats::pending_bytes) shows.
pub struct ReadTx<'db> {
    core: &'db Core,
    pin: Pin<'db>,
    roots: Roots,
    /// What the log had over this state, where that was not merged yet when the transaction began.
    replayed: Option<Arc<Replayed>>,
    keep: Keep,
    now_ms: OnceLock<u64>,
}

impl<'db> ReadTx<'db> {
    pub(crate) fn begin(core: &'db Core) -> ReadTx<'db> {
        let replayed = core.backlog.load();
        let (pin, roots) = core.pin();
        ReadTx {
            core,
            pin,
            roots,
            replayed: replayed.filter(|replayed| replayed.base == roots.txid),
            keep: Keep::default(),
            now_ms: OnceLock::new(),
        }
    }

    /// The commit whose state this is.
    pub fn txid(&self) -> TxId {
        match &self.replayed {
            Some(replayed) => replayed.txid,
            None => self.roots.txid,
        }
    }

    pub(crate) fn view(&self) -> View<'_> {
        View {
            core: self.core,
            pages: self.core.store.snapshot(&self.pin),
            roots: &self.roots,
            stage: self.replayed.as_deref().map(Replayed::stage),
            reads: None,
            keep: &self.keep,
            now_ms: &self.now_ms,
            spill: 0,
        }
    }
}

impl Readable for ReadTx<'_> {
    fn root(&self) -> Bucket<'_> {
        Bucket::root(self.view())
    }
}
