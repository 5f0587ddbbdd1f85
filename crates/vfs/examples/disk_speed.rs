//! What appends, flushes and batches of pages cost on the disk that holds the given directory.
//!
//! `cargo run --release -p weald-vfs --features io_uring --example disk_speed -- DIRECTORY`

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use weald_vfs::{Disk, DiskOptions, File, IoBackend, OpenMode, ReadOp, Vfs, WriteOp};

const PAGE: u64 = 4096;

/// The median of `rounds` runs, and the best.
fn measure(
    name: &str,
    rounds: usize,
    per_round: u32,
    mut work: impl FnMut() -> io::Result<()>,
) -> io::Result<()> {
    let mut times = Vec::new();
    for _ in 0..rounds {
        let begun = Instant::now();
        work()?;
        times.push(begun.elapsed().as_secs_f64() * 1e6 / f64::from(per_round));
    }
    times.sort_by(f64::total_cmp);
    let (median, best) = (times[rounds / 2], times[0]);
    println!("{name:<64} median {median:>10.3} µs  best {best:>10.3} µs");
    Ok(())
}

/// A file of `pages` pages, all written, so many at a time, and flushed.
fn written(disk: &Disk, path: &Path, pages: u64, at_a_time: u64) -> io::Result<Arc<dyn File>> {
    let file = disk.open(path, OpenMode::Create)?;
    file.allocate(0, pages * PAGE)?;
    let bytes = vec![1; (at_a_time * PAGE) as usize];
    (0..pages / at_a_time).try_for_each(|i| file.write_all_at(&bytes, i * at_a_time * PAGE))?;
    file.sync_data()?;
    Ok(file)
}

/// The page cache holds what was written together in folios of that size, and a mapped write makes a whole
/// folio dirty: the file that was written page by page takes more page faults and lighter flushes.
fn appends(dir: &Path) -> io::Result<()> {
    let disk = Disk::new();
    let record = [7; 208];
    let records = 16 * PAGE as u32 / 208;
    for (way, at_a_time) in [("in MiBs", 256), ("in pages", 1)] {
        let file = written(&disk, &dir.join(format!("log {way}")), 1024, at_a_time)?;
        let append_all = || (0..records).try_for_each(|i| file.write_all_at(&record, u64::from(i) * 208));
        measure(
            &format!("append 208 B by pwrite, file written {way}"),
            200,
            records,
            append_all,
        )?;
        file.map_writes(1024 * PAGE)?;
        measure(
            &format!("append 208 B through a mapping, file written {way}"),
            200,
            records,
            append_all,
        )?;
        let mut end = 0;
        measure("  pages never touched before", 50, records, || {
            (0..records).try_for_each(|_| {
                end += 208;
                file.write_all_at(&record, 65 * PAGE + end)
            })
        })?;
        let mut i = 0;
        measure("  mapped write 208 B + fdatasync", 300, 1, || {
            i += 1;
            file.write_all_at(&record, i % 1024 * PAGE)?;
            file.sync_data()
        })?;
    }
    Ok(())
}

fn flushes(dir: &Path) -> io::Result<()> {
    let disk = Disk::new();
    let page = [7; PAGE as usize];
    let file = written(&disk, &dir.join("flush"), 1024, 256)?;
    let mut i = 0;
    measure("pwrite 4 KiB + fdatasync, written before", 300, 1, || {
        i += 1;
        file.write_all_at(&page, i % 1024 * PAGE)?;
        file.sync_data()
    })?;
    let fresh = disk.open(&dir.join("fresh"), OpenMode::Create)?;
    fresh.allocate(0, 1024 * PAGE)?;
    fresh.sync_data()?;
    let mut i = 0;
    measure("pwrite 4 KiB + fdatasync, only allocated before", 300, 1, || {
        i += 1;
        fresh.write_all_at(&page, i * PAGE)?;
        fresh.sync_data()
    })?;
    let other = written(&disk, &dir.join("flush2"), 1024, 256)?;
    for (name, second) in [("one file", &file), ("two files", &other)] {
        let name = format!("two threads, each pwrite 4 KiB + fdatasync, {name}, per pair");
        measure(&name, 10, 50, || {
            std::thread::scope(|scope| {
                let one = scope.spawn(|| overwrite(&*file, 0));
                let two = scope.spawn(|| overwrite(&**second, 512));
                one.join()
                    .and_then(|one| two.join().map(|two| one.and(two)))
                    .unwrap_or_else(|_| panic!("a thread"))
            })
        })?;
    }
    Ok(())
}

fn overwrite(file: &dyn File, first: u64) -> io::Result<()> {
    (0..50).try_for_each(|i| {
        file.write_all_at(&[3; PAGE as usize], (first + i) * PAGE)?;
        file.sync_data()
    })
}

fn batches(dir: &Path) -> io::Result<()> {
    const PAGES: u64 = 16 * 1024;
    for io in [IoBackend::Std, IoBackend::Uring] {
        for direct_writes in [false, true] {
            let disk = Disk::with(DiskOptions { direct_writes, io });
            if disk.backend() != io {
                continue;
            }
            let file = written(&disk, &dir.join("pages"), PAGES, 256)?;
            let way = format!("{}{}", io.name(), if direct_writes { ", O_DIRECT" } else { "" });
            let page = vec![9; PAGE as usize];
            let long = vec![9; 8 << 20];
            for (name, ops) in [
                ("1000 scattered pages", scattered(&page, 16)),
                (
                    "1000 pages in runs of 8",
                    scattered(&long[..8 * PAGE as usize], 128),
                ),
                (
                    "8 MiB in a run",
                    vec![WriteOp {
                        offset: 4096,
                        bytes: &long,
                    }],
                ),
            ] {
                let ops = &ops[..ops.len().min(if name.contains("runs") { 125 } else { 1000 })];
                let mut parts = Vec::new();
                measure(&format!("{name}, {way}: write + flush"), 7, 1, || {
                    let begun = Instant::now();
                    file.write_batch(ops)?;
                    parts.push(begun.elapsed());
                    file.sync_data()
                })?;
                parts.sort();
                println!(
                    "{:<64} median {:>10.2} µs",
                    "  of that the write",
                    parts[3].as_nanos() as f64 / 1000.0
                );
            }
        }
    }
    Ok(())
}

/// Writes of `bytes` at every `every`-th page.
fn scattered(bytes: &[u8], every: u64) -> Vec<WriteOp<'_>> {
    (0..1000)
        .map(|i| WriteOp {
            offset: i * every * PAGE,
            bytes,
        })
        .collect()
}

fn reads(dir: &Path) -> io::Result<()> {
    let mut buffers = vec![vec![0; PAGE as usize]; 256];
    for io in [IoBackend::Std, IoBackend::Uring] {
        let disk = Disk::with(DiskOptions {
            io,
            ..DiskOptions::default()
        });
        if disk.backend() != io {
            continue;
        }
        let path = dir.join("pages");
        let file = written(&disk, &path, 16 * 1024, 256)?;
        for cached in [true, false] {
            let kind = if cached { "cached" } else { "uncached" };
            let mut times = Vec::new();
            for round in 1..=20 {
                if !cached {
                    forget(&path)?;
                }
                let place = |i: usize| ((i as u64 * 61 + round * 7) % (16 * 1024)) * PAGE;
                let with_place = buffers.iter_mut().enumerate();
                let mut ops: Vec<_> = with_place
                    .map(|(i, bytes)| ReadOp {
                        offset: place(i),
                        bytes,
                    })
                    .collect();
                let begun = Instant::now();
                file.read_batch(&mut ops)?;
                times.push(begun.elapsed().as_secs_f64() * 1e6);
            }
            times.sort_by(f64::total_cmp);
            let name = format!("read of 256 scattered {kind} pages, {}", io.name());
            println!(
                "{name:<64} median {:>10.3} µs  best {:>10.3} µs",
                times[10], times[0]
            );
        }
    }
    Ok(())
}

/// Drops what of the file is in the page cache.
fn forget(path: &Path) -> io::Result<()> {
    use std::os::fd::AsRawFd;

    let file = std::fs::File::open(path)?;
    // SAFETY: the calls touch no memory of ours.
    let done = unsafe {
        libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED);
        libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_RANDOM)
    };
    if done == 0 {
        Ok(())
    } else {
        Err(io::Error::from_raw_os_error(done))
    }
}

fn main() -> io::Result<()> {
    let dir = std::env::args_os()
        .nth(1)
        .map_or_else(std::env::temp_dir, PathBuf::from)
        .join("weald-disk-speed");
    std::fs::create_dir_all(&dir)?;
    appends(&dir)?;
    flushes(&dir)?;
    batches(&dir)?;
    reads(&dir)?;
    std::fs::remove_dir_all(&dir)
}
