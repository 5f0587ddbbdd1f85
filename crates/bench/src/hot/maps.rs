//! Maps behind one interface, so coarse that going through it costs nothing.

use std::cell::RefCell;

use weald_hot::{PageSize, Session};

use super::region;
use crate::engine::Result;

pub(crate) type Key = [u8; 32];
type Value = [u8; 16];

/// The maps that were built in.
pub(crate) const NAMES: &[&str] = &[
    "weald",
    #[cfg(feature = "hot-peers")]
    "dashmap",
    #[cfg(feature = "hot-peers")]
    "papaya",
    #[cfg(feature = "hot-peers")]
    "scc",
];

pub(crate) fn key(n: u64) -> Key {
    let mut key = [0; 32];
    for (at, part) in key.chunks_mut(8).enumerate() {
        let mixed = n.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(at as u32 * 13);
        part.copy_from_slice(&mixed.to_le_bytes());
    }
    key
}

fn value(n: u64) -> Value {
    [n as u8; 16]
}

pub(crate) trait MapUnderTest {
    /// Gives the first `count` keys values.
    fn fill(&self, count: u64) -> Result<()>;

    /// Looks all keys up and copies their values.
    fn get_all(&self, keys: &[Key], found: bool) -> Result<()>;

    /// Lets two threads go over the keys `rounds` times, and write every so many hundredth time. Returns the number of operations of both.
    fn two_threads(&self, keys: &[Key], rounds: u64, writes_in_hundred: u64) -> Result<u64>;

    /// The session, where it is Weald's.
    fn as_weald(&self) -> Option<&Session> {
        None
    }

    /// The size of the pages under it.
    fn pages(&self) -> u64 {
        4096
    }
}

pub(crate) fn make(name: &str, keys: u64, page_size: PageSize) -> Result<Box<dyn MapUnderTest>> {
    Ok(match name {
        #[cfg(feature = "hot-peers")]
        "dashmap" => Box::new(dashmap::DashMap::<Key, Value>::new()),
        #[cfg(feature = "hot-peers")]
        "papaya" => Box::new(papaya::HashMap::<Key, Value>::new()),
        #[cfg(feature = "hot-peers")]
        "scc" => Box::new(scc::HashIndex::<Key, Value>::new()),
        _ => {
            let region = region((keys * 400).max(64 << 20), page_size)?;
            let session = region.join("bench")?;
            Box::new(Weald { region, session })
        }
    })
}

/// Goes over the keys from two places, and calls `get` or `put`, in two threads that each have a `join`.
fn race<S>(
    keys: &[Key],
    rounds: u64,
    writes_in_hundred: u64,
    join: impl Fn() -> Result<S> + Sync,
    get: impl Fn(&S, &Key) -> Result<()> + Sync,
    put: impl Fn(&S, &Key) -> Result<()> + Sync,
) -> Result<u64> {
    let work = |thread: usize| -> std::result::Result<(), String> {
        let session = join().map_err(|e| e.to_string())?;
        for round in 0..rounds {
            for at in 0..keys.len() {
                let key = &keys[(at + thread * keys.len() / 2) % keys.len()];
                let done = if (at as u64 + round) % 100 < writes_in_hundred {
                    put(&session, key)
                } else {
                    get(&session, key)
                };
                done.map_err(|e| e.to_string())?;
            }
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let work = &work;
        let threads = [0, 1].map(|thread| scope.spawn(move || work(thread)));
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().map_err(|_| "a thread panicked".to_owned())?)
    })?;
    Ok(2 * rounds * keys.len() as u64)
}

fn expect(is_right: bool) -> Result<()> {
    if is_right {
        Ok(())
    } else {
        Err("a look-up gave the wrong answer".into())
    }
}

struct Weald {
    region: weald_hot::Region,
    session: Session,
}

impl MapUnderTest for Weald {
    fn fill(&self, count: u64) -> Result<()> {
        (0..count).try_for_each(|n| Ok(self.session.put(&key(n), &value(n))?))
    }

    fn get_all(&self, keys: &[Key], found: bool) -> Result<()> {
        let mut value = Vec::new();
        for key in keys {
            value.clear();
            expect(self.session.get_into(key, &mut value)?.is_some() == found)?;
        }
        Ok(())
    }

    fn two_threads(&self, keys: &[Key], rounds: u64, writes: u64) -> Result<u64> {
        let region = &self.region;
        let join = || Ok((region.join("thread")?, RefCell::new(Vec::new())));
        let get = |(session, buffer): &(Session, RefCell<Vec<u8>>), key: &Key| {
            let mut buffer = buffer.borrow_mut();
            buffer.clear();
            expect(session.get_into(key, &mut buffer)?.is_some())
        };
        let put = |(session, _): &(Session, RefCell<Vec<u8>>), key: &Key| Ok(session.put(key, &value(7))?);
        race(keys, rounds, writes, join, get, put)
    }

    fn as_weald(&self) -> Option<&Session> {
        Some(&self.session)
    }

    fn pages(&self) -> u64 {
        self.region.info().map_or(0, |info| info.page_size)
    }
}

#[cfg(feature = "hot-peers")]
mod peers {
    use super::{Key, MapUnderTest, Value, expect, key, race, value};
    use crate::engine::Result;

    impl MapUnderTest for dashmap::DashMap<Key, Value> {
        fn fill(&self, count: u64) -> Result<()> {
            for n in 0..count {
                self.insert(key(n), value(n));
            }
            Ok(())
        }

        fn get_all(&self, keys: &[Key], found: bool) -> Result<()> {
            keys.iter().try_for_each(|key| {
                expect(std::hint::black_box(self.get(key).map(|v| *v)).is_some() == found)
            })
        }

        fn two_threads(&self, keys: &[Key], rounds: u64, writes: u64) -> Result<u64> {
            let get = |(): &(), key: &Key| expect(std::hint::black_box(self.get(key).map(|v| *v)).is_some());
            let put = |(): &(), key: &Key| {
                self.insert(*key, value(7));
                Ok(())
            };
            race(keys, rounds, writes, || Ok(()), get, put)
        }
    }

    impl MapUnderTest for papaya::HashMap<Key, Value> {
        fn fill(&self, count: u64) -> Result<()> {
            let map = self.pin();
            for n in 0..count {
                map.insert(key(n), value(n));
            }
            Ok(())
        }

        fn get_all(&self, keys: &[Key], found: bool) -> Result<()> {
            keys.iter().try_for_each(|key| {
                expect(std::hint::black_box(self.pin().get(key).copied()).is_some() == found)
            })
        }

        fn two_threads(&self, keys: &[Key], rounds: u64, writes: u64) -> Result<u64> {
            let get =
                |(): &(), key: &Key| expect(std::hint::black_box(self.pin().get(key).copied()).is_some());
            let put = |(): &(), key: &Key| {
                self.pin().insert(*key, value(7));
                Ok(())
            };
            race(keys, rounds, writes, || Ok(()), get, put)
        }
    }

    impl MapUnderTest for scc::HashIndex<Key, Value> {
        fn fill(&self, count: u64) -> Result<()> {
            (0..count).try_for_each(|n| expect(self.insert_sync(key(n), value(n)).is_ok()))
        }

        fn get_all(&self, keys: &[Key], found: bool) -> Result<()> {
            keys.iter().try_for_each(|key| {
                expect(std::hint::black_box(self.peek_with(key, |_, v| *v)).is_some() == found)
            })
        }

        fn two_threads(&self, keys: &[Key], rounds: u64, writes: u64) -> Result<u64> {
            // An update removes and inserts, so a key may be absent for a moment.
            let get = |(): &(), key: &Key| {
                std::hint::black_box(self.peek_with(key, |_, v| *v));
                Ok(())
            };
            let put = |(): &(), key: &Key| {
                if let Some(mut entry) = self.get_sync(key) {
                    entry.update(value(7));
                }
                Ok(())
            };
            race(keys, rounds, writes, || Ok(()), get, put)
        }
    }
}
