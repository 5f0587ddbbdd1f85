//! Changed dumps and backups.

use std::io::Read;
use std::sync::{Arc, OnceLock};

use weald_engine::{Database, DatabaseOptions, LoadOptions, Readable, RestoreOptions, Writable};
use weald_vfs::Memory;
use xxhash_rust::xxh3::Xxh3;

use crate::input::Input;

/// Bytes before the first block, and before the contents of each.
const HEADER: usize = 16;

/// Changes a dump and loads it: what it leaves behind is a sound database.
pub(crate) fn dump(data: &[u8]) {
    let (dump, _) = template();
    let mut input = Input(data);
    let mode = input.byte();
    let dump = changed(dump, mode, &mut input);
    let db = Database::open_with_options("/loaded.weald", options()).expect("memory does not fail");
    let how = match mode & 2 {
        0 => LoadOptions::new(),
        _ => LoadOptions::new().batch_bytes(100),
    };
    let _ = db.load(&mut &dump[..], how);
    let report = db.check().expect("memory does not fail");
    assert!(report.is_sound(), "a load left damage behind: {report:?}");
}

/// Changes a backup and restores it: what is restored is a sound database.
pub(crate) fn backup(data: &[u8]) {
    let (_, backup) = template();
    let mut input = Input(data);
    let mode = input.byte();
    let backup = changed(backup, mode, &mut input);
    let vfs = Arc::new(Memory::new());
    let mut source = &backup[..];
    let sources: &mut [&mut dyn Read] = &mut [&mut source];
    let how = RestoreOptions::new().vfs(vfs.clone());
    if Database::restore(sources, "/restored.weald", how).is_err() {
        return;
    }
    let options = options().vfs(vfs);
    let db =
        Database::open_with_options("/restored.weald", options).expect("what was restored can be opened");
    let report = db.check().expect("memory does not fail");
    assert!(report.is_sound(), "what was restored is damaged: {report:?}");
}

fn changed(stream: &[u8], mode: u8, input: &mut Input<'_>) -> Vec<u8> {
    let mut stream = stream.to_vec();
    while !input.is_empty() {
        input.patch(&mut stream);
    }
    if mode & 1 == 0 {
        seal(&mut stream);
    }
    stream
}

/// Makes the checksums of all blocks right again, as far as their lengths lead.
fn seal(stream: &mut [u8]) {
    let mut at = HEADER;
    let mut number = 0;
    while let Some(head) = stream.get(at..at + HEADER) {
        let len = u32::from_le_bytes(head[..4].try_into().expect("four bytes")) as usize;
        let mut hasher = Xxh3::with_seed(number);
        hasher.update(&head[4..8]);
        let contents = at + HEADER..at + HEADER + len;
        let Some(bytes) = stream.get(contents.clone()) else {
            return;
        };
        hasher.update(bytes);
        let checksum = hasher.digest().to_le_bytes();
        stream[at + 8..at + HEADER].copy_from_slice(&checksum);
        at = contents.end;
        number += 1;
    }
}

fn options() -> DatabaseOptions {
    DatabaseOptions::new()
        .vfs(Arc::new(Memory::new()))
        .background(false)
        .wal(false)
}

/// A dump and a backup of a small database.
fn template() -> &'static (Vec<u8>, Vec<u8>) {
    static TEMPLATE: OnceLock<(Vec<u8>, Vec<u8>)> = OnceLock::new();
    TEMPLATE.get_or_init(|| build().expect("memory does not fail"))
}

fn build() -> weald_engine::Result<(Vec<u8>, Vec<u8>)> {
    let db = Database::open_with_options("/template.weald", options())?;
    let mut tx = db.write()?;
    for i in 0..60_u8 {
        tx.put(&[b'k', i], &vec![i; usize::from(i)])?;
    }
    tx.put(b"large", &vec![1; 9000])?;
    tx.put_with_ttl(b"soon", b"gone", std::time::Duration::from_secs(1 << 30))?;
    let mut inner = tx.create_bucket(b"inner")?;
    inner.put(b"key", b"value")?;
    inner.next_sequence()?;
    inner.create_bucket(b"innermost")?.put(b"deep", b"value")?;
    tx.commit()?;
    let (mut dump, mut backup) = (Vec::new(), Vec::new());
    db.dump(&mut dump)?;
    db.backup(&mut backup)?;
    assert!(db.read()?.len()? > 60);
    Ok((dump, backup))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sealing_changes_nothing_of_an_honest_stream() {
        for stream in [&template().0, &template().1] {
            let mut sealed = stream.clone();
            seal(&mut sealed);
            assert_eq!(sealed, *stream);
        }
    }
}
