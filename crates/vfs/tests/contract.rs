//! What every file system promises, checked on each of them.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use weald_vfs::{
    Disk, DiskOptions, File, IoBackend, LockHeld, Memory, OpenMode, ReadOp, SimDisk, SimOptions, Vfs, WriteOp,
};

/// Runs `check` on an empty directory of each kind of file system.
fn everywhere(check: impl Fn(&dyn Vfs, &Path)) {
    for options in all_options() {
        let dir = tempfile::tempdir().unwrap();
        check(&Disk::with(options), dir.path());
    }
    let memory = Memory::new();
    memory.create_dir(Path::new("/db")).unwrap();
    check(&memory, Path::new("/db"));
    let disk = SimDisk::new(1, SimOptions::default());
    disk.create_dir(Path::new("/db")).unwrap();
    check(&disk, Path::new("/db"));
}

/// Every way to use the disk; what this build or machine lacks falls back to another.
fn all_options() -> impl Iterator<Item = DiskOptions> {
    let backends = [IoBackend::Std, IoBackend::Uring, IoBackend::Auto];
    backends
        .into_iter()
        .flat_map(|io| [false, true].map(|direct_writes| DiskOptions { direct_writes, io }))
}

fn read(file: &dyn File, offset: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0xee; len];
    file.read_exact_at(&mut bytes, offset).unwrap();
    bytes
}

#[test]
fn bytes_written_are_read_and_gaps_are_zeros() {
    everywhere(|vfs, dir| {
        let file = vfs.open(&dir.join("f"), OpenMode::CreateNew).unwrap();
        assert!(file.is_empty().unwrap());
        file.write_all_at(b"end", 100_000).unwrap();
        file.write_all_at(b"begin", 0).unwrap();
        file.write_all_at(b"middle", 16382).unwrap();
        assert_eq!(file.len().unwrap(), 100_003);
        assert_eq!(read(&*file, 0, 6), b"begin\0");
        assert_eq!(read(&*file, 16380, 10), b"\0\0middle\0\0");
        assert_eq!(read(&*file, 99_999, 4), b"\0end");
        let mut buf = [0; 10];
        assert_eq!(file.read_at(&mut buf, 100_000).unwrap(), 3);
        assert_eq!(file.read_at(&mut buf, 100_003).unwrap(), 0);
        assert_eq!(file.read_at(&mut buf, u64::MAX / 4).unwrap(), 0);
        let error = file.read_exact_at(&mut buf, 100_000).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    });
}

#[test]
fn a_file_cut_and_extended_shows_zeros() {
    everywhere(|vfs, dir| {
        let file = vfs.open(&dir.join("f"), OpenMode::Create).unwrap();
        file.write_all_at(&[7; 40_000], 0).unwrap();
        file.set_len(20_001).unwrap();
        file.set_len(40_000).unwrap();
        let bytes = read(&*file, 0, 40_000);
        assert!(bytes[..20_001].iter().all(|&b| b == 7));
        assert!(bytes[20_001..].iter().all(|&b| b == 0));
        file.set_len(0).unwrap();
        assert_eq!(file.len().unwrap(), 0);
    });
}

#[test]
fn a_hole_is_zeros_and_leaves_the_length() {
    everywhere(|vfs, dir| {
        let file = vfs.open(&dir.join("f"), OpenMode::Create).unwrap();
        file.write_all_at(&[7; 100_000], 0).unwrap();
        file.punch_hole(10_000, 50_000).unwrap();
        let bytes = read(&*file, 0, 100_000);
        assert!(bytes[..10_000].iter().all(|&b| b == 7));
        assert!(bytes[10_000..60_000].iter().all(|&b| b == 0));
        assert!(bytes[60_000..].iter().all(|&b| b == 7));
        file.punch_hole(0, 0).unwrap();
        file.punch_hole(90_000, 1 << 30).unwrap();
        assert_eq!(file.len().unwrap(), 100_000);
        assert_eq!(read(&*file, 89_999, 3), [7, 0, 0]);
    });
}

#[test]
fn allocation_extends_and_keeps_what_is_there() {
    everywhere(|vfs, dir| {
        let file = vfs.open(&dir.join("f"), OpenMode::Create).unwrap();
        file.write_all_at(&[7; 1000], 0).unwrap();
        file.allocate(500, 99_500).unwrap();
        assert_eq!(file.len().unwrap(), 100_000);
        file.allocate(0, 10).unwrap();
        file.allocate(1 << 40, 0).unwrap();
        assert_eq!(file.len().unwrap(), 100_000);
        assert_eq!(read(&*file, 999, 2), [7, 0]);
        assert!(file.allocate(u64::MAX, 2).is_err());
    });
}

#[test]
fn a_batch_writes_everything_whatever_its_order() {
    everywhere(|vfs, dir| {
        let file = vfs.open(&dir.join("f"), OpenMode::Create).unwrap();
        // Odd sizes, runs and gaps, more adjacent pieces than one system call takes.
        let pieces: Vec<(u64, Vec<u8>)> = (0..3000u64)
            .map(|i| {
                let offset = i * 700 + if i >= 2500 { 5000 } else { 0 };
                (offset, vec![i as u8 | 1; if i % 17 == 3 { 400 } else { 700 }])
            })
            .collect();
        let mut ops: Vec<_> = pieces
            .iter()
            .map(|(offset, bytes)| WriteOp {
                offset: *offset,
                bytes,
            })
            .collect();
        ops.reverse();
        ops.swap(7, 2000);
        ops.push(WriteOp {
            offset: 3,
            bytes: b"",
        });
        file.write_batch(&ops).unwrap();
        for (offset, bytes) in &pieces {
            assert_eq!(&read(&*file, *offset, bytes.len()), bytes, "at {offset}");
        }
        file.write_batch(&[]).unwrap();
    });
}

#[test]
fn names_are_opened_as_asked() {
    everywhere(|vfs, dir| {
        let path = dir.join("f");
        assert_eq!(
            vfs.open(&path, OpenMode::Read).unwrap_err().kind(),
            ErrorKind::NotFound
        );
        assert_eq!(
            vfs.open(&path, OpenMode::Write).unwrap_err().kind(),
            ErrorKind::NotFound
        );
        assert!(!vfs.exists(&path).unwrap());
        vfs.open(&path, OpenMode::Create)
            .unwrap()
            .write_all_at(b"x", 0)
            .unwrap();
        assert!(vfs.exists(&path).unwrap());
        assert_eq!(
            vfs.open(&path, OpenMode::CreateNew).unwrap_err().kind(),
            ErrorKind::AlreadyExists
        );
        assert_eq!(vfs.open(&path, OpenMode::Create).unwrap().len().unwrap(), 1);
        let readable = vfs.open(&path, OpenMode::Read).unwrap();
        assert!(readable.write_at(b"y", 0).is_err());
        assert!(readable.set_len(0).is_err());
        assert_eq!(read(&*readable, 0, 1), b"x");
        assert_eq!(
            vfs.open(&dir.join("no/f"), OpenMode::Create).unwrap_err().kind(),
            ErrorKind::NotFound
        );
        assert_eq!(
            vfs.open(&path.join("f"), OpenMode::Create).unwrap_err().kind(),
            ErrorKind::NotADirectory
        );
    });
}

#[test]
fn removed_and_replaced_files_live_on_for_those_who_have_them_open() {
    everywhere(|vfs, dir| {
        let (a, b) = (dir.join("a"), dir.join("b"));
        let old = vfs.open(&a, OpenMode::Create).unwrap();
        old.write_all_at(b"old", 0).unwrap();
        vfs.remove(&a).unwrap();
        assert_eq!(vfs.remove(&a).unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(read(&*old, 0, 3), b"old");

        vfs.open(&a, OpenMode::Create)
            .unwrap()
            .write_all_at(b"new", 0)
            .unwrap();
        let target = vfs.open(&b, OpenMode::Create).unwrap();
        target.write_all_at(b"replaced", 0).unwrap();
        vfs.rename(&a, &b).unwrap();
        assert!(!vfs.exists(&a).unwrap());
        assert_eq!(read(&*vfs.open(&b, OpenMode::Read).unwrap(), 0, 3), b"new");
        assert_eq!(read(&*target, 0, 8), b"replaced");
        assert_eq!(vfs.rename(&a, &b).unwrap_err().kind(), ErrorKind::NotFound);
        vfs.rename(&b, &b).unwrap();
        assert!(vfs.exists(&b).unwrap());
    });
}

#[test]
fn directories_hold_files() {
    everywhere(|vfs, dir| {
        let sub = dir.join("sub");
        vfs.create_dir(&sub).unwrap();
        vfs.create_dir(&sub).unwrap();
        for name in ["b", "a", "c"] {
            vfs.open(&sub.join(name), OpenMode::Create).unwrap();
        }
        vfs.open(&dir.join("z"), OpenMode::Create).unwrap();
        assert_eq!(
            vfs.list(&sub).unwrap(),
            [sub.join("a"), sub.join("b"), sub.join("c")]
        );
        assert_eq!(vfs.list(dir).unwrap(), [dir.join("z")]);
        assert_eq!(
            vfs.remove_dir(&sub).unwrap_err().kind(),
            ErrorKind::DirectoryNotEmpty
        );
        for name in ["b", "a", "c"] {
            vfs.remove(&sub.join(name)).unwrap();
        }
        vfs.sync_dir(&sub).unwrap();
        vfs.remove_dir(&sub).unwrap();
        vfs.sync_dir(dir).unwrap();
        assert_eq!(vfs.list(&sub).unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(vfs.sync_dir(&sub).unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(vfs.remove_dir(&sub).unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(
            vfs.create_dir(&sub.join("deep")).unwrap_err().kind(),
            ErrorKind::NotFound
        );
        assert_eq!(
            vfs.create_dir(&dir.join("z")).unwrap_err().kind(),
            ErrorKind::AlreadyExists
        );
    });
}

fn holder(refused: std::io::Result<Box<dyn Send + Sync>>) -> Option<u32> {
    let error = refused.err().expect("refused");
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    error.get_ref().unwrap().downcast_ref::<LockHeld>().unwrap().pid
}

#[test]
fn locks_shut_each_other_out_and_name_the_holder() {
    everywhere(|vfs, dir| {
        let path = dir.join("lock");
        let mine = Some(std::process::id());
        let exclusive = vfs.lock(&path, true).unwrap();
        assert_eq!(holder(vfs.lock(&path, true)), mine);
        assert_eq!(holder(vfs.lock(&path, false)), mine);
        drop(exclusive);
        let first = vfs.lock(&path, false).unwrap();
        let second = vfs.lock(&path, false).unwrap();
        assert_eq!(holder(vfs.lock(&path, true)), None);
        drop(first);
        assert_eq!(holder(vfs.lock(&path, true)), None);
        drop(second);
        drop(vfs.lock(&path, true).unwrap());
    });
}

#[test]
fn mapped_writes_are_writes() {
    everywhere(|vfs, dir| {
        let path = dir.join("log");
        let file = vfs.open(&path, OpenMode::Create).unwrap();
        file.write_all_at(&[0; 10_000], 0).unwrap();
        assert_eq!(
            file.map_writes(10_001).unwrap_err().kind(),
            ErrorKind::InvalidInput
        );
        file.map_writes(10_000).unwrap();
        file.write_all_at(b"inside", 5000).unwrap();
        file.write_all_at(b"across", 9_997).unwrap();
        file.write_all_at(b"beyond", 20_000).unwrap();
        file.sync_data().unwrap();
        let again = vfs.open(&path, OpenMode::Read).unwrap();
        for file in [&file, &again] {
            assert_eq!(read(&**file, 4999, 8), b"\0inside\0");
            assert_eq!(read(&**file, 9_997, 6), b"across");
            assert_eq!(read(&**file, 20_000, 6), b"beyond");
        }
        // A file that is cut is no longer written through a mapping that reaches beyond its end.
        file.set_len(100).unwrap();
        file.write_all_at(b"after", 5000).unwrap();
        assert_eq!(read(&*again, 4999, 6), b"\0after");
        file.map_writes(0).unwrap();
        file.write_all_at(b"plain", 0).unwrap();
        assert_eq!(read(&*again, 0, 5), b"plain");
    });
}

#[test]
fn many_threads_write_their_own_parts() {
    everywhere(|vfs, dir| {
        let file: Arc<dyn File> = vfs.open(&dir.join("f"), OpenMode::Create).unwrap();
        std::thread::scope(|scope| {
            for t in 0..4u64 {
                let file = &file;
                scope.spawn(move || {
                    for i in 0..200 {
                        file.write_all_at(&[t as u8 + 1; 100], (i * 4 + t) * 100).unwrap();
                    }
                });
            }
        });
        let bytes = read(&*file, 0, 80_000);
        assert!(
            bytes
                .chunks(100)
                .enumerate()
                .all(|(i, part)| part.iter().all(|&b| b == (i % 4) as u8 + 1))
        );
    });
}

#[test]
fn a_mapping_that_does_not_fit_is_none_and_reading_goes_on() {
    everywhere(|vfs, dir| {
        let file = vfs.open(&dir.join("f"), OpenMode::Create).unwrap();
        file.write_all_at(b"here", 0).unwrap();
        assert!(file.map(1 << 60).unwrap().is_none());
        assert!(file.map(u64::MAX).unwrap().is_none());
        assert_eq!(read(&*file, 0, 4), b"here");
    });
}

#[test]
fn a_mapping_shows_what_the_file_grows_into() {
    let dir = tempfile::tempdir().unwrap();
    let file = Disk::new().open(&dir.path().join("f"), OpenMode::Create).unwrap();
    let mapping = file.map(1 << 32).unwrap().unwrap();
    assert_eq!(mapping.capacity(), 1 << 32);
    file.write_all_at(b"grown", 1 << 20).unwrap();
    // SAFETY: the bytes are there and nobody changes them.
    assert_eq!(unsafe { mapping.slice(1 << 20, 5) }, Some(&b"grown"[..]));
    // SAFETY: none of these lie in the mapping, so there is nothing to lend.
    unsafe {
        assert!(mapping.slice((1 << 32) - 1, 2).is_none());
        assert!(mapping.slice(u64::MAX, 2).is_none());
        assert!(mapping.slice(2, usize::MAX).is_none());
    }
    assert!(!mapping.faulted());
}

#[test]
fn a_batch_of_reads_fills_every_buffer() {
    everywhere(|vfs, dir| {
        let file = vfs.open(&dir.join("f"), OpenMode::Create).unwrap();
        let bytes: Vec<u8> = (0..500_000).map(|i| (i % 251) as u8).collect();
        file.write_all_at(&bytes, 0).unwrap();
        let mut read = vec![0; bytes.len()];
        let mut offset = 0;
        let mut ops: Vec<_> = read
            .chunks_mut(3333)
            .map(|part| {
                let op = ReadOp { offset, bytes: part };
                offset += 3333;
                op
            })
            .collect();
        ops.reverse();
        ops.push(ReadOp {
            offset: 1 << 40,
            bytes: &mut [],
        });
        file.read_batch(&mut ops).unwrap();
        assert!(read == bytes);
        file.read_batch(&mut []).unwrap();
        let (mut one, mut two) = ([0; 10], [0; 10]);
        let mut beyond = [
            ReadOp {
                offset: 0,
                bytes: &mut one,
            },
            ReadOp {
                offset: 499_995,
                bytes: &mut two,
            },
        ];
        assert_eq!(
            file.read_batch(&mut beyond).unwrap_err().kind(),
            ErrorKind::UnexpectedEof
        );
    });
}

#[test]
fn writes_beyond_what_a_file_can_be_are_refused() {
    everywhere(|vfs, dir| {
        let file = vfs.open(&dir.join("f"), OpenMode::Create).unwrap();
        for offset in [u64::MAX, u64::MAX - 4095, i64::MAX as u64 - 1] {
            assert!(
                file.write_batch(&[WriteOp {
                    offset,
                    bytes: &[1; 4096]
                }])
                .is_err()
            );
            assert!(file.write_at(&[1; 4096], offset).is_err());
        }
        assert_eq!(file.len().unwrap(), 0);
    });
}

/// Batches of any shape, written directly where possible, are seen through a mapping that had the old bytes.
#[test]
fn batches_show_in_a_mapping() {
    let mut random = 7u64;
    let mut below = move |bound: u64| {
        random = random
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (random >> 33) % bound
    };
    for options in all_options() {
        let dir = tempfile::tempdir().unwrap();
        let file = Disk::with(options)
            .open(&dir.path().join("f"), OpenMode::Create)
            .unwrap();
        let mapping = file.map(8 << 20).unwrap().unwrap();
        let mut model: Vec<u8> = Vec::new();
        for round in 0..12u8 {
            let mut writes = Vec::new();
            let mut at = below(10_000);
            for _ in 0..below(30) {
                let len = [1, 511, 4096, 8192, 300_000][below(5) as usize];
                writes.push((at, vec![round.wrapping_mul(31) | 1; len]));
                at += len as u64 + [0, 0, 1, 4096][below(4) as usize];
                at = if below(4) == 0 {
                    at.next_multiple_of(4096)
                } else {
                    at
                };
                if at > 6 << 20 {
                    break;
                }
            }
            let ops: Vec<_> = writes
                .iter()
                .map(|(offset, bytes)| WriteOp {
                    offset: *offset,
                    bytes,
                })
                .collect();
            file.write_batch(&ops).unwrap();
            for op in &ops {
                let end = op.offset as usize + op.bytes.len();
                model.resize(model.len().max(end), 0);
                model[op.offset as usize..end].copy_from_slice(op.bytes);
            }
            assert_eq!(file.len().unwrap(), model.len() as u64);
            // SAFETY: the file has these bytes, and nobody changes them while the slice lives.
            let mapped = unsafe { mapping.slice(0, model.len()) }.unwrap();
            assert!(mapped == model, "{options:?}, round {round}");
            file.sync_data().unwrap();
        }
        assert!(read(&*file, 0, model.len()) == model);
        assert!(!mapping.faulted());
    }
}
