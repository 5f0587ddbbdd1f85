//! How often a cache has what it is asked for: generated traces, on Weald's cache mode and on the policies that it is judged by.

use std::collections::{BTreeMap, HashMap};

use weald_hot::{Region, RegionOptions, Session};

use super::{Asked, Report};
use crate::engine::Result;
use crate::workload::mix;

/// Items that a cache holds, and items that there are.
const ROOM: u64 = 2000;
const ITEMS: u64 = 20_000;
const REQUESTS: usize = 400_000;
/// What an item takes in a region, all in.
const ITEM_BYTES: u64 = 96;

/// A cache that is asked for keys, fills itself, and says whether it had them.
trait Cache {
    fn ask(&mut self, key: u64) -> Result<bool>;
}

pub(super) fn measure(asked: &Asked, report: &mut Report) -> Result<()> {
    for (name, trace) in [
        ("hit rate, Zipf 0.9", zipf()),
        ("hit rate, Zipf 0.9 with scans", with_scans()),
        (
            "hit rate, a loop larger than the cache",
            (0..REQUESTS as u64).map(|n| n % (ROOM * 5 / 4)).collect(),
        ),
        ("hit rate, popularity that moves", moving()),
    ] {
        if !asked.wants(name) {
            continue;
        }
        report.add(name, "share", None, "weald", rate(&mut Weald::new()?, &trace)?);
        report.add(name, "share", None, "lru", rate(&mut Lru::default(), &trace)?);
        #[cfg(feature = "hot-peers")]
        {
            let mut cache = moka::sync::Cache::new(ROOM);
            report.add(name, "share", None, "tinylfu (moka)", rate(&mut cache, &trace)?);
        }
    }
    Ok(())
}

fn rate(cache: &mut dyn Cache, trace: &[u64]) -> Result<f64> {
    let mut hits = 0;
    // The first half warms it up.
    for (at, &key) in trace.iter().enumerate() {
        let hit = cache.ask(key)?;
        hits += u64::from(hit && at >= trace.len() / 2);
    }
    Ok(hits as f64 / (trace.len() - trace.len() / 2) as f64)
}

/// Numbers below [`ITEMS`] of which the n-th comes in proportion to `n^-0.9`, for a fraction from 0 to 1.
struct Zipf(Vec<f64>);

impl Zipf {
    fn new() -> Zipf {
        let mut sum = 0.0;
        let sums = (1..=ITEMS).map(|n| {
            sum += (n as f64).powf(-0.9);
            sum
        });
        Zipf(sums.collect())
    }

    fn pick(&self, n: u64) -> u64 {
        let fraction = (mix(n) >> 11) as f64 / (1u64 << 53) as f64;
        let wanted = fraction * self.0[self.0.len() - 1];
        self.0.partition_point(|&sum| sum < wanted) as u64
    }
}

fn zipf() -> Vec<u64> {
    let zipf = Zipf::new();
    (0..REQUESTS as u64).map(|n| zipf.pick(n)).collect()
}

/// Every twenty thousand requests, ten thousand items that come once.
fn with_scans() -> Vec<u64> {
    let mut once = ITEMS;
    let mut trace = Vec::new();
    for part in zipf().chunks(20_000) {
        trace.extend(part);
        trace.extend(once..once + 10_000);
        once += 10_000;
    }
    trace
}

/// What is popular changes bit by bit.
fn moving() -> Vec<u64> {
    let zipf = Zipf::new();
    (0..REQUESTS as u64)
        .map(|n| (zipf.pick(n) + n / 100) % ITEMS)
        .collect()
}

struct Weald {
    session: Session,
}

impl Weald {
    fn new() -> Result<Weald> {
        let region = Region::anonymous(&RegionOptions {
            capacity: 32 << 20,
            cache_bytes: ROOM * ITEM_BYTES,
            ..Default::default()
        })?;
        Ok(Weald {
            session: region.join("bench")?,
        })
    }
}

impl Cache for Weald {
    fn ask(&mut self, key: u64) -> Result<bool> {
        let key = key.to_le_bytes();
        if self.session.get_ref(&key)?.is_some() {
            return Ok(true);
        }
        // As long as it takes for an entry of `ITEM_BYTES`.
        self.session.put(&key, &[1; 40])?;
        Ok(false)
    }
}

/// The least recently used goes.
#[derive(Default)]
struct Lru {
    time: u64,
    last: HashMap<u64, u64>,
    by_time: BTreeMap<u64, u64>,
}

impl Cache for Lru {
    fn ask(&mut self, key: u64) -> Result<bool> {
        self.time += 1;
        let last = self.last.insert(key, self.time);
        if let Some(last) = last {
            self.by_time.remove(&last);
        }
        self.by_time.insert(self.time, key);
        if self.last.len() as u64 > ROOM
            && let Some((_, oldest)) = self.by_time.pop_first()
        {
            self.last.remove(&oldest);
        }
        Ok(last.is_some())
    }
}

#[cfg(feature = "hot-peers")]
impl Cache for moka::sync::Cache<u64, u64> {
    fn ask(&mut self, key: u64) -> Result<bool> {
        if self.get(&key).is_some() {
            return Ok(true);
        }
        self.insert(key, key);
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policies_do_what_their_names_say() {
        let mut lru = Lru::default();
        for key in 0..=ROOM {
            assert!(!lru.ask(key).unwrap());
        }
        assert!(!lru.ask(0).unwrap(), "the oldest went");
        assert!(lru.ask(ROOM).unwrap());
        let looped: Vec<u64> = (0..20_000).map(|n| n % (ROOM + 1)).collect();
        assert!(rate(&mut Lru::default(), &looped).unwrap() < 0.001);
        let few: Vec<u64> = (0..20_000).map(|n| n % (ROOM / 2)).collect();
        assert!(rate(&mut Weald::new().unwrap(), &few).unwrap() > 0.99);
        let popular = zipf();
        let of_first = popular.iter().filter(|&&key| key == 0).count();
        assert!(
            of_first > popular.len() / 50 && of_first < popular.len() / 5,
            "{of_first}"
        );
    }
}
