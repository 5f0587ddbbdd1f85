//! A file that is cut under its mapping, in processes of their own: without the guard they die.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;

use weald_vfs::{Disk, File, OpenMode, Vfs};

const PART: &str = "WEALD_SIGBUS_PART";

/// Runs this test binary again so that it plays `part`, and gives the signal it died of.
fn signal_of(part: &str) -> Option<i32> {
    let dir = tempfile::tempdir().unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture"])
        .env(PART, part)
        .env("WEALD_SIGBUS_DIR", dir.path())
        .output()
        .unwrap();
    let ended_well =
        output.status.success() && String::from_utf8_lossy(&output.stdout).contains("part played");
    let signal = output.status.signal();
    assert!(
        ended_well || signal.is_some(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    signal
}

#[test]
fn child() {
    let Ok(part) = std::env::var(PART) else { return };
    let dir = std::env::var("WEALD_SIGBUS_DIR").unwrap();
    let path = Path::new(&dir).join("data");
    let disk = Disk::new();
    let file = disk.open(&path, OpenMode::Create).unwrap();
    file.write_all_at(&[7; 64 << 10], 0).unwrap();
    match part.as_str() {
        "read" => read(&*file),
        "write" => write(&*file),
        "scattered" => scattered(&*file),
        "threads" => threads(&*file),
        "stranger" => stranger(&path, &*file),
        "sent" => send_to_self(&*file),
        other => panic!("no such part: {other}"),
    }
    println!("part played");
}

fn byte(mapping: &weald_vfs::Mapping, offset: u64) -> u8 {
    // SAFETY: nobody changes the file while the slice lives; that it lacks the byte is what is tried here.
    let slice = unsafe { mapping.slice(offset, 1) }.unwrap();
    // SAFETY: a live reference; volatile so that the access happens here and now.
    unsafe { std::ptr::read_volatile(&slice[0]) }
}

fn read(file: &dyn File) {
    let mapping = file.map(1 << 30).unwrap().unwrap();
    let other = file.map(1 << 20).unwrap().unwrap();
    assert_eq!(byte(&mapping, 40_000), 7);
    assert!(!mapping.faulted());
    file.set_len(4096).unwrap();
    assert_eq!(byte(&mapping, 100), 7);
    assert!(!mapping.faulted());
    assert_eq!(byte(&mapping, 40_000), 0);
    assert!(mapping.faulted());
    assert!(!other.faulted());
    for page in 1..5000 {
        assert_eq!(byte(&mapping, page * 4096), 0);
    }
    drop(mapping);
    // A mapping made afterwards, perhaps at the same place, starts without blame.
    let mapping = file.map(1 << 30).unwrap().unwrap();
    assert_eq!(byte(&mapping, 100), 7);
    assert!(!mapping.faulted());
}

/// More pages, none beside another, than a process may have mappings.
fn scattered(file: &dyn File) {
    let mapping = file.map(1 << 30).unwrap().unwrap();
    for i in 8..70_000 {
        assert_eq!(byte(&mapping, i * 2 * 4096), 0);
    }
    assert!(mapping.faulted());
    drop(mapping);
    assert_eq!(byte(&file.map(1 << 20).unwrap().unwrap(), 0), 7);
}

fn write(file: &dyn File) {
    file.map_writes(64 << 10).unwrap();
    file.write_all_at(b"fine", 40_000).unwrap();
    let dir = std::env::var("WEALD_SIGBUS_DIR").unwrap();
    std::fs::File::options()
        .write(true)
        .open(Path::new(&dir).join("data"))
        .unwrap()
        .set_len(4096)
        .unwrap();
    file.write_all_at(b"fine", 0).unwrap();
    let lost = |done: io::Result<()>| assert_eq!(done.unwrap_err().raw_os_error(), Some(libc::EIO));
    lost(file.write_all_at(b"lost", 40_000));
    lost(file.write_all_at(b"lost", 40_000));
    lost(file.sync_data());
    file.map_writes(0).unwrap();
    file.write_all_at(b"back", 40_000).unwrap();
    file.sync_data().unwrap();
}

fn threads(file: &dyn File) {
    let mapping = file.map(1 << 30).unwrap().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for round in 0..2000 {
                    let page = round % 500;
                    if byte(&mapping, page * 4096) != 7 {
                        assert!(mapping.faulted());
                    }
                }
            });
        }
        scope.spawn(|| {
            for _ in 0..500 {
                let fresh = file.map(1 << 20).unwrap().unwrap();
                assert_eq!(byte(&fresh, 0), 7);
                assert!(!fresh.faulted());
            }
        });
    });
    assert!(mapping.faulted());
}

/// A fault in a mapping that isn't ours.
fn stranger(path: &Path, file: &dyn File) {
    use std::os::fd::AsRawFd;

    let _ours = file.map(1 << 20).unwrap().unwrap();
    let raw = std::fs::File::open(path).unwrap();
    file.set_len(0).unwrap();
    // SAFETY: a fresh mapping, read within its bounds; that the file lacks the byte is what is tried here.
    unsafe {
        let start = libc::mmap(
            std::ptr::null_mut(),
            4096,
            libc::PROT_READ,
            libc::MAP_SHARED,
            raw.as_raw_fd(),
            0,
        );
        assert_ne!(start, libc::MAP_FAILED);
        std::ptr::read_volatile(start.cast::<u8>());
    }
}

/// A SIGBUS that is no fault at all. The runtime's own handler, which ours stands before, takes the first one
/// to put the default back; the next one ends the process.
fn send_to_self(file: &dyn File) {
    let _ours = file.map(1 << 20).unwrap().unwrap();
    for _ in 0..2 {
        // SAFETY: no preconditions.
        unsafe { libc::raise(libc::SIGBUS) };
    }
}

#[test]
fn a_reader_sees_zeros_and_a_flag() {
    assert_eq!(signal_of("read"), None);
}

#[test]
fn a_reader_may_miss_any_number_of_pages() {
    assert_eq!(signal_of("scattered"), None);
}

#[test]
fn a_mapped_write_gets_an_error() {
    assert_eq!(signal_of("write"), None);
}

#[test]
fn threads_fault_while_mappings_come_and_go() {
    assert_eq!(signal_of("threads"), None);
}

#[test]
fn a_fault_of_somebody_else_still_ends_the_process() {
    assert_eq!(signal_of("stranger"), Some(libc::SIGBUS));
}

#[test]
fn a_signal_sent_still_ends_the_process() {
    assert_eq!(signal_of("sent"), Some(libc::SIGBUS));
}
