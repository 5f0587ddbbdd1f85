//! A tier of shared memory before another store.
//!
//! Reads that it answers don't reach the store below. What they may never do is to show a value that a write has replaced and returned from. The one race that
//! could bring that about: a reader fetches a value from below, a writer replaces it, and then the reader puts what it fetched into the tier. So
//! keys fall into stripes, each with the number of writers at work and a count of writes begun. A writer takes its keys out before it
//! writes below. A reader puts in what it fetched only if no writer was at work when it began, and none has begun since.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use weald_hot::{Region, RegionOptions};

use crate::changes::Changes;
use crate::error::{Error, Result};
use crate::item::{Item, Version};
use crate::sessions::{SESSIONS_MAX, Sessions};
use crate::storage::{Decide, Durability, Limits, Range, Stats, Storage};

const NAME: &str = "hot tier";
const VOLUME_BYTES: u64 = 1 << 20;
const STRIPES: usize = 256;
/// Longer keys are left to the store below.
const KEY_LEN_MAX: usize = 4 << 10;
/// Larger items too: a few of them would push everything else out.
const ITEM_BYTES_MAX: usize = 256 << 10;
/// The least that a tier can work in.
const BYTES_MIN: u64 = 1 << 20;

/// A store with a tier of shared memory before it: what is read or written is kept there, within a budget, and read from there next time.
///
/// A write goes to the store below and returns when that has it; from then on nobody reads anything older. Scans, snapshots and changes are those of the
/// store below. Nothing is durable in the tier, and it starts empty.
///
/// ```
/// use weald_storage::{HotTier, Item, Options, Registry, Storage, Version};
///
/// # let dir = tempfile::tempdir().unwrap();
/// let file = Registry::compiled().open("file", &Options::in_dir(dir.path()))?;
/// let store = HotTier::over(file, 16 << 20)?;
/// store.set(b"colour", Item::value(Version::new(1, 1), "green"))?;
/// assert!(store.get(b"colour")?.is_some());
/// assert_eq!(store.stats()?.tier_hits, 1);
/// # Ok::<(), weald_storage::Error>(())
/// ```
///
/// # Trade-offs
///
/// A write costs two changes to the tier beside the write below, and a read that misses one. It pays where the store below is slower than a
/// look-up in memory: on a device, in a compressed file. Before `memory` it only costs.
pub struct HotTier {
    below: Arc<dyn Storage>,
    sessions: Sessions,
    stripes: Box<[Mutex<Stripe>]>,
    hash: RandomState,
    /// Begins every key in the tier, so that clearing is one addition.
    epoch: AtomicU64,
    hits: AtomicU64,
    /// Something couldn't be taken out of the tier: it is not asked again.
    broken: AtomicBool,
    closed: AtomicBool,
}

#[derive(Default)]
struct Stripe {
    writers: u32,
    /// Writes ever begun.
    begun: u64,
}

impl HotTier {
    /// Puts a tier of that many bytes before a store, at least 1 MiB.
    ///
    /// # Errors
    ///
    /// [`Error::Option`] for a store that others write to as well: the tier couldn't know. [`Error::Backend`] when there is no memory.
    pub fn over(below: Arc<dyn Storage>, bytes: u64) -> Result<HotTier> {
        if below.limits().shared {
            return Err(Error::Option {
                backend: below.backend(),
                option: "hot_bytes".into(),
                problem:
                    "others may write to this backend, and a tier before it would show what they replaced"
                        .into(),
            });
        }
        let bytes = bytes.max(BYTES_MIN);
        let region = Region::anonymous(&RegionOptions {
            capacity: bytes + (bytes / 4).max(4 * VOLUME_BYTES),
            volume_size: VOLUME_BYTES,
            sessions: SESSIONS_MAX + 2,
            cache_bytes: bytes,
            ..RegionOptions::default()
        })
        .map_err(|error| Error::backend(NAME, error))?;
        Ok(HotTier {
            below,
            sessions: Sessions::new(region, NAME),
            stripes: (0..STRIPES).map(|_| Mutex::default()).collect(),
            hash: RandomState::new(),
            epoch: AtomicU64::new(0),
            hits: AtomicU64::new(0),
            broken: AtomicBool::new(false),
            closed: AtomicBool::new(false),
        })
    }

    fn check_open(&self) -> Result<()> {
        if self.closed.load(Ordering::Acquire) {
            Err(Error::Closed)
        } else {
            Ok(())
        }
    }

    fn place(&self, key: &[u8]) -> usize {
        self.hash.hash_one(key) as usize % STRIPES
    }

    fn stripe(&self, place: usize) -> MutexGuard<'_, Stripe> {
        self.stripes[place]
            .lock()
            .expect("nothing panics while it is held")
    }

    /// The key as the tier knows it; `None` for one that is too long for it, or when the tier isn't asked any more.
    fn tier_key(&self, key: &[u8]) -> Option<Vec<u8>> {
        if key.len() > KEY_LEN_MAX || self.broken.load(Ordering::Acquire) {
            return None;
        }
        let epoch = self.epoch.load(Ordering::Acquire).to_le_bytes();
        Some([&epoch, key].concat())
    }

    /// What the tier has. Any trouble in it is a miss.
    fn look(&self, key: &[u8]) -> Option<Item> {
        let tier_key = self.tier_key(key)?;
        let bytes = self.sessions.with(|session| session.get(&tier_key)).ok()??;
        let item = Item::decode(key, &bytes).ok()?;
        self.hits.fetch_add(1, Ordering::Relaxed);
        Some(item)
    }

    /// Where a reader stands that is about to ask the store below: what it gets may go into the tier if this is still so then. `None` while a
    /// writer is at work.
    fn watch(&self, key: &[u8]) -> Option<u64> {
        let stripe = self.stripe(self.place(key));
        (stripe.writers == 0).then_some(stripe.begun)
    }

    /// Keeps what a reader got from below, unless it may have been replaced meanwhile.
    fn keep(&self, key: &[u8], item: &Item, watched: Option<u64>) {
        let stripe = self.stripe(self.place(key));
        if stripe.writers == 0 && watched == Some(stripe.begun) {
            self.put(key, item);
        }
    }

    /// Puts an item into the tier, while its stripe is held. The tier may refuse it: then it isn't there.
    fn put(&self, key: &[u8], item: &Item) {
        let Some(tier_key) = self.tier_key(key).filter(|_| item.size() <= ITEM_BYTES_MAX) else {
            return;
        };
        let bytes = item.to_bytes();
        if self
            .sessions
            .with(|session| session.put(&tier_key, &bytes))
            .is_err()
        {
            self.take_out(key);
        }
    }

    fn take_out(&self, key: &[u8]) {
        if let Some(tier_key) = self.tier_key(key)
            && self.sessions.with(|session| session.remove(&tier_key)).is_err()
        {
            self.broken.store(true, Ordering::Release);
        }
    }

    /// Announces a write to these keys and takes them out.
    fn begin<'k>(&self, keys: impl Iterator<Item = &'k [u8]> + Clone) -> Writing<'_> {
        let mut places: Vec<usize> = keys.clone().map(|key| self.place(key)).collect();
        places.sort_unstable();
        places.dedup();
        let writing = self.begin_stripes(places.into_iter());
        keys.for_each(|key| self.take_out(key));
        writing
    }

    fn begin_stripes(&self, places: impl Iterator<Item = usize>) -> Writing<'_> {
        let announce = |place| {
            let mut stripe = self.stripe(place);
            stripe.writers += 1;
            stripe.begun += 1;
            (place, stripe.begun)
        };
        Writing {
            tier: self,
            stripes: places.map(announce).collect(),
        }
    }
}

/// A write at work. While there is one in a stripe, nothing is put into the tier but by the last of them.
struct Writing<'t> {
    tier: &'t HotTier,
    /// The stripes, in order, and what each had begun with this write.
    stripes: Vec<(usize, u64)>,
}

impl Writing<'_> {
    /// Keeps what was written, where no other write has begun since: which of the two came last below is not known.
    fn keep(&self, key: &[u8], item: &Item) {
        let place = self.tier.place(key);
        let at = self
            .stripes
            .binary_search_by_key(&place, |(place, _)| *place)
            .expect("the stripe of a key that is written was announced");
        let stripe = self.tier.stripe(place);
        if stripe.writers == 1 && stripe.begun == self.stripes[at].1 {
            self.tier.put(key, item);
        }
    }
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        for (place, _) in &self.stripes {
            self.tier.stripe(*place).writers -= 1;
        }
    }
}

impl Storage for HotTier {
    fn backend(&self) -> &'static str {
        self.below.backend()
    }

    fn limits(&self) -> Limits {
        self.below.limits()
    }

    fn get(&self, key: &[u8]) -> Result<Option<Item>> {
        self.check_open()?;
        if let Some(item) = self.look(key) {
            return Ok(Some(item));
        }
        let watched = self.watch(key);
        let found = self.below.get(key)?;
        if let Some(item) = &found {
            self.keep(key, item, watched);
        }
        Ok(found)
    }

    fn get_many(&self, keys: &[&[u8]]) -> Result<Vec<Option<Item>>> {
        self.check_open()?;
        let mut found: Vec<Option<Item>> = keys.iter().map(|key| self.look(key)).collect();
        let missing: Vec<usize> = (0..keys.len()).filter(|&at| found[at].is_none()).collect();
        if missing.is_empty() {
            return Ok(found);
        }
        let watched: Vec<Option<u64>> = missing.iter().map(|&at| self.watch(keys[at])).collect();
        let asked: Vec<&[u8]> = missing.iter().map(|&at| keys[at]).collect();
        let answers = self.below.get_many(&asked)?;
        for ((at, watched), answer) in missing.into_iter().zip(watched).zip(answers) {
            if let Some(item) = &answer {
                self.keep(keys[at], item, watched);
            }
            found[at] = answer;
        }
        Ok(found)
    }

    fn update(&self, keys: &[&[u8]], durability: Durability, decide: &mut Decide<'_>) -> Result<()> {
        self.check_open()?;
        let writing = self.begin(keys.iter().copied());
        let mut decided: Vec<Option<Item>> = vec![None; keys.len()];
        self.below.update(keys, durability, &mut |place, old| {
            let item = decide(place, old)?;
            decided[place].clone_from(&item);
            Ok(item)
        })?;
        // In order, so that of a key that comes twice the last is kept.
        for (key, item) in keys.iter().zip(&decided) {
            if let Some(item) = item {
                writing.keep(key, item);
            }
        }
        Ok(())
    }

    fn purge(&self, key: &[u8], version: Version) -> Result<bool> {
        self.check_open()?;
        let _writing = self.begin([key].into_iter());
        self.below.purge(key, version)
    }

    fn scan(&self, range: &Range, see: &mut dyn FnMut(&[u8], Item) -> Result<bool>) -> Result<()> {
        self.below.scan(range, see)
    }

    fn changes(&self, since: u64) -> Changes {
        self.below.changes(since)
    }

    fn clear(&self) -> Result<()> {
        self.check_open()?;
        let _writing = self.begin_stripes(0..STRIPES);
        self.epoch.fetch_add(1, Ordering::AcqRel);
        self.below.clear()
    }

    fn flush(&self) -> Result<()> {
        self.below.flush()
    }

    fn close(&self) -> Result<()> {
        self.closed.store(true, Ordering::Release);
        self.below.close()
    }

    /// The store's own, with the reads that the tier answered among the hits.
    fn stats(&self) -> Result<Stats> {
        let below = self.below.stats()?;
        let tier_hits = self.hits.load(Ordering::Relaxed);
        let region = self.sessions.region().info();
        let region = region.map_err(|error| Error::backend(NAME, error))?;
        Ok(Stats {
            hits: below.hits + tier_hits,
            tier_hits,
            tier_bytes: region.volumes.saturating_sub(region.volumes_free) * region.volume_size,
            ..below
        })
    }
}

impl std::fmt::Debug for HotTier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HotTier")
            .field("below", &self.below.backend())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
