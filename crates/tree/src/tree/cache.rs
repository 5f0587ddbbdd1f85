//! Decoded Merkle pages, kept for whoever needs them next.
//!
//! A page is found by its level and its topmost hash, which bind all that is in it. So pages are shared by all snapshots and
//! transactions, whatever state they see, and nothing ever has to be thrown out because it became wrong. What a commit replaced is
//! thrown out first, since only older snapshots can ask for it; and then, to stay within the bound, what was not asked for since the
//! last time half of it had come in anew.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Arc, Mutex, MutexGuard};

use weald_proof::{Hash, Page};

const SHARDS: usize = 16;

#[derive(Debug)]
pub(crate) struct PageCache {
    shards: [Mutex<Shard>; SHARDS],
    /// Bytes of the younger half of a shard.
    half_bytes: usize,
}

#[derive(Debug, Default)]
struct Shard {
    young: Generation,
    old: Generation,
    young_bytes: usize,
}

type Generation = HashMap<(u8, Hash), Arc<Page>, BuildHasherDefault<Leading>>;

impl PageCache {
    pub(crate) fn new(bytes_max: usize) -> PageCache {
        PageCache {
            shards: Default::default(),
            half_bytes: bytes_max / (2 * SHARDS),
        }
    }

    pub(crate) fn get(&self, level: u8, hash: &Hash) -> Option<Arc<Page>> {
        let key = (level, *hash);
        let mut shard = self.shard(hash);
        if let Some(page) = shard.young.get(&key) {
            return Some(page.clone());
        }
        let page = shard.old.remove(&key)?;
        shard.insert(key, page.clone(), self.half_bytes);
        Some(page)
    }

    pub(crate) fn insert(&self, page: &Arc<Page>) {
        let hash = page.top().hash;
        self.shard(&hash)
            .insert((page.level(), hash), page.clone(), self.half_bytes);
    }

    /// Forgets a page that nobody is likely to ask for again.
    pub(crate) fn remove(&self, level: u8, hash: &Hash) {
        let key = (level, *hash);
        let mut shard = self.shard(hash);
        match shard.young.remove(&key) {
            Some(page) => shard.young_bytes -= page.memory_bytes(),
            None => drop(shard.old.remove(&key)),
        }
    }

    fn shard(&self, hash: &Hash) -> MutexGuard<'_, Shard> {
        // The other end of the hash than the one that the maps go by.
        let shard = &self.shards[usize::from(hash.0[31]) % SHARDS];
        shard.lock().expect("no panic while a shard is locked")
    }
}

impl Shard {
    fn insert(&mut self, key: (u8, Hash), page: Arc<Page>, half_bytes: usize) {
        let bytes = page.memory_bytes();
        if self.young_bytes + bytes > half_bytes {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
        self.young_bytes += bytes;
        if let Some(same) = self.young.insert(key, page) {
            self.young_bytes -= same.memory_bytes();
        }
    }
}

/// Takes the first bytes of a hash for its hash.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Leading(u64);

impl Hasher for Leading {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        match bytes.first_chunk() {
            Some(first) => self.0 ^= u64::from_le_bytes(*first),
            None => bytes
                .iter()
                .for_each(|byte| self.0 = self.0.rotate_left(8) ^ u64::from(*byte)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weald_proof::{Element, Forest, Trees};

    fn page(n: u32) -> Arc<Page> {
        let mut forest = Forest::new();
        forest.put(&[], &n.to_be_bytes(), Element::SumItem(1)).unwrap();
        let pages = forest.tree(&[]).unwrap().unwrap();
        weald_proof::Pages::topmost(&pages).unwrap().unwrap()
    }

    #[test]
    fn what_is_replaced_makes_room_at_once() {
        let cache = PageCache::new(2 * SHARDS * 10 * page(0).memory_bytes());
        let kept: Vec<Arc<Page>> = (0..8 * SHARDS as u32).map(page).collect();
        kept.iter().for_each(|page| cache.insert(page));
        let held = || {
            kept.iter()
                .filter(|page| cache.get(0, &page.top().hash).is_some())
        };
        let before = held().count();
        for n in 1_000..6_000 {
            let replaced = page(n);
            cache.insert(&replaced);
            cache.remove(0, &replaced.top().hash);
            cache.remove(0, &replaced.top().hash);
            assert!(cache.get(0, &replaced.top().hash).is_none());
        }
        assert_eq!(held().count(), before);
        assert!(before > kept.len() / 2, "{before}");
    }

    #[test]
    fn what_is_asked_for_stays_and_memory_is_bounded() {
        let bytes_max = 2 * SHARDS * 10 * page(0).memory_bytes();
        let cache = PageCache::new(bytes_max);
        let asked = page(0);
        for n in 0..5_000 {
            cache.insert(&page(n));
            assert_eq!(cache.get(0, &asked.top().hash).as_ref(), Some(&asked));
            assert!(cache.get(1, &asked.top().hash).is_none());
        }
        assert!(cache.get(0, &page(1).top().hash).is_none());
        let held: usize = cache
            .shards
            .iter()
            .map(|shard| shard.lock().unwrap())
            .map(|shard| (shard.young.len() + shard.old.len()) * asked.memory_bytes())
            .sum();
        assert!(held <= bytes_max && held > bytes_max / 3, "{held} of {bytes_max}");
    }
}
