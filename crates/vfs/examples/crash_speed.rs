//! How many states of the simulated disk can be looked at in a second, on one core.
//!
//! `cargo run --release -p weald-vfs --example crash_speed`

use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

use weald_vfs::{OpenMode, SimDisk, SimOptions, Vfs, WriteOp};

fn rate(name: &str, count: u64, mut work: impl FnMut(u64)) {
    let begun = Instant::now();
    (0..count).for_each(&mut work);
    let seconds = begun.elapsed().as_secs_f64();
    println!(
        "{name:<60} {:>9.0} /s  {:>7.0} ns",
        count as f64 / seconds,
        seconds * 1e9 / count as f64
    );
}

fn main() -> std::io::Result<()> {
    let path = Path::new("/log");
    let small = SimDisk::new(1, SimOptions::default());
    let log = small.open(path, OpenMode::Create)?;
    log.write_all_at(&[1; 1000], 0)?;
    log.sync_data()?;
    small.sync_dir(Path::new("/"))?;
    log.write_all_at(&[2; 1000], 1000)?;
    rate("crash of a small log, 3 dirty sectors", 1_000_000, |seed| {
        black_box(small.after_crash(seed));
    });
    rate("  and opening and reading it", 1_000_000, |seed| {
        let found = small.after_crash(seed);
        let mut bytes = [0; 2000];
        let file = found.open(path, OpenMode::Read).expect("a flushed name");
        black_box(file.read_at(&mut bytes, 0).expect("no faults"));
    });

    let big = SimDisk::new(1, SimOptions::default());
    let file = big.open(path, OpenMode::Create)?;
    file.write_all_at(&[1; 16 << 20], 0)?;
    file.sync_data()?;
    big.sync_dir(Path::new("/"))?;
    let page = [2; 4096];
    let ops: Vec<_> = (0..64)
        .map(|i| WriteOp {
            offset: (i * 128) << 10,
            bytes: &page,
        })
        .collect();
    file.write_batch(&ops)?;
    rate("crash of a 16 MiB file, 512 dirty sectors", 10_000, |seed| {
        black_box(big.after_crash(seed));
    });

    let disk = SimDisk::new(1, SimOptions::default());
    let file = disk.open(path, OpenMode::Create)?;
    rate("append of 208 bytes", 1_000_000, |i| {
        file.write_all_at(&page[..208], i * 208).expect("no faults")
    });
    rate("append of 208 bytes and flush", 1_000_000, |i| {
        file.write_all_at(&page[..208], i * 208).expect("no faults");
        file.sync_data().expect("no faults");
    });
    for pages in [256, 16384] {
        pages_of(pages)?;
    }
    Ok(())
}

/// Pages of a file of its own, of that many pages.
fn pages_of(pages: u64) -> std::io::Result<()> {
    let disk = SimDisk::new(1, SimOptions::default());
    let file = disk.open(Path::new("/data"), OpenMode::Create)?;
    let page = [2; 4096];
    (0..pages).try_for_each(|i| file.write_all_at(&page, i * 4096))?;
    println!("in a file of {} MiB:", pages / 256);
    let spread = |i: u64| (i * 7919 % pages) * 4096;
    rate("write of a 4 KiB page", 200_000, |i| {
        file.write_all_at(&page, spread(i)).expect("no faults")
    });
    rate("write of a 4 KiB page, each 64th with a flush", 200_000, |i| {
        file.write_all_at(&page, spread(i)).expect("no faults");
        if i % 64 == 0 {
            file.sync_data().expect("no faults");
        }
    });
    let mut buf = [0; 4096];
    rate("read of a 4 KiB page", 1_000_000, |i| {
        file.read_exact_at(&mut buf, spread(i)).expect("no faults")
    });
    Ok(())
}
