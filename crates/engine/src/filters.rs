//! The Bloom filters of the trees that are large enough for one: made in the background, kept up by commits, written by checkpoints.
//!
//! Each tree has at most one filter in use and one in the making. A commit inserts its keys into both before it is published. The one in the making
//! is entered here first and then filled from a snapshot, so that it has every key from that snapshot on; older snapshots don't
//! ask it. A bulk load into an empty tree fills a filter as it goes, while the keys are at hand: that is a tenth of the work of reading them again. Where a filter is missing, look-ups go to the tree: nothing here can make an answer wrong.

use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

use crate::bloom::Bloom;
use crate::bloom::format::{BloomHeader, GROUP};
use crate::core::Core;
use crate::error::Result;
use crate::ids::{TreeId, TxId};
use crate::merge::record;
use crate::meta::Blob;
use crate::stats::SpreadCounter;
use crate::store::Extent;
use crate::tree::Cursor;

/// A tree with fewer keys is in the cache anyhow.
const KEYS_MIN: u64 = 16 << 10;
/// No filter takes more memory than this: past it the tree is too large for a filter to stay in the cache.
const BYTES_MAX: u64 = 1 << 30;
/// Bytes of leaves that are read between two looks whether the database is being closed. Where the file is not mapped they stay in memory until then.
const SLICE: usize = 512 << 10;
/// What a leaf keeps of each entry beside key and value, or somewhat more.
const SLOT: usize = 16;
/// Nobody who closes the database waits longer than this for the next look.
const SLICE_PAUSE_MAX: Duration = Duration::from_millis(50);
/// A slice that takes longer comes from the disk, which others want to read too.
const SLICE_CACHED: Duration = Duration::from_millis(2);

/// The filters of a database.
pub(crate) struct Filters {
    bits_per_key: u32,
    /// So that what spoils the filters of one database does nothing to those of another.
    seed: u64,
    set: ArcSwap<Set>,
    /// Taken by whoever changes the set.
    changing: Mutex<()>,
    /// Trees that came to lack a filter, or whose filter is spoilt.
    wanted: Mutex<BTreeSet<TreeId>>,
    pub(crate) hits: SpreadCounter,
}

/// Found at every look-up of a key, so the hash is a cheap one. The database makes up the ids itself, and one that was forged to be in
/// the way costs time and nothing else.
type ByTree = HashMap<TreeId, Arc<Bloom>, BuildHasherDefault<IdHasher>>;

/// Hashes one number.
#[derive(Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    #[inline]
    fn write_u64(&mut self, id: u64) {
        // The table takes the upper bits and the lower ones.
        let mixed = (self.0 ^ id).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ mixed >> 32;
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }
}

#[derive(Clone, Default)]
struct Set {
    in_use: ByTree,
    in_making: ByTree,
    /// Where the persisted blocks are of filters that are not complete yet.
    loading: Vec<Arc<Loading>>,
}

/// A filter whose image in the file is still to be read.
struct Loading {
    filter: Arc<Bloom>,
    header: BloomHeader,
    /// Where the first group is, in bytes.
    offset: u64,
}

impl Filters {
    pub(crate) fn new(bits_per_key: u32, seed: u64) -> Filters {
        Filters {
            bits_per_key,
            seed,
            set: ArcSwap::default(),
            changing: Mutex::new(()),
            wanted: Mutex::default(),
            hits: SpreadCounter::default(),
        }
    }

    /// Whether a look-up of `key` in this state of the tree can end here: the key is not there.
    #[inline]
    pub(crate) fn excludes(&self, tree: TreeId, snapshot: TxId, key: &[u8]) -> bool {
        if self.bits_per_key == 0 {
            return false;
        }
        let excluded = match self.set.load().in_use.get(&tree) {
            Some(filter) if filter.speaks_for(snapshot) => !filter.may_contain(filter.hash(key)),
            _ => false,
        };
        if excluded {
            self.hits.add_one();
        }
        excluded
    }

    /// The filters that a commit to `tree` has to keep up; `None` where there are none.
    pub(crate) fn keeper(&self, tree: TreeId) -> Option<Keeper> {
        let set = self.set.load();
        let keeper = Keeper {
            in_use: set.in_use.get(&tree).cloned(),
            in_making: set.in_making.get(&tree).cloned(),
            own: None,
        };
        (keeper.in_use.is_some() || keeper.in_making.is_some()).then_some(keeper)
    }

    /// A filter for a tree that one commit fills from nothing with `len` keys, where that is worth one. Nobody asks it before it is
    /// [adopted](Self::adopt).
    pub(crate) fn make(&self, tree: TreeId, len: u64, txid: TxId) -> Option<Arc<Bloom>> {
        if len < KEYS_MIN || self.bits_per_key == 0 {
            return None;
        }
        let capacity = self.capacity(len)?;
        let filter = Bloom::new(tree, capacity, self.bits_per_key, self.seed ^ txid.0, txid);
        Some(Arc::new(filter))
    }

    /// How many keys a filter is made for, for a tree that has `len`. `None` where it would recognise little, and spoil the cache: better none.
    fn capacity(&self, len: u64) -> Option<u64> {
        // The length is what the file says, and may be anything.
        let max = BYTES_MAX * 8 / u64::from(self.bits_per_key);
        Some(len.saturating_add(len / 2).min(max)).filter(|capacity| len <= *capacity)
    }

    /// Uses filters that have all keys of their trees: those of a commit that is about to be published. The caller holds the gate.
    pub(crate) fn adopt(&self, made: Vec<(TreeId, Arc<Bloom>)>) {
        if made.is_empty() {
            return;
        }
        self.wanted()
            .retain(|tree| made.iter().all(|(other, _)| other != tree));
        self.change(|set| set.in_use.extend(made));
    }

    /// Notes that `tree` has come to have `len` keys.
    pub(crate) fn note_len(&self, tree: TreeId, len: u64) {
        if len < KEYS_MIN || self.bits_per_key == 0 {
            return;
        }
        let set = self.set.load();
        if !set.in_making.contains_key(&tree)
            && set
                .in_use
                .get(&tree)
                .is_none_or(|f| f.is_ready() && f.is_spoilt())
        {
            self.wanted().insert(tree);
        }
    }

    /// The tree is gone.
    pub(crate) fn forget(&self, tree: TreeId) {
        let set = self.set.load();
        if set.in_use.contains_key(&tree) || set.in_making.contains_key(&tree) {
            self.change(|set| {
                set.in_use.remove(&tree);
                set.in_making.remove(&tree);
            });
        }
    }

    fn wanted(&self) -> MutexGuard<'_, BTreeSet<TreeId>> {
        self.wanted.lock().expect("no panic while a wish is noted")
    }

    /// Whether no filter is being made, read, or wanted.
    pub(crate) fn are_ready(&self) -> bool {
        let set = self.set.load();
        set.in_making.is_empty() && set.loading.is_empty() && self.wanted().is_empty()
    }

    /// The share of absent keys that go on to the tree.
    pub(crate) fn false_positive_rate(&self, tree: TreeId) -> f64 {
        self.set
            .load()
            .in_use
            .get(&tree)
            .map_or(1.0, |filter| filter.false_positive_rate())
    }

    /// Bytes of memory that the filters take.
    pub(crate) fn bytes(&self) -> u64 {
        let set = self.set.load();
        set.in_use
            .values()
            .chain(set.in_making.values())
            .map(|filter| filter.bytes() as u64)
            .sum()
    }

    fn change(&self, change: impl FnOnce(&mut Set)) {
        let _changing = self
            .changing
            .lock()
            .expect("no panic while the set of filters is changed");
        let mut set = Set::clone(&self.set.load());
        change(&mut set);
        self.set.store(Arc::new(set));
    }

    /// Takes in what a checkpoint wrote: the filters are kept up from now on, and used once [`load`](Core::load_filters) has read them.
    /// An image that is damaged is as good as none.
    pub(crate) fn expect(&self, headers: Vec<(BloomHeader, u64)>, start: u64) {
        self.change(|set| {
            for (header, offset) in headers {
                let filter = Arc::new(Bloom::from_header(&header));
                set.in_use.insert(header.tree, Arc::clone(&filter));
                set.loading.push(Arc::new(Loading {
                    filter,
                    header,
                    offset: start + offset,
                }));
            }
        });
    }

    /// The images of the filters that are complete, one after the other, as of a commit whose keys are all in them.
    pub(crate) fn encode(&self, as_of: TxId) -> Vec<u8> {
        let set = self.set.load();
        let mut filters: Vec<_> = set
            .in_use
            .iter()
            .filter(|(_, filter)| filter.is_ready())
            .collect();
        filters.sort_unstable_by_key(|(tree, _)| **tree);
        let mut out = Vec::new();
        for (_, filter) in filters {
            let header = filter.header(as_of);
            out.extend_from_slice(&header.encode());
            (0..header.groups())
                .for_each(|group| out.extend_from_slice(&filter.encode_group(&header, group)));
        }
        out
    }

    /// Bytes that [`encode`](Self::encode) gives.
    pub(crate) fn encoded_len(&self) -> u64 {
        let set = self.set.load();
        set.in_use
            .values()
            .filter(|filter| filter.is_ready())
            .map(|filter| filter.header(TxId(0)).image_len())
            .sum()
    }
}

/// The filters of one tree, as a commit sees them.
pub(crate) struct Keeper {
    in_use: Option<Arc<Bloom>>,
    in_making: Option<Arc<Bloom>>,
    /// One that only this commit has.
    own: Option<Arc<Bloom>>,
}

impl Keeper {
    #[inline]
    pub(crate) fn insert(&self, key: &[u8]) {
        for filter in self.in_use.iter().chain(&self.in_making) {
            filter.insert(filter.hash(key));
        }
        if let Some(filter) = &self.own {
            filter.insert_alone(filter.hash(key));
        }
    }

    /// That of a filter which nobody else has before this commit is done.
    pub(crate) fn of(filter: Arc<Bloom>) -> Keeper {
        Keeper {
            in_use: None,
            in_making: None,
            own: Some(filter),
        }
    }

    pub(crate) fn delete(&self) {
        self.in_use
            .iter()
            .chain(&self.in_making)
            .chain(&self.own)
            .for_each(|filter| filter.note_deleted(1));
    }
}

/// The headers of the filters in a run that a checkpoint wrote, and where their groups begin in it. What follows a damaged header is lost, which costs
/// time and nothing else.
pub(crate) fn headers(
    bytes: u64,
    mut read: impl FnMut(&mut [u8], u64) -> Result<()>,
) -> Result<Vec<(BloomHeader, u64)>> {
    let mut headers = Vec::new();
    let mut at = 0;
    while at + GROUP as u64 <= bytes {
        let mut head = [0; GROUP];
        read(&mut head, at)?;
        let Ok(header) = BloomHeader::decode_within(&head, bytes - at) else {
            break;
        };
        headers.push((header, at + GROUP as u64));
        at += header.image_len();
    }
    Ok(headers)
}

impl Core {
    /// Reads what is in the file of filters, and makes those that are missing or spoilt. Now and then it lets `rest` take so long, or do what is more
    /// urgent, and ends if that says so.
    pub(crate) fn tend_filters(&self, rest: &dyn Fn(Duration) -> bool) -> Result<()> {
        if self.options.bloom_bits_per_key == 0 {
            return Ok(());
        }
        self.load_filters(rest)?;
        let wanted = std::mem::take(&mut *self.filters.wanted());
        for tree in wanted {
            if rest(Duration::ZERO) {
                break;
            }
            self.tend_filter(tree, rest)?;
        }
        Ok(())
    }

    fn load_filters(&self, rest: &dyn Fn(Duration) -> bool) -> Result<()> {
        let loading = self.filters.set.load().loading.clone();
        for image in loading {
            let mut group = [0; GROUP];
            let mut whole = true;
            for index in 0..image.header.groups() {
                if rest(Duration::ZERO) {
                    return Ok(());
                }
                self.store
                    .file
                    .read(&mut group, image.offset + index * GROUP as u64)?;
                whole &= image.filter.absorb(&image.header, index, &group).is_ok();
            }
            self.filters.change(|set| {
                set.loading.retain(|other| !Arc::ptr_eq(other, &image));
                if !whole {
                    set.in_use.remove(&image.header.tree);
                }
            });
        }
        Ok(())
    }

    /// Looks once at all trees that the database has, for those that lack a filter.
    pub(crate) fn survey_filters(&self) -> Result<()> {
        let (pin, roots) = self.pin();
        self.filters.note_len(TreeId::ROOT, roots.fixed[0].len);
        let mut cursor = Cursor::new(self.store.snapshot(&pin), roots.catalog.root);
        let mut next = cursor.first()?;
        while let Some((key, _)) = next {
            if let Ok(id) = key.try_into().map(u64::from_be_bytes) {
                let tree = TreeId(id);
                self.filters
                    .note_len(tree, record(&self.store.snapshot(&pin), &roots, tree)?.len);
            }
            next = cursor.next()?;
        }
        Ok(())
    }

    fn tend_filter(&self, tree: TreeId, rest: &dyn Fn(Duration) -> bool) -> Result<()> {
        let (len, seen) = {
            let (pin, roots) = self.pin();
            (record(&self.store.snapshot(&pin), &roots, tree)?.len, roots.txid)
        };
        if len < KEYS_MIN {
            // The commit that noted the length may still wait for its flush, and no other may come that would note it again.
            if self.state().head.txid != seen {
                self.filters.wanted().insert(tree);
            }
            return Ok(());
        }
        let Some(capacity) = self.filters.capacity(len) else {
            self.filters.change(|set| drop(set.in_use.remove(&tree)));
            return Ok(());
        };
        let making = {
            // Under the lock, so that each commit is either in the snapshot below or finds the filter here.
            let state = self.state();
            if state.spilled {
                // Its keys so far would be in no snapshot and no commit that this filter sees.
                self.filters.wanted().insert(tree);
                return Ok(());
            }
            let valid_from = state.head.txid;
            let seed = self.filters.seed ^ valid_from.0;
            let filter = Arc::new(Bloom::new(
                tree,
                capacity,
                self.filters.bits_per_key,
                seed,
                valid_from,
            ));
            self.filters
                .change(|set| drop(set.in_making.insert(tree, Arc::clone(&filter))));
            // Somebody may have wished for it again before it was to be seen there.
            self.filters.wanted().remove(&tree);
            filter
        };
        let filled = self.fill_filter(tree, &making, rest);
        self.filters.change(|set| {
            // A tree that was dropped meanwhile was forgotten.
            if set.in_making.remove(&tree).is_some() && matches!(filled, Ok(true)) {
                set.in_use.insert(tree, making);
            }
        });
        filled.map(drop)
    }

    /// Inserts the keys of a state that has all commits from before the filter was entered; whether all.
    fn fill_filter(&self, tree: TreeId, filter: &Bloom, rest: &dyn Fn(Duration) -> bool) -> Result<bool> {
        while self.published.txid() < filter.valid_from() {
            if rest(Duration::from_millis(1)) || self.poison.check().is_err() {
                return Ok(false);
            }
        }
        let mut from = Vec::new();
        // A snapshot for each slice, since one that stays holds all pages that were read where the file is not mapped.
        loop {
            let began = Instant::now();
            let (pin, roots) = self.pin();
            let pages = self.store.snapshot(&pin);
            let mut cursor = Cursor::new(pages, record(&pages, &roots, tree)?.root);
            let mut next = cursor.seek(&from)?;
            let mut bytes = 0;
            while bytes < SLICE {
                let Some((key, entry)) = next else {
                    // A key that was deleted before this snapshot is in neither it nor a later commit, and one that came after its slice
                    // was looked at was inserted by its commit.
                    filter.set_valid_from(roots.txid);
                    return Ok(true);
                };
                filter.insert(filter.hash(key));
                bytes += SLOT + key.len() + entry.value.bytes_in_leaf();
                next = cursor.next()?;
            }
            match next {
                Some((key, _)) => key.clone_into(&mut from),
                None => from.push(0),
            }
            // Not while others rest: what they replace would have to stay.
            drop(pin);
            let took = began.elapsed();
            let pause = if took > SLICE_CACHED {
                took * 3
            } else {
                Duration::ZERO
            };
            if rest(pause.min(SLICE_PAUSE_MAX)) {
                return Ok(false);
            }
        }
    }

    /// Writes the filters into the run, for a checkpoint of `as_of`.
    pub(crate) fn write_filters(&self, run: Extent, as_of: TxId) -> Result<Blob> {
        if run.len == 0 {
            return Ok(Blob::EMPTY);
        }
        let mut bytes = self.filters.encode(as_of);
        let size = self.store.page_size() as u64;
        bytes.truncate((run.len * size) as usize);
        self.store.file.write(&bytes, run.start * size)?;
        Ok(Blob {
            extent: run,
            bytes: bytes.len() as u64,
            checksum: 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Database, DatabaseOptions, Readable, Writable};

    #[test]
    fn no_filter_begins_while_a_transaction_has_spilled() {
        let options = DatabaseOptions::low_memory().background(false);
        let db =
            Database::open_with_options("db", options.vfs(std::sync::Arc::new(weald_vfs::Memory::new())))
                .unwrap();
        let put = |tx: &mut crate::WriteTx<'_>, keys: std::ops::Range<u64>| {
            keys.into_iter()
                .for_each(|n| tx.put(&n.to_be_bytes(), &[7; 100]).unwrap());
        };
        let mut tx = db.write().unwrap();
        put(&mut tx, 0..KEYS_MIN);
        tx.commit().unwrap();
        let core = db.core();
        for (keys, commit) in [(KEYS_MIN..80_000, false), (KEYS_MIN..80_000, true)] {
            core.filters.change(|set| *set = Set::default());
            core.filters.note_len(TreeId::ROOT, KEYS_MIN);
            let spills = db.stats().spills;
            let mut tx = db.write().unwrap();
            put(&mut tx, keys.clone());
            assert!(db.stats().spills > spills);
            core.tend_filters(&|_| false).unwrap();
            put(&mut tx, keys.end..keys.end + 10);
            if commit {
                tx.commit().unwrap();
            } else {
                drop(tx);
            }
            core.tend_filters(&|_| false).unwrap();
            assert!(core.filters.are_ready() && core.filters.bytes() > 0);
            let tx = db.read().unwrap();
            for n in 0..keys.end + 10 {
                let expected = commit || n < KEYS_MIN;
                assert_eq!(tx.contains_key(&n.to_be_bytes()).unwrap(), expected, "{n}");
            }
        }
    }

    #[test]
    fn while_one_is_filled_others_commit_and_make_checkpoints() {
        let options = DatabaseOptions::new().background(false);
        let db =
            Database::open_with_options("db", options.vfs(std::sync::Arc::new(weald_vfs::Memory::new())))
                .unwrap();
        let mut tx = db.write().unwrap();
        (0..60_000u64).for_each(|n| tx.put(&(2 * n).to_be_bytes(), &[7; 100]).unwrap());
        tx.commit().unwrap();
        let core = db.core();
        core.filters.change(|set| *set = Set::default());
        core.filters.note_len(TreeId::ROOT, KEYS_MIN);
        let rests = std::cell::Cell::new(0);
        let rest = |_| {
            rests.set(rests.get() + 1);
            let n: u64 = rests.get();
            db.put(&(2 * n * 5_000 + 1).to_be_bytes(), b"v").unwrap();
            assert!(core.checkpoint_with(false).unwrap().pages > 0);
            false
        };
        core.tend_filters(&rest).unwrap();
        assert!(rests.get() > 10, "{} rests", rests.get());
        assert!(core.filters.are_ready() && core.filters.bytes() > 0);
        let tx = db.read().unwrap();
        for n in 1..=rests.get() {
            assert!(
                tx.contains_key(&(2 * n * 5_000 + 1).to_be_bytes()).unwrap(),
                "{n}"
            );
        }
    }

    #[test]
    fn a_tree_that_grew_by_a_commit_nobody_sees_yet_stays_wanted() {
        let options = DatabaseOptions::new().background(false);
        let db =
            Database::open_with_options("db", options.vfs(std::sync::Arc::new(weald_vfs::Memory::new())))
                .unwrap();
        let mut tx = db.write().unwrap();
        (0..KEYS_MIN).for_each(|n| tx.put(&n.to_be_bytes(), b"v").unwrap());
        tx.delete(&0u64.to_be_bytes()).unwrap();
        tx.commit().unwrap();
        let core = db.core();
        let is_wanted = || core.filters.wanted().contains(&TreeId::ROOT);

        core.filters.note_len(TreeId::ROOT, KEYS_MIN);
        core.state().head.txid.0 += 1;
        core.tend_filters(&|_| false).unwrap();
        assert!(is_wanted(), "its commit is still to be published");

        core.state().head.txid.0 -= 1;
        core.tend_filters(&|_| false).unwrap();
        assert!(!is_wanted(), "it is short after all");
    }
}
