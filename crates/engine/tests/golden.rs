//! Databases that were written once and are kept, so that each format stays readable: a folder for each in `tests/golden`.
//!
//! A fixture is a real database with its log, byte for byte, as a sparse list of its pieces that are not zero: first a line
//! `FILE LENGTH` for each file, then lines `@OFFSET HEX`. Those of the newest format were made by `make_fixtures`, which is run only for a new
//! one: `cargo test -p weald-engine --test golden -- --ignored`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use weald_engine::{Bucket, BucketMut, Database, DatabaseOptions, PageSize, Readable, Result, Writable};

/// The format that is written.
const NEWEST: u32 = 2;
/// Name, page size, and whether the log is to be replayed.
const FIXTURES: [(&str, PageSize, bool); 7] = [
    ("4k-closed", PageSize::Size4K, false),
    ("4k-log", PageSize::Size4K, true),
    ("8k-log", PageSize::Size8K, true),
    ("16k-closed", PageSize::Size16K, false),
    ("16k-log", PageSize::Size16K, true),
    ("32k-log", PageSize::Size32K, true),
    ("64k-log", PageSize::Size64K, true),
];
/// Enough for a filter.
const KEYS: u32 = 1100;
/// In the year 2286, in the past for nobody who reads this.
const LIFE: Duration = Duration::from_secs(8_000_000_000);

type Contents = BTreeMap<Vec<u8>, Vec<u8>>;

fn folder(format: u32) -> PathBuf {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    golden.join(format.to_string())
}

fn options(size: PageSize) -> DatabaseOptions {
    DatabaseOptions::new()
        .page_size(size)
        .background(false)
        .wal_segment_bytes(16 << 10)
}

fn key(n: u32) -> Vec<u8> {
    format!("k{n:05}").into_bytes()
}

/// Repeats itself, so that a fixture stays small.
fn large() -> Vec<u8> {
    let mut value = vec![0; 70_000];
    value[..4].copy_from_slice(b"head");
    value[69_996..].copy_from_slice(b"tail");
    value
}

/// Takes nearly half of a page, as an entry may since format 2.
fn half_a_page(size: PageSize) -> Vec<u8> {
    let mut value = vec![0; size.bytes() / 2 - 60];
    value[..4].copy_from_slice(b"half");
    value
}

/// What the checkpoint has.
fn first(db: &Database, format: u32, size: PageSize) -> Result<()> {
    let mut tx = db.write()?;
    for n in 0..KEYS {
        tx.put(&key(n), b"")?;
    }
    tx.put(b"large", &large())?;
    tx.put_with_ttl(b"lasting", b"until then", LIFE)?;
    if format >= 2 {
        tx.put(b"half 1", &half_a_page(size))?;
        tx.put(b"half 2", &half_a_page(size))?;
    }
    let mut outer = tx.create_bucket(b"outer")?;
    outer.put(b"in outer", b"1")?;
    outer.next_sequence()?;
    let mut inner: BucketMut<'_, '_> = outer.create_bucket(b"inner")?;
    inner.put(b"in inner", b"2")?;
    tx.commit()?;
    db.checkpoint()?;
    Ok(())
}

/// What the log has.
fn second(db: &Database, format: u32, size: PageSize) -> Result<()> {
    let mut tx = db.write()?;
    tx.put(b"from the log", b"3")?;
    tx.put(&key(7), b"changed")?;
    tx.delete(&key(8))?;
    tx.delete_range(key(20)..key(30))?;
    tx.bucket_mut(b"outer")?.put(b"in outer", b"4")?;
    tx.create_bucket(b"young")?.put(b"in young", b"5")?;
    tx.commit()?;
    let mut tx = db.write()?;
    tx.put(b"large", &large()[..66_000])?;
    tx.put(b"empty", b"")?;
    if format >= 2 {
        tx.put(b"half 3", &half_a_page(size))?;
    }
    tx.commit()?;
    Ok(())
}

fn bucket(prefix: &str, bucket: Bucket<'_>, all: &mut Contents) -> Result<()> {
    for pair in bucket.iter() {
        let (key, value) = pair?;
        all.insert([prefix.as_bytes(), key].concat(), value.to_vec());
    }
    let sequence = bucket.sequence()?.to_string();
    all.insert(format!("{prefix} sequence").into_bytes(), sequence.into_bytes());
    for name in bucket.buckets()? {
        let prefix = format!("{prefix}{}/", String::from_utf8_lossy(&name));
        self::bucket(&prefix, bucket.bucket(&name)?, all)?;
    }
    Ok(())
}

fn contents(db: &Database) -> Contents {
    let mut all = Contents::new();
    let tx = db.read().unwrap();
    bucket("/", tx.root(), &mut all).unwrap();
    let left = tx.ttl(b"lasting").unwrap().flatten();
    assert!(
        left.is_some_and(|left| left <= LIFE && left > LIFE / 2),
        "{left:?}"
    );
    all
}

/// The same, without any file.
fn expected(format: u32, size: PageSize) -> Contents {
    let db = Database::in_memory().unwrap();
    first(&db, format, size).unwrap();
    second(&db, format, size).unwrap();
    contents(&db)
}

fn files_of(path: &Path) -> Vec<PathBuf> {
    let mut files = vec![path.to_owned()];
    let log = path.with_file_name("db-wal");
    if log.exists() {
        files.extend(fs::read_dir(log).unwrap().map(|entry| entry.unwrap().path()));
    }
    files.sort();
    files
}

fn pack(dir: &Path) -> String {
    const PIECE: usize = 32;
    let mut out = String::new();
    for file in files_of(&dir.join("db")) {
        let bytes = fs::read(&file).unwrap();
        let name = file.strip_prefix(dir).unwrap().display();
        writeln!(out, "{name} {}", bytes.len()).unwrap();
        let mut at = 0;
        while at < bytes.len() {
            let is_zero = |from: usize| bytes[from..bytes.len().min(from + PIECE)].iter().all(|b| *b == 0);
            let start = at;
            while at < bytes.len() && !is_zero(at) {
                at += PIECE;
            }
            if at > start {
                write!(out, "@{start} ").unwrap();
                for byte in &bytes[start..at.min(bytes.len())] {
                    write!(out, "{byte:02x}").unwrap();
                }
                out.push('\n');
            }
            at += PIECE;
        }
    }
    out
}

fn unpack(text: &str, dir: &Path) {
    let mut file = (PathBuf::new(), Vec::new());
    let write = |(path, bytes): &(PathBuf, Vec<u8>)| {
        if !bytes.is_empty() {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
    };
    for line in text.lines() {
        let (first, second) = line.split_once(' ').unwrap();
        match first.strip_prefix('@') {
            None => {
                write(&file);
                file = (dir.join(first), vec![0; second.parse().unwrap()]);
            }
            Some(offset) => {
                let offset: usize = offset.parse().unwrap();
                for (i, digits) in second.as_bytes().chunks(2).enumerate() {
                    let digits = std::str::from_utf8(digits).unwrap();
                    file.1[offset + i] = u8::from_str_radix(digits, 16).unwrap();
                }
            }
        }
    }
    write(&file);
}

#[test]
fn what_was_written_then_is_read_now() {
    for format in 1..=NEWEST {
        for fixture in FIXTURES {
            is_read_now(format, fixture);
        }
    }
}

fn is_read_now(format: u32, (name, size, log): (&str, PageSize, bool)) {
    let expected = expected(format, size);
    assert!(expected.len() > 1000);
    let text = fs::read_to_string(folder(format).join(name)).unwrap();
    let name = format!("format {format}, {name}");
    for background in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        unpack(&text, dir.path());
        assert_eq!(path.with_file_name("db-wal").exists(), log, "{name}");
        let before = files_of(&path)
            .iter()
            .map(|file| fs::read(file).unwrap())
            .collect::<Vec<_>>();
        let db = Database::open_with_options(&path, options(size).read_only(true)).unwrap();
        assert_eq!(contents(&db), expected, "{name}");
        drop(db);
        let after = files_of(&path)
            .iter()
            .map(|file| fs::read(file).unwrap())
            .collect::<Vec<_>>();
        assert!(before == after, "{name}: reading has changed it");

        let db = Database::open_with_options(&path, options(size).background(background)).unwrap();
        assert_eq!(contents(&db), expected, "{name}");
        let report = db.check().unwrap();
        assert!(report.problems.is_empty(), "{name}: {report:?}");
        // What is written today lies beside what was written then.
        db.put(b"today", b"6").unwrap();
        db.close().unwrap();
        let db = Database::open_with_options(&path, options(size)).unwrap();
        assert_eq!(db.get(b"today").unwrap().as_deref(), Some(&b"6"[..]));
        db.delete(b"today").unwrap();
        assert_eq!(contents(&db), expected, "{name}");
        assert!(db.check().unwrap().problems.is_empty(), "{name}");
    }
}

#[test]
#[ignore = "makes the fixtures anew, for a new format"]
fn make_fixtures() {
    fs::create_dir_all(folder(NEWEST)).unwrap();
    for (name, size, log) in FIXTURES {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        let db = Database::open_with_options(&path, options(size)).unwrap();
        first(&db, NEWEST, size).unwrap();
        second(&db, NEWEST, size).unwrap();
        let text = if log {
            pack(dir.path())
        } else {
            db.close().unwrap();
            pack(dir.path())
        };
        fs::write(folder(NEWEST).join(name), text).unwrap();
    }
}
