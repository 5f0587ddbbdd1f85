//! A process that reads a region and can't write to it: the parent writes, the child watches.
//!
//! `cargo run -p weald-hot --example reader`

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use weald_hot::{Reader, Region, RegionOptions};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    if let Some(path) = std::env::args().nth(1) {
        return watch(Path::new(&path));
    }
    let path = PathBuf::from(format!(
        "/dev/shm/weald-hot-example-reader-{}",
        std::process::id()
    ));
    let options = RegionOptions {
        capacity: 64 << 20,
        ..Default::default()
    };
    let region = Region::create(&path, &options)?;
    let session = region.join("writer")?;
    session.put(b"temperature", &20i64.to_le_bytes())?;
    let mut child = Command::new(std::env::current_exe()?).arg(&path).spawn()?;
    while child.try_wait()?.is_none() {
        session.fetch_add(b"temperature", 1)?;
    }
    std::fs::remove_file(&path)?;
    Ok(())
}

fn watch(path: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let reader = Reader::open(path)?;
    println!("{} has joined", reader.members()?[0].name);
    let start = Instant::now();
    let (mut reads, mut last) = (0u64, 0);
    while start.elapsed() < Duration::from_millis(300) {
        let value = reader.get(b"temperature")?.ok_or("the key stays")?;
        let now = i64::from_le_bytes(value.as_slice().try_into()?);
        assert!(now >= last, "it only rises");
        (reads, last) = (reads + 1, now);
    }
    println!("{reads} reads, the last of {last}");
    Ok(())
}
