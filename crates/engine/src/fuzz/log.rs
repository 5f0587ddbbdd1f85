//! Logs with changed bytes.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use weald_vfs::{Memory, OpenMode, Vfs};

use super::Input;
use crate::error::Result;
use crate::ids::{Lsn, PageId, PagePtr, TreeId, TxId};
use crate::op::{Entry, LargeRef, Op, Value};
use crate::wal::{BatchEncoder, Record, Wal, WalConfig, Way};

const DATABASE: u128 = 7;
const DIR: &str = "/db-wal";
const CONFIG: WalConfig = WalConfig {
    segment_bytes: 16 << 10,
    step_bytes: 4 << 10,
    spares: 1,
    salt_seed: 3,
};

/// Changes bytes of a log, opens it, and opens what recovery left.
pub fn log(data: &[u8]) {
    let vfs: Arc<dyn Vfs> = Arc::new(Memory::new());
    let mut files: Vec<(PathBuf, Vec<u8>)> = template().clone();
    let mut input = Input(data);
    let read_only = input.byte() % 4 == 0;
    while !input.is_empty() {
        let chosen = usize::from(input.byte()) % files.len();
        match input.byte() {
            255 => files[chosen].1.truncate(input.short()),
            254 => files[chosen].1.clear(),
            _ => input.patch(&mut files[chosen].1),
        }
    }
    vfs.create_dir(Path::new(DIR)).expect("memory takes it");
    for (path, bytes) in &files {
        let file = vfs.open(path, OpenMode::Create).expect("memory takes it");
        file.write_all_at(bytes, 0).expect("memory takes it");
    }
    let Ok(first) = open(&vfs, read_only) else { return };
    let second = open(&vfs, read_only).expect("what could be opened can be opened again");
    assert_eq!(first, second, "recovery changed what the log says");
}

/// The commits of the log.
fn open(vfs: &Arc<dyn Vfs>, read_only: bool) -> Result<Vec<(u64, usize)>> {
    let mut commits = Vec::new();
    Wal::open(
        Arc::clone(vfs),
        Path::new(DIR),
        CONFIG,
        DATABASE,
        Lsn(0),
        read_only,
        &mut |record| {
            if let Record::Commit { txid, batch, .. } = record {
                let mut ops = 0;
                for op in batch.ops() {
                    op?;
                    ops += 1;
                }
                commits.push((txid.0, ops));
            }
            Ok(())
        },
    )?;
    Ok(commits)
}

/// The files of a sound log of several segments.
fn template() -> &'static Vec<(PathBuf, Vec<u8>)> {
    static TEMPLATE: OnceLock<Vec<(PathBuf, Vec<u8>)>> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let vfs: Arc<dyn Vfs> = Arc::new(Memory::new());
        let log = Wal::open(
            Arc::clone(&vfs),
            Path::new(DIR),
            CONFIG,
            DATABASE,
            Lsn(0),
            false,
            &mut |_| Ok(()),
        )
        .expect("memory does not fail");
        for txid in 1..12 {
            let mut encoder = BatchEncoder::new();
            ops(txid, &mut encoder);
            let mut batch = encoder.finish().expect("it is small");
            let end = log
                .append(TxId(txid), &mut batch, Way::Call)
                .expect("memory does not fail");
            if txid % 3 == 0 {
                log.flush(end).expect("memory does not fail");
            }
        }
        let paths = vfs.list(Path::new(DIR)).expect("memory does not fail");
        let read = |path: PathBuf| {
            let file = vfs.open(&path, OpenMode::Read).expect("it is there");
            let mut bytes = vec![0; file.len().expect("memory does not fail") as usize];
            file.read_exact_at(&mut bytes, 0).expect("memory does not fail");
            (path, bytes)
        };
        paths.into_iter().map(read).collect()
    })
}

fn ops(txid: u64, encoder: &mut BatchEncoder) {
    let tree = TreeId(txid % 3 * 16);
    let value = vec![txid as u8; 3000];
    let inline = Entry {
        value: Value::Inline(&value),
        expires: (txid % 2 == 0).then_some(txid),
    };
    let large = LargeRef {
        first: PagePtr::new(PageId(5), TxId(1)),
        len: 1 << 20,
        checksum: txid,
    };
    let large = Entry {
        value: Value::Large(large),
        expires: None,
    };
    encoder.push(&Op::Put {
        tree,
        key: b"inline",
        entry: inline,
    });
    encoder.push(&Op::Put {
        tree,
        key: b"large",
        entry: large,
    });
    encoder.push(&Op::Delete { tree, key: b"gone" });
    encoder.push(&Op::DeleteRange {
        tree,
        start: b"a",
        end: Some(b"b"),
    });
    encoder.push(&Op::DeleteRange {
        tree,
        start: b"x",
        end: None,
    });
    encoder.push(&Op::DropTree { tree: TreeId(99) });
}
