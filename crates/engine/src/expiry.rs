//! Collecting keys that have expired. They are invisible from that moment on anyhow; this gives their space back.

use crate::core::{Core, now_ms};
use crate::error::Result;
use crate::ids::TreeId;
use crate::merge::EXPIRY_PREFIX;
use crate::options::SyncPolicy;
use crate::transaction::{Bucket, Readable, WriteTx};

/// Keys that are collected in one transaction, so that no writer waits for long.
const BATCH: usize = 1000;

impl Core {
    /// Deletes the keys that have expired; how many.
    pub(crate) fn collect_expired(&self) -> Result<u64> {
        self.catch_up()?;
        let mut total = 0;
        // Without a look at the newest state nobody is kept waiting where nothing expires.
        while self.published.load().fixed[TreeId::EXPIRY.0 as usize].len > 0 {
            let collected = self.collect_batch()?;
            total += collected.deleted;
            if collected.seen < BATCH {
                break;
            }
        }
        Ok(total)
    }

    fn collect_batch(&self) -> Result<Collected> {
        let mut tx = WriteTx::begin(self)?;
        let mut due = Vec::new();
        {
            let root = tx.root();
            let view = root.view;
            let record = view.roots.fixed[TreeId::EXPIRY.0 as usize];
            let index = Bucket {
                view,
                tree: TreeId::EXPIRY,
                record,
            };
            let now = now_ms();
            for pair in index.iter().take(BATCH) {
                let (key, _) = pair?;
                let (Some(at), Some(tree)) = (number(key, 0), number(key, 8)) else {
                    continue;
                };
                if at > now {
                    break;
                }
                let tree = TreeId(tree);
                let bucket = Bucket::of(view, tree)?;
                // The index may know of a key whose bucket was dropped, or that lies in a deleted range.
                let stored = crate::tree::get(&view.pages, bucket.record.root, &key[EXPIRY_PREFIX..])?;
                let expired = stored.is_some_and(|entry| entry.expires == Some(at));
                due.push((key.to_vec(), tree, expired));
            }
        }
        let collected = Collected {
            seen: due.len(),
            deleted: due.iter().filter(|(.., expired)| *expired).count() as u64,
        };
        if due.is_empty() {
            return Ok(collected);
        }
        for (key, tree, expired) in due {
            tx.collect(&key, tree, &key[EXPIRY_PREFIX..], expired)?;
        }
        // What a crash undoes is collected again.
        let policy = if self.options.sync == SyncPolicy::Immediate {
            SyncPolicy::None
        } else {
            self.options.sync
        };
        tx.commit_with(policy)?;
        self.counters.expired.add(collected.deleted);
        Ok(collected)
    }
}

struct Collected {
    seen: usize,
    deleted: u64,
}

fn number(key: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_be_bytes(key.get(at..at + 8)?.try_into().ok()?))
}
