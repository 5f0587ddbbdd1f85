//! `maxmemory`: the most that the data may take, of the file and of what is on its way there.
//!
//! What is compared with it are the pages in use, as the data are not in memory. Beyond it keys are deleted as `maxmemory-policy` says: a thousand at most at once, and then
//! the pages are counted again. Where nothing may be deleted, or nothing is left to delete, commands are refused that may make the data larger.
//! Pages that have lost some of their records are still whole pages, so more may go than its bytes alone would ask for.

use crate::commands::footprint;
use crate::config::Durability;
use crate::dispatch::Executor;
use crate::error::CommandError;

/// The most keys that are deleted before the pages are counted again.
const KEYS_PER_STEP: usize = 1000;
/// How long a count of pages is believed.
const BELIEVED_MS: u64 = 10;

/// Whether there is room for more, as far as that is known.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Room {
    measured_ms: u64,
    /// There is none, and nothing that could be deleted.
    full: bool,
}

/// Which keys may be deleted, and which of those first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Policy {
    /// Only those that expire.
    volatile: bool,
    order: Order,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    LastUsed,
    LeastUsed,
    Random,
    FirstToExpire,
}

impl Policy {
    /// The one of this name; `None` where nothing is deleted.
    pub(crate) fn parse(name: &str) -> Option<Policy> {
        let (keys, order) = name.split_once('-')?;
        let order = match order {
            "lru" => Order::LastUsed,
            "lfu" => Order::LeastUsed,
            "random" => Order::Random,
            "ttl" => Order::FirstToExpire,
            _ => return None,
        };
        let volatile = keys == "volatile";
        Some(Policy { volatile, order })
    }
}

/// What the data take: the bytes of pages in use.
pub(crate) fn data_bytes(stats: &weald_engine::Stats) -> u64 {
    let unused = stats.free_bytes.saturating_add(stats.pending_bytes);
    stats.file_bytes.saturating_sub(unused)
}

impl Executor<'_> {
    /// Whether a command has to be refused that may make the data larger.
    #[inline]
    pub(crate) fn lacks_room(&mut self) -> bool {
        if self.state.settings.maxmemory == 0 {
            return false;
        }
        self.make_room();
        self.state.room.full
    }

    /// Deletes keys where the data take more than they may.
    pub(crate) fn make_room(&mut self) {
        let max = self.state.settings.maxmemory;
        let measured = self.state.room.measured_ms;
        if max == 0 || self.state.cluster.is_some() || self.now_ms < measured.saturating_add(BELIEVED_MS) {
            return;
        }
        let used = data_bytes(&self.state.db.stats());
        self.state.room = Room {
            measured_ms: self.now_ms,
            full: used > max && self.state.settings.policy.is_none(),
        };
        if used > max
            && let Some(policy) = self.state.settings.policy
        {
            match self.evict(policy, used - max) {
                Ok(enough) => self.state.room.full = !enough,
                Err(e) => log::warn!("no room could be made: {e}"),
            }
        }
    }

    /// Deletes keys that take about so many bytes; whether there were enough, as far as it looked.
    fn evict(&mut self, policy: Policy, bytes: u64) -> Result<bool, CommandError> {
        self.keyspace.tick().begin_write(Durability::None)?;
        if self.keyspace.has_garbage()? {
            // What was deleted before goes first: its pages are counted still.
            self.keyspace.reclaim_some(KEYS_PER_STEP)?;
            return Ok(true);
        }
        let (mut freed, mut deleted) = (0, 0);
        while freed < bytes && deleted < KEYS_PER_STEP {
            let Some((db, key)) = self.victim(policy)? else {
                return Ok(false);
            };
            let found = self.keyspace.find(db, &key)?;
            freed += found.map_or(0, |record| footprint(&key, &record)) as u64;
            self.keyspace.delete(db, &key)?;
            self.state.evicted(db, &key);
            deleted += 1;
        }
        Ok(true)
    }

    /// The key to delete next: the one among some of each database that comes first in the order of the policy.
    fn victim(&mut self, policy: Policy) -> Result<Option<(usize, Vec<u8>)>, CommandError> {
        let samples = match policy.order {
            Order::Random | Order::FirstToExpire => 1,
            Order::LastUsed | Order::LeastUsed => self.state.settings.eviction_samples,
        };
        let mut best: Option<(u64, usize, Vec<u8>)> = None;
        for db in 0..self.keyspace.databases() {
            for _ in 0..samples {
                let found = match policy {
                    Policy {
                        order: Order::FirstToExpire,
                        ..
                    } => self.keyspace.next_to_expire(db, 0)?,
                    Policy { volatile: true, .. } => self.keyspace.random_expiring(db)?,
                    _ => self.keyspace.random_key(db)?.map(|key| (0, key)),
                };
                let Some((expires, key)) = found else {
                    break;
                };
                // The greatest goes.
                let rank = match policy.order {
                    Order::LastUsed => self.keyspace.idle_s(db, &key),
                    Order::LeastUsed => u64::from(u8::MAX - self.keyspace.use_count(db, &key)),
                    Order::Random => self.keyspace.random.u64(..),
                    Order::FirstToExpire => u64::MAX - expires,
                };
                if best.as_ref().is_none_or(|(least, ..)| rank > *least) {
                    best = Some((rank, db, key));
                }
            }
        }
        Ok(best.map(|(_, db, key)| (db, key)))
    }
}
