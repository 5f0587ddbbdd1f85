//! Wall time, CPU time, memory and bytes on disk.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{Advice, fadvise};
use rustix::time::{ClockId, clock_gettime};

use crate::engine::Result;

/// Time since a moment: of the wall, and of all threads of this process on a CPU.
pub(crate) struct Clock {
    began: Instant,
    cpu: Duration,
}

/// What a clock showed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lap {
    pub(crate) wall: Duration,
    pub(crate) cpu: Duration,
}

impl Clock {
    pub(crate) fn start() -> Clock {
        Clock {
            cpu: process_cpu(),
            began: Instant::now(),
        }
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    pub(crate) fn lap(&self) -> Lap {
        let wall = self.began.elapsed();
        Lap {
            wall,
            cpu: process_cpu().saturating_sub(self.cpu),
        }
    }
}

fn process_cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Bytes of memory that belong to this process alone: what it has beside the page cache.
pub(crate) fn private_bytes() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    Ok(kilobytes.ok_or("no RssAnon in /proc/self/status")? * 1024)
}

/// Bytes of blocks that the files in `dir` take.
pub(crate) fn disk_bytes(dir: &Path) -> Result<u64> {
    let mut bytes = 0;
    for_each_file(dir, &mut |path| {
        // One that goes while we look takes nothing.
        bytes += fs::metadata(path).map_or(0, |meta| meta.blocks() * 512);
        Ok(())
    })?;
    Ok(bytes)
}

/// Asks the system to forget the pages of the files in `dir`, none of which may be mapped.
pub(crate) fn drop_cached(dir: &Path) -> Result<()> {
    for_each_file(dir, &mut |path| {
        let file = File::open(path)?;
        file.sync_all()?;
        fadvise(&file, 0, None, Advice::DontNeed)?;
        Ok(())
    })
}

fn for_each_file(dir: &Path, see: &mut dyn FnMut(&Path) -> Result<()>) -> Result<()> {
    for entry in fs::read_dir(dir)? {
        let Ok(entry) = entry else { continue };
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => for_each_file(&entry.path(), see)?,
            Ok(kind) if kind.is_file() => see(&entry.path())?,
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disk_bytes_count_blocks_of_all_files_below() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("below")).unwrap();
        let before = disk_bytes(dir.path()).unwrap();
        fs::write(dir.path().join("a"), vec![1; 10_000]).unwrap();
        fs::write(dir.path().join("below/b"), vec![1; 10_000]).unwrap();
        drop_cached(dir.path()).unwrap();
        let bytes = disk_bytes(dir.path()).unwrap() - before;
        assert!((20_000..60_000).contains(&bytes), "{bytes}");
    }

    #[test]
    fn cpu_time_passes_while_working() {
        let clock = Clock::start();
        let mut n = 1u64;
        while clock.elapsed() < Duration::from_millis(20) {
            n = crate::workload::mix(n);
        }
        assert_ne!(n, 0);
        assert!(clock.lap().cpu > Duration::from_micros(100));
        assert!(private_bytes().unwrap() > 0);
    }
}
