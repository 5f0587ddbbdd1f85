//! Database files that were forged by somebody who can compute checksums.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use weald_vfs::{Memory, OpenMode, Vfs};
use xxhash_rust::xxh3::xxh3_64;

use super::Input;
use crate::error::Result;
use crate::meta::{LEN, Meta};
use crate::transaction::{Readable, Writable};
use crate::tree::page;
use crate::{Bucket, Database, DatabaseOptions, SyncPolicy};

const SIZE: usize = 4096;
const PATH: &str = "/forged.weald";
/// More entries than the honest file has.
const STEPS: usize = 5_000;

/// Decodes a meta page with a right checksum: what decodes encodes to the same meaning.
pub fn meta(data: &[u8]) {
    let mut bytes = template()
        .first_chunk::<LEN>()
        .copied()
        .expect("a file begins with a meta page");
    let mut input = Input(data);
    while !input.is_empty() {
        input.patch(&mut bytes);
    }
    seal_meta(&mut bytes);
    if let Ok(meta) = Meta::decode(&bytes) {
        assert_eq!(Meta::decode(&meta.encode()), Ok(meta));
    }
}

/// Decodes a list of free pages: what decodes is in order, within bounds, and encodes to the same list.
pub fn free_list(data: &[u8]) {
    let mut input = Input(data);
    let end = (input.short() as u64) << (input.byte() % 28);
    let Some(extents) = crate::free_list::decode(input.0, end) else {
        return;
    };
    let mut last = 2;
    for extent in &extents {
        assert!(extent.start >= last && extent.len > 0 && extent.start + extent.len <= end);
        last = extent.start + extent.len;
    }
    let again = crate::free_list::decode(&crate::free_list::encode(&extents), end);
    assert_eq!(again.as_deref(), Some(&extents[..]));
}

/// Forges pages of a small database, reads all of it, changes it, and opens it once more.
pub fn database(data: &[u8]) {
    let mut file = template().clone();
    let mut input = Input(data);
    let mode = input.byte();
    while !input.is_empty() {
        let chosen = usize::from(input.byte()) % file.len().div_ceil(SIZE);
        if input.byte() == 255 {
            file.truncate(chosen * SIZE + input.short() % SIZE);
            if file.is_empty() {
                return;
            }
            continue;
        }
        let start = chosen * SIZE;
        let stop = file.len().min(start + SIZE);
        // The beginning of a page decides most.
        let stop = if input.byte() % 2 == 0 {
            stop.min(start + 256)
        } else {
            stop
        };
        input.patch(&mut file[start..stop]);
    }
    if mode & 1 == 0 {
        seal(&mut file);
    }
    let vfs: Arc<dyn Vfs> = Arc::new(Memory::new());
    let made = vfs
        .open(Path::new(PATH), OpenMode::Create)
        .expect("memory takes it");
    made.write_all_at(&file, 0).expect("memory takes it");
    let options = DatabaseOptions::new()
        .vfs(Arc::clone(&vfs))
        .background(false)
        .wal(mode & 2 == 0)
        .mmap(mode & 4 == 0)
        .sync(SyncPolicy::None)
        .dirty_bytes_max(8 << 20);
    let options = options.read_only(mode & 8 != 0);
    let go_on = |_| std::ops::ControlFlow::Continue(());
    let _ = Database::check_file(PATH, options.clone(), go_on);
    let _ = visit(&options);
    let _ = visit(&options);
}

fn visit(options: &DatabaseOptions) -> Result<()> {
    let db = Database::open_with_options(PATH, options.clone())?;
    {
        let tx = db.read()?;
        let _ = read(&tx.root(), 0);
    }
    let _ = db.check();
    for round in 0..3 {
        let _ = change(&db, round);
    }
    let _ = db.compact();
    let _ = db.collect_expired();
    let _ = db.checkpoint();
    let _ = db.stats();
    db.close()
}

fn read(bucket: &Bucket<'_>, depth: usize) -> Result<()> {
    let mut met = 0;
    for pair in bucket.iter().take(STEPS) {
        std::hint::black_box(pair?);
        met += 1;
    }
    for pair in bucket.iter().rev().take(STEPS) {
        std::hint::black_box(pair?);
    }
    let _ = bucket.len();
    for i in 0..20 {
        let _ = bucket.get(&key(i * 7));
        let _ = bucket.ttl(&key(i));
    }
    let _ = bucket.estimate(key(3)..key(met));
    for name in bucket.buckets()?.into_iter().take(20) {
        if depth < 4 {
            let _ = bucket.bucket(&name).and_then(|inner| read(&inner, depth + 1));
        }
    }
    Ok(())
}

fn change(db: &Database, round: usize) -> Result<()> {
    let mut tx = db.write()?;
    match round {
        0 => {
            tx.put(&key(1), b"changed")?;
            tx.put(&key(2000), &vec![3; 9000])?;
            tx.delete(&key(4))?;
        }
        1 => {
            tx.delete_range(key(50)..key(200))?;
            tx.bucket_mut(b"inner")?.put(b"more", b"value")?;
        }
        _ => {
            tx.delete_bucket(b"inner")?;
            tx.put(&key(9), &vec![9; 3000])?;
        }
    }
    tx.commit()?;
    Ok(())
}

fn key(i: usize) -> Vec<u8> {
    format!("key-{i:05}").into_bytes()
}

/// Makes all checksums right again that a page of this kind has.
fn seal(file: &mut [u8]) {
    for (i, bytes) in file.chunks_exact_mut(SIZE).enumerate() {
        if i < 2 {
            let head = bytes.first_chunk_mut::<LEN>().expect("a page is longer");
            seal_meta(head);
        } else if matches!(bytes[25], page::KIND_LEAF | page::KIND_BRANCH) {
            page::seal(bytes);
        }
    }
}

fn seal_meta(bytes: &mut [u8; LEN]) {
    let checksum = xxh3_64(&bytes[..LEN - 8]);
    bytes[LEN - 8..].copy_from_slice(&checksum.to_le_bytes());
}

/// The file of a small sound database: some thousand entries, nested buckets, large values, expiry, free pages.
fn template() -> &'static Vec<u8> {
    static TEMPLATE: OnceLock<Vec<u8>> = OnceLock::new();
    TEMPLATE.get_or_init(|| build().expect("memory does not fail"))
}

fn build() -> Result<Vec<u8>> {
    let vfs: Arc<dyn Vfs> = Arc::new(Memory::new());
    let options = DatabaseOptions::new()
        .vfs(Arc::clone(&vfs))
        .background(false)
        .wal(false);
    let db = Database::open_with_options(PATH, options)?;
    let mut tx = db.write()?;
    for i in 0..1000 {
        tx.put(&key(i), &vec![i as u8; i % 40])?;
    }
    tx.put(b"large", &vec![1; 10_000])?;
    tx.put_with_ttl(b"soon", b"gone", std::time::Duration::from_secs(1 << 20))?;
    let mut inner = tx.create_bucket(b"inner")?;
    (0..300).try_for_each(|i| inner.put(&key(i), b"inside"))?;
    inner.create_bucket(b"innermost")?.put(b"key", b"value")?;
    tx.commit()?;
    let mut tx = db.write()?;
    tx.delete_range(key(300)..key(500))?;
    tx.commit()?;
    db.close()?;
    let file = vfs.open(Path::new(PATH), OpenMode::Read).expect("it is there");
    let mut bytes = vec![0; file.len().expect("memory does not fail") as usize];
    file.read_exact_at(&mut bytes, 0).expect("memory does not fail");
    Ok(bytes)
}
