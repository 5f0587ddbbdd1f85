//! What a tier must never show, by schedules that are forced through a store below that stops where it is told.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;

use super::*;
use crate::item::Entry;
use crate::registry::{Options, Registry};

fn memory() -> Arc<dyn Storage> {
    Registry::compiled()
        .open("memory", &Options::new())
        .expect("memory for a small store")
}

fn item(time: u64) -> Item {
    Item::value(Version::new(time, 1), time.to_string())
}

fn time(found: Option<Item>) -> Option<u64> {
    found.map(|item| item.version.time)
}

/// Stops each read after it got its answer, and each write before and after, until the test lets it go on.
struct Stopping {
    below: Arc<dyn Storage>,
    stops: Mutex<Option<(Sender<&'static str>, Receiver<()>)>>,
}

impl Stopping {
    fn stop(&self, what: &'static str) {
        // The thread that the test steps has the channels; all others pass.
        let channels = self.stops.lock().expect("no panic while held").take();
        if let Some((here, go)) = channels {
            here.send(what).expect("the test waits");
            go.recv().expect("the test goes on");
            *self.stops.lock().expect("no panic while held") = Some((here, go));
        }
    }
}

impl Storage for Stopping {
    fn backend(&self) -> &'static str {
        "stopping"
    }
    fn limits(&self) -> Limits {
        self.below.limits()
    }
    fn get(&self, key: &[u8]) -> Result<Option<Item>> {
        let found = self.below.get(key);
        self.stop("read");
        found
    }
    fn update(&self, keys: &[&[u8]], durability: Durability, decide: &mut Decide<'_>) -> Result<()> {
        self.stop("before the write");
        self.below.update(keys, durability, decide)?;
        self.stop("after the write");
        Ok(())
    }
    fn purge(&self, key: &[u8], version: Version) -> Result<bool> {
        self.below.purge(key, version)
    }
    fn scan(&self, range: &Range, see: &mut dyn FnMut(&[u8], Item) -> Result<bool>) -> Result<()> {
        self.below.scan(range, see)
    }
    fn changes(&self, since: u64) -> Changes {
        self.below.changes(since)
    }
    fn clear(&self) -> Result<()> {
        self.below.clear()
    }
    fn flush(&self) -> Result<()> {
        self.below.flush()
    }
    fn close(&self) -> Result<()> {
        self.below.close()
    }
    fn stats(&self) -> Result<Stats> {
        self.below.stats()
    }
}

/// Runs `stepped` in a thread, and `meanwhile` each time that it stops below.
fn step(
    stepped: impl FnOnce(&HotTier) + Send,
    mut meanwhile: impl FnMut(&HotTier, &str),
    setup: impl FnOnce(&dyn Storage),
) -> HotTier {
    let below = memory();
    setup(&*below);
    let (here, stopped) = channel();
    let (go, wait) = channel();
    let stopping = Arc::new(Stopping {
        below,
        stops: Mutex::new(Some((here, wait))),
    });
    let tier = HotTier::over(stopping.clone(), 1 << 20).expect("a tier");
    thread::scope(|scope| {
        let tier = &tier;
        let thread = scope.spawn(move || stepped(tier));
        while !thread.is_finished() {
            if let Ok(what) = stopped.recv_timeout(std::time::Duration::from_millis(5)) {
                meanwhile(tier, what);
                go.send(()).expect("the thread waits");
            }
        }
    });
    *stopping.stops.lock().expect("no panic while held") = None;
    tier
}

#[test]
fn a_reader_that_was_overtaken_by_a_write_leaves_nothing_behind() {
    let tier = step(
        |tier| assert_eq!(time(tier.get(b"k").unwrap()), Some(1)),
        |tier, what| {
            if what == "read" {
                tier.set(b"k", item(2)).unwrap();
            }
        },
        |below| {
            below.set(b"k", item(1)).unwrap();
        },
    );
    assert_eq!(time(tier.get(b"k").unwrap()), Some(2));
}

#[test]
fn while_a_write_is_under_way_nothing_older_is_shown_than_was_before() {
    let mut seen = Vec::new();
    let tier = step(
        |tier| assert_eq!(tier.set(b"k", item(2)).unwrap(), crate::Outcome::Applied),
        |tier, _| {
            // Twice: what the first read brought must not be kept before the write is done.
            seen.push(time(tier.get(b"k").unwrap()));
            seen.push(time(tier.get(b"k").unwrap()));
        },
        |below| {
            below.set(b"k", item(1)).unwrap();
        },
    );
    assert_eq!(seen, [Some(1), Some(1), Some(2), Some(2)]);
    assert_eq!(time(tier.get(b"k").unwrap()), Some(2));
}

#[test]
fn of_two_writes_at_once_the_tier_shows_what_the_store_has() {
    let tier = step(
        |tier| {
            tier.set(b"k", item(2)).unwrap();
        },
        |tier, what| {
            if what == "after the write" {
                tier.set(b"k", item(3)).unwrap();
            }
        },
        |_| {},
    );
    assert_eq!(time(tier.get(b"k").unwrap()), Some(3));
    assert_eq!(time(tier.get(b"k").unwrap()), Some(3));
}

#[test]
fn a_reader_that_was_overtaken_by_a_clear_leaves_nothing_behind() {
    let tier = step(
        |tier| assert_eq!(time(tier.get(b"k").unwrap()), Some(1)),
        |tier, _| tier.clear().unwrap(),
        |below| {
            below.set(b"k", item(1)).unwrap();
        },
    );
    assert_eq!(tier.get(b"k").unwrap(), None);
}

#[test]
fn what_was_written_or_read_is_read_from_the_tier() {
    let below = memory();
    below.set(b"old", item(1)).unwrap();
    let tier = HotTier::over(below.clone(), 1 << 20).unwrap();
    tier.set(b"written", item(2)).unwrap();
    for _ in 0..3 {
        assert_eq!(time(tier.get(b"written").unwrap()), Some(2));
        assert_eq!(time(tier.get(b"old").unwrap()), Some(1));
    }
    let found = tier.get_many(&[b"old", b"none", b"written"]).unwrap();
    assert_eq!(
        found.into_iter().map(time).collect::<Vec<_>>(),
        [Some(1), None, Some(2)]
    );
    let stats = tier.stats().unwrap();
    assert_eq!((stats.tier_hits, stats.hits, stats.misses), (7, 8, 1));
    assert!(tier.purge(b"old", Version::new(1, 1)).unwrap());
    assert_eq!(tier.get(b"old").unwrap(), None);
}

#[test]
fn a_tier_keeps_within_its_budget_and_the_store_has_everything() {
    let tier = HotTier::over(memory(), 1 << 20).unwrap();
    let value = vec![7; 1000];
    let entries: Vec<Entry> = (0..5000_u32)
        .map(|n| Entry::new(n.to_be_bytes(), Item::value(Version::new(1, 1), value.clone())))
        .collect();
    tier.apply(&entries, Durability::None).unwrap();
    tier.set(b"large", Item::value(Version::new(1, 1), vec![1; ITEM_BYTES_MAX]))
        .unwrap();
    for entry in &entries {
        assert_eq!(tier.get(&entry.key).unwrap().as_ref(), Some(&entry.item));
    }
    assert!(tier.get(b"large").unwrap().is_some());
    let stats = tier.stats().unwrap();
    assert!(stats.tier_hits < 3000, "5 MB don't fit into 1 MB: {stats:?}");
    let used = 1 << 19..(1 << 20) + 5 * super::VOLUME_BYTES;
    assert!(used.contains(&stats.tier_bytes), "{stats:?}");
}

/// Writers count keys up; a reader never sees a count that is lower than one whose write had returned.
#[test]
fn nothing_is_stale_after_a_write_returned_under_load() {
    let tier = HotTier::over(memory(), 1 << 20).unwrap();
    let keys: Vec<[u8; 1]> = (0..4).map(|n| [n]).collect();
    let written: Vec<AtomicU64> = keys.iter().map(|_| AtomicU64::new(0)).collect();
    thread::scope(|scope| {
        for (key, written) in keys.iter().zip(&written) {
            scope.spawn(|| {
                for n in 1..=3000 {
                    tier.set(key, item(n)).unwrap();
                    written.store(n, Ordering::SeqCst);
                }
            });
        }
        for _ in 0..2 {
            scope.spawn(|| {
                for round in 0..12_000 {
                    let at = round % keys.len();
                    let least = written[at].load(Ordering::SeqCst);
                    let found = time(tier.get(&keys[at]).unwrap()).unwrap_or(0);
                    assert!(found >= least, "{found} after {least} was written");
                }
            });
        }
    });
}
