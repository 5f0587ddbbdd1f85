//! Two processes that share a cache: this program starts itself again, and both count and look things up in one region.
//!
//! `cargo run -p weald-hot --example two_processes`

use std::path::{Path, PathBuf};
use std::process::Command;

use weald_hot::{Region, RegionOptions};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    if let Some(path) = std::env::args().nth(1) {
        return child(Path::new(&path));
    }
    let path = PathBuf::from(format!("/dev/shm/weald-hot-example-{}", std::process::id()));
    let region = Region::create(
        &path,
        &RegionOptions {
            capacity: 64 << 20,
            ..Default::default()
        },
    )?;
    let session = region.join("parent")?;
    session.put(b"greeting", b"hello from the parent")?;
    let mut child = Command::new(std::env::current_exe()?).arg(&path).spawn()?;
    for _ in 0..100_000 {
        session.fetch_add(b"visits", 1)?;
    }
    child.wait()?;
    let visits = session.get(b"visits")?.unwrap_or_default();
    println!("visits: {}", i64::from_le_bytes(visits.as_slice().try_into()?));
    session.verify()?;
    std::fs::remove_file(&path)?;
    Ok(())
}

fn child(path: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let session = Region::open(path)?.join("child")?;
    let greeting = session.get(b"greeting")?.unwrap_or_default();
    println!("the child reads: {}", String::from_utf8_lossy(&greeting));
    for _ in 0..100_000 {
        session.fetch_add(b"visits", 1)?;
    }
    Ok(())
}
