//! CPU time of the hot layer's operations on this machine, nanoseconds each, best of three.
//!
//! `cargo run --release -p weald-hot --example figures [keys of the large map, default 4000000]`

use weald_hot::{Error, PageSize, Region, RegionOptions, Session};

type Result<T> = std::result::Result<T, Error>;

/// CPU time of this process so far, in nanoseconds: other programs don't count.
fn cpu_time() -> f64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the structure outlives the call.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}

fn best(mut run: impl FnMut() -> Result<u64>) -> Result<f64> {
    let mut best = f64::MAX;
    for _ in 0..3 {
        let start = cpu_time();
        let operations = run()?;
        best = best.min((cpu_time() - start) / operations as f64);
    }
    Ok(best)
}

fn key(n: u64) -> [u8; 32] {
    let mut key = [0; 32];
    for (at, part) in key.chunks_mut(8).enumerate() {
        part.copy_from_slice(
            &n.wrapping_mul(0x9e37_79b9_7f4a_7c15)
                .rotate_left(at as u32 * 13)
                .to_le_bytes(),
        );
    }
    key
}

/// Numbers below `n` in an order that no prefetcher foresees.
fn scattered(n: u64) -> impl Iterator<Item = u64> {
    let mut state = 1u64;
    (0..).map(move |_| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((u128::from(state) * u128::from(n)) >> 64) as u64
    })
}

fn fill(session: &Session, count: u64) -> Result<()> {
    (0..count).try_for_each(|n| session.put(&key(n), &[7; 16]))
}

fn pairs(session: &Session, size: u64) -> Result<f64> {
    best(|| {
        for _ in 0..5_000_000u64 {
            session.free(session.alloc(size, 0, 1)?)?;
        }
        Ok(5_000_000)
    })
}

fn gets(session: &Session, keys: &[[u8; 32]], hit: bool) -> Result<f64> {
    let mut value = Vec::new();
    let rounds = 4_000_000u64.div_ceil(keys.len() as u64);
    best(|| {
        for _ in 0..rounds {
            for key in keys {
                value.clear();
                assert_eq!(session.get_into(key, &mut value)?.is_some(), hit);
            }
        }
        Ok(rounds * keys.len() as u64)
    })
}

fn shared_path(region: &Region) -> Result<f64> {
    let giver = region.join("giver")?;
    let taker = region.join("taker")?;
    best(|| {
        let mut objects = Vec::new();
        for _ in 0..200 {
            for _ in 0..2000 {
                let object = giver.alloc(64, 0, 1)?;
                giver.share(object)?;
                objects.push(object);
            }
            objects.drain(..).try_for_each(|object| taker.free(object))?;
        }
        Ok(400_000)
    })
}

fn two_threads(region: &Region, writes: u64) -> Result<f64> {
    best(|| {
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..2u64)
                .map(|thread| {
                    scope.spawn(move || -> Result<()> {
                        let session = region.join("thread")?;
                        let keys: Vec<_> = scattered(4096)
                            .skip(thread as usize * 99)
                            .take(4096)
                            .map(key)
                            .collect();
                        let mut value = Vec::new();
                        for round in 0..500u64 {
                            for (at, key) in keys.iter().enumerate() {
                                if (at as u64 + round) % 100 < writes {
                                    session.put(key, &[8; 16])?;
                                } else {
                                    value.clear();
                                    session.get_into(key, &mut value)?;
                                }
                            }
                        }
                        Ok(())
                    })
                })
                .collect();
            threads
                .into_iter()
                .try_for_each(|thread| thread.join().expect("no panic"))?;
            Ok(2 * 500 * 4096)
        })
    })
}

fn large(page_size: PageSize, count: u64) -> Result<()> {
    let options = RegionOptions {
        capacity: 4 << 30,
        page_size,
        ..Default::default()
    };
    let region = Region::anonymous(&options)?;
    let session = region.join("figures")?;
    let start = cpu_time();
    fill(&session, count)?;
    println!(
        "{page_size:?}: put of {count} keys into an empty map  {:6.1}",
        (cpu_time() - start) / count as f64
    );
    let keys: Vec<_> = scattered(count).take(1_000_000).map(key).collect();
    let absent: Vec<_> = scattered(count)
        .take(1_000_000)
        .map(|n| key(n + (1 << 40)))
        .collect();
    println!(
        "{page_size:?}: get, {count} keys                      {:6.1}",
        gets(&session, &keys, true)?
    );
    println!(
        "{page_size:?}: miss, {count} keys                     {:6.1}",
        gets(&session, &absent, false)?
    );
    let many = best(|| {
        for chunk in keys.chunks(32) {
            session.get_many(chunk, |_, value| assert!(value.is_some()))?;
        }
        Ok(keys.len() as u64)
    })?;
    println!("{page_size:?}: get_many of 32, {count} keys, per key  {many:6.1}");
    let overwrite = best(|| {
        for key in &keys {
            session.put(key, &[9; 16])?;
        }
        Ok(keys.len() as u64)
    })?;
    println!("{page_size:?}: overwrite, {count} keys                {overwrite:6.1}");
    Ok(())
}

fn main() -> Result<()> {
    let count = std::env::args()
        .nth(1)
        .and_then(|n| n.parse().ok())
        .unwrap_or(4_000_000);
    let region = Region::anonymous(&RegionOptions {
        capacity: 256 << 20,
        ..Default::default()
    })?;
    let session = region.join("figures")?;
    for size in [64, 256, 1024, 4096] {
        println!(
            "alloc and free, {size:4} bytes                {:6.1}",
            pairs(&session, size)?
        );
    }
    println!(
        "alloc and free in another session, 64 bytes {:6.1}",
        shared_path(&region)?
    );
    fill(&session, 4096)?;
    let keys: Vec<_> = scattered(4096).take(4096).map(key).collect();
    let absent: Vec<_> = (0..4096).map(|n| key(n + (1 << 40))).collect();
    println!(
        "get, 4096 keys                              {:6.1}",
        gets(&session, &keys, true)?
    );
    println!(
        "miss, 4096 keys                             {:6.1}",
        gets(&session, &absent, false)?
    );
    println!(
        "two threads, reads only, 4096 keys          {:6.1}",
        two_threads(&region, 0)?
    );
    println!(
        "two threads, 95 % reads, 4096 keys          {:6.1}",
        two_threads(&region, 5)?
    );
    drop(session);
    large(PageSize::Base, count)?;
    large(PageSize::Huge2M, count)
}
