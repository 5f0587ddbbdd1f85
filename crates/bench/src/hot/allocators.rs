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
        peers::measure(asked, report, &row, size as usize)?;
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

    pub(super) fn measure(asked: &Asked, report: &mut Report, row: &str, size: usize) -> Result<()> {
        let layout = Layout::from_size_align(size, 16)?;
        report.add(row, "ns", None, "system", pairs(asked, &System, layout)?);
        report.add(
            row,
            "ns",
            None,
            "mimalloc",
            pairs(asked, &mimalloc::MiMalloc, layout)?,
        );
        let jemalloc = pairs(asked, &tikv_jemallocator::Jemalloc, layout)?;
        report.add(row, "ns", None, "jemalloc", jemalloc);
        Ok(())
    }

    fn pairs(asked: &Asked, allocator: &impl GlobalAlloc, layout: Layout) -> Result<f64> {
        asked.least(|| {
            for _ in 0..PAIRS {
                // SAFETY: the layout has a size, and what it gave is freed once, with the same layout.
                unsafe {
                    let object = black_box(allocator.alloc(layout));
                    if !object.is_null() {
                        allocator.dealloc(object, layout);
                    }
                }
            }
            Ok(PAIRS)
        })
    }
}
