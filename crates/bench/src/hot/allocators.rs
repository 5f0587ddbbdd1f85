//! Allocators: a pair of calls at a time, and what an object costs all in.

use weald_hot::PageSize;

use super::{Asked, Report, region};
use crate::engine::Result;

const SIZES: [u64; 4] = [64, 256, 1024, 4096];
const PAIRS: u64 = 2_000_000;

pub(super) fn measure(asked: &Asked, report: &mut Report) -> Result<()> {
    let region = region(256 << 20, PageSize::Base)?;
    let session = region.join("bench")?;
    for size in SIZES {
        let row = format!("alloc and free, {size} bytes");
        if !asked.wants(&row) {
            continue;
        }
        let pairs = || {
            for _ in 0..PAIRS {
                session.free(session.alloc(size, 0, 1)?)?;
            }
            Ok(PAIRS)
        };
        report.add(&row, "ns", Some(5.0), "weald", asked.least(pairs)?);
        #[cfg(feature = "hot-peers")]
        peers::measure(asked, report, &row, size as usize, 1)?;
    }
    let row = "two threads, alloc and free, 64 bytes";
    if asked.wants(row) {
        let pairs = || {
            two_threads(|| {
                let session = region.join("thread")?;
                for _ in 0..PAIRS / 2 {
                    session.free(session.alloc(64, 0, 1)?)?;
                }
                Ok(())
            })?;
            Ok(PAIRS)
        };
        report.add(row, "ns", None, "weald", asked.least(pairs)?);
        #[cfg(feature = "hot-peers")]
        peers::measure(asked, report, row, 64, 2)?;
    }
    let row = "alloc here, free in another session";
    if asked.wants(row) {
        let other = region.join("other")?;
        let handed_over = || {
            let mut objects = Vec::new();
            for _ in 0..100 {
                for _ in 0..2000 {
                    let object = session.alloc(64, 0, 1)?;
                    session.share(object)?;
                    objects.push(object);
                }
                for object in objects.drain(..) {
                    other.free(object)?;
                }
            }
            Ok(200_000)
        };
        report.add(row, "ns", Some(27.0), "weald", asked.least(handed_over)?);
    }
    let row = "memory of an object of 64 bytes";
    if asked.wants(row) {
        let count = 500_000;
        let before = region.info()?;
        for _ in 0..count {
            session.share(session.alloc(64, 0, 1)?)?;
        }
        let after = region.info()?;
        let bytes =
            (after.volumes - after.volumes_free - before.volumes + before.volumes_free) * after.volume_size;
        report.add(row, "bytes", Some(96.0), "weald", bytes as f64 / f64::from(count));
    }
    Ok(())
}

/// Lets two threads do the same at the same time.
fn two_threads(work: impl Fn() -> Result<()> + Sync) -> Result<()> {
    let work = || work().map_err(|e| e.to_string());
    std::thread::scope(|scope| {
        let threads = [(), ()].map(|()| scope.spawn(work));
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().map_err(|_| "a thread panicked".to_owned())?)
    })?;
    Ok(())
}

#[cfg(feature = "hot-peers")]
mod peers {
    #![expect(
        unsafe_code,
        reason = "an allocator that is not the program's own can only be called so"
    )]

    use std::alloc::{GlobalAlloc, Layout, System};
    use std::hint::black_box;

    use super::{Asked, PAIRS, Report};
    use crate::engine::Result;

    /// One thread's pairs of calls, or those of two threads at a time.
    pub(super) fn measure(
        asked: &Asked,
        report: &mut Report,
        row: &str,
        size: usize,
        threads: u64,
    ) -> Result<()> {
        let layout = Layout::from_size_align(size, 16)?;
        let (system, mimalloc, jemalloc) = (System, mimalloc::MiMalloc, tikv_jemallocator::Jemalloc);
        let figure = asked.least(|| all_pairs(&system, layout, threads))?;
        report.add(row, "ns", None, "system", figure);
        let figure = asked.least(|| all_pairs(&mimalloc, layout, threads))?;
        report.add(row, "ns", None, "mimalloc", figure);
        let figure = asked.least(|| all_pairs(&jemalloc, layout, threads))?;
        report.add(row, "ns", None, "jemalloc", figure);
        Ok(())
    }

    fn all_pairs(allocator: &(impl GlobalAlloc + Sync), layout: Layout, threads: u64) -> Result<u64> {
        if threads == 1 {
            pairs(allocator, layout, PAIRS);
        } else {
            super::two_threads(|| {
                pairs(allocator, layout, PAIRS / 2);
                Ok(())
            })?;
        }
        Ok(PAIRS)
    }

    fn pairs(allocator: &impl GlobalAlloc, layout: Layout, pairs: u64) {
        for _ in 0..pairs {
            // SAFETY: the layout has a size, and what it gave is freed once, with the same layout.
            unsafe {
                let object = black_box(allocator.alloc(layout));
                if !object.is_null() {
                    allocator.dealloc(object, layout);
                }
            }
        }
    }
}
