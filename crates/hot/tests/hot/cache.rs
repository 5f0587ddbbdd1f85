//! Cache mode: the budget, expiry, and how often it hits next to LRU and TinyLFU.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use weald_hot::{Expected, Region, RegionOptions, Session, Swap};

use crate::support::Random;

/// Items that fit into the caches below, each of 96 bytes all in.
const ITEMS: usize = 2000;

fn cache(bytes: u64) -> Region {
    Region::anonymous(&RegionOptions {
        capacity: 32 << 20,
        cache_bytes: bytes,
        ..Default::default()
    })
    .unwrap()
}

/// A cache that is asked for keys and says whether it had them.
trait Cache {
    fn ask(&mut self, key: u64) -> bool;
}

impl Cache for &Session {
    fn ask(&mut self, key: u64) -> bool {
        let found = self.get(&key.to_le_bytes()).unwrap().is_some();
        if !found {
            self.put(&key.to_le_bytes(), &[1; 40]).unwrap();
        }
        found
    }
}

#[derive(Default)]
struct Lru {
    at: HashMap<u64, u64>,
    order: BTreeMap<u64, u64>,
    time: u64,
}

impl Lru {
    fn touch(&mut self, key: u64) -> bool {
        self.time += 1;
        let old = self.at.insert(key, self.time);
        if let Some(old) = old {
            self.order.remove(&old);
        }
        self.order.insert(self.time, key);
        old.is_some()
    }

    fn oldest(&self) -> Option<u64> {
        self.order.values().next().copied()
    }

    fn remove_oldest(&mut self) -> Option<u64> {
        let (_, key) = self.order.pop_first()?;
        self.at.remove(&key);
        Some(key)
    }
}

impl Cache for Lru {
    fn ask(&mut self, key: u64) -> bool {
        let found = self.touch(key);
        if self.at.len() > ITEMS {
            self.remove_oldest();
        }
        found
    }
}

/// A window of one in a hundred, and behind it an LRU that admits by exact counts, halved now and then.
#[derive(Default)]
struct TinyLfu {
    window: Lru,
    main: Lru,
    counts: HashMap<u64, u32>,
    asked: u64,
}

impl Cache for TinyLfu {
    fn ask(&mut self, key: u64) -> bool {
        self.asked += 1;
        *self.counts.entry(key).or_default() += 1;
        if self.asked.is_multiple_of(10 * ITEMS as u64) {
            self.counts.values_mut().for_each(|count| *count /= 2);
            self.counts.retain(|_, count| *count > 0);
        }
        if self.main.at.contains_key(&key) {
            return self.main.touch(key);
        }
        let found = self.window.touch(key);
        if self.window.at.len() > ITEMS / 100
            && let Some(candidate) = self.window.remove_oldest()
        {
            let count = |key: Option<u64>| key.and_then(|key| self.counts.get(&key)).copied().unwrap_or(0);
            if self.main.at.len() < ITEMS - ITEMS / 100 {
                self.main.touch(candidate);
            } else if count(Some(candidate)) > count(self.main.oldest()) {
                self.main.remove_oldest();
                self.main.touch(candidate);
            }
        }
        found
    }
}

fn zipf(seed: u64, items: usize, skew: f64, len: usize) -> Vec<u64> {
    let mut sums: Vec<f64> = Vec::new();
    for rank in 1..=items {
        sums.push(sums.last().unwrap_or(&0.0) + (rank as f64).powf(-skew));
    }
    let total = sums[items - 1];
    let mut random = Random(seed);
    (0..len)
        .map(|_| sums.partition_point(|&sum| sum < random.fraction() * total) as u64)
        .collect()
}

fn hit_rate(mut cache: impl Cache, trace: &[u64]) -> f64 {
    trace.iter().filter(|&&key| cache.ask(key)).count() as f64 / trace.len() as f64
}

/// Hit rates of the region, of LRU and of TinyLFU.
fn compare(name: &str, trace: &[u64]) -> [f64; 3] {
    let region = cache(96 * ITEMS as u64);
    let session = region.join("test").unwrap();
    let rates = [
        hit_rate(&session, trace),
        hit_rate(Lru::default(), trace),
        hit_rate(TinyLfu::default(), trace),
    ];
    println!(
        "{name}: {:.3}, LRU {:.3}, TinyLFU {:.3}",
        rates[0], rates[1], rates[2]
    );
    let stats = session.cache_stats().unwrap();
    assert_eq!(stats.hits + stats.misses, trace.len() as u64);
    assert!(stats.bytes <= stats.budget + 96 * 64, "{stats:?}");
    session.verify().unwrap();
    rates
}

#[test]
fn it_hits_more_often_than_lru_and_nearly_as_often_as_tinylfu() {
    for skew in [0.7, 0.9, 1.1] {
        let [ours, lru, tiny] = compare(&format!("zipf {skew}"), &zipf(1, 20_000, skew, 200_000));
        assert!(ours > lru, "more than LRU");
        assert!(ours > tiny - 0.04, "near TinyLFU");
    }
    // Every now and then somebody reads everything once.
    let mut trace = Vec::new();
    for (round, part) in zipf(2, 20_000, 0.9, 200_000).chunks(10_000).enumerate() {
        trace.extend_from_slice(part);
        trace.extend((0..4000).map(|n| 1_000_000 + round as u64 * 4000 + n));
    }
    let [ours, lru, tiny] = compare("zipf 0.9 with scans", &trace);
    assert!(ours > lru + 0.02 && ours > tiny - 0.04);
    // In a loop a little larger than the cache FIFO and LRU never hit; only counting every key, as TinyLFU does, helps.
    let trace: Vec<u64> = (0..100_000).map(|n| n % 2600).collect();
    let [ours, lru, _] = compare("loop", &trace);
    assert!(ours >= lru);
}

#[test]
fn the_budget_holds_whatever_the_sizes() {
    let region = cache(4 << 20);
    let session = region.join("test").unwrap();
    let mut random = Random(5);
    for _ in 0..60_000 {
        let key = (random.next() % 30_000).to_le_bytes();
        match random.next() % 4 {
            0 => drop(session.get(&key).unwrap()),
            1 => drop(session.remove(&key).unwrap()),
            _ => session
                .put(&key, &vec![1; (random.next() % 2000) as usize])
                .unwrap(),
        }
        assert!(session.cache_stats().unwrap().bytes < (4 << 20) + (128 << 10));
    }
    assert!(session.cache_stats().unwrap().bytes > 3 << 20);
    assert!(session.cache_stats().unwrap().evictions > 1000);
    session.verify().unwrap();
}

#[test]
fn several_threads_share_a_cache() {
    let region = cache(1 << 20);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let region = &region;
            scope.spawn(move || {
                let session = region.join("thread").unwrap();
                let trace = zipf(thread, 20_000, 0.9, 40_000);
                assert!(hit_rate(&session, &trace) > 0.3);
            });
        }
    });
    let session = region.join("check").unwrap();
    session.verify().unwrap();
    assert!(session.cache_stats().unwrap().bytes < (1 << 20) + (64 << 10));
}

#[test]
fn what_has_expired_is_gone_and_can_be_put_again() {
    for ordered in [false, true] {
        let options = RegionOptions {
            capacity: 16 << 20,
            ordered,
            ..Default::default()
        };
        let region = Region::anonymous(&options).unwrap();
        let session = region.join("test").unwrap();
        session
            .put_expiring(b"soon", b"1", Duration::from_millis(30))
            .unwrap();
        session
            .put_expiring(b"late", b"22", Duration::from_secs(1000))
            .unwrap();
        session.put_expiring(b"never", b"333", Duration::MAX).unwrap();
        session.put(b"for ever", b"4444").unwrap();
        assert_eq!(session.get(b"soon").unwrap().unwrap(), b"1");
        assert!(!session.insert(b"soon", b"x").unwrap());
        std::thread::sleep(Duration::from_millis(40));
        assert_eq!(session.get(b"soon").unwrap(), None);
        assert!(session.get_ref(b"soon").unwrap().is_none());
        assert!(!session.remove(b"soon").unwrap());
        session.put_expiring(b"soon", b"1", Duration::ZERO).unwrap();
        assert!(!session.contains(b"soon").unwrap());
        if ordered {
            // Passed by in a range, it keeps its place for the next value.
            assert_eq!(session.range(..).unwrap().count(), 3);
        }
        assert_eq!(
            session
                .compare_and_swap(b"soon", Expected::Absent, Some(b"new"))
                .unwrap(),
            Swap::Done
        );
        assert_eq!(session.get(b"soon").unwrap().unwrap(), b"new");
        session.put_expiring(b"gone", b"1", Duration::ZERO).unwrap();
        assert_eq!(session.remove_expired().unwrap(), 1);
        assert_eq!(session.get(b"late").unwrap().unwrap(), b"22");
        assert_eq!(session.get(b"never").unwrap().unwrap(), b"333");
        assert_eq!(session.get(b"for ever").unwrap().unwrap(), b"4444");
        assert_eq!(session.verify().unwrap().entries, 4);
    }
}
