//! Bytes that rot and files that are cut: the right answer or a typed error, never a panic and never a wrong value.

use std::path::Path;
use std::sync::Arc;

use weald_engine::{Database, DatabaseOptions, Error, PageSize, Readable, SyncPolicy, Writable};
use weald_vfs::{SimDisk, SimOptions, Vfs};

use crate::compare::dump;
use crate::generate::with_operators;
use crate::history::PATH;
use crate::model::Model;
use crate::model_test::directory;
use crate::seed::{Rng, asked, is_exhaustive};

/// A database on a disk, and its state after each commit.
struct Image {
    files: Vec<(String, Vec<u8>)>,
    models: Vec<Model>,
    options: DatabaseOptions,
}

impl Image {
    /// A small database with pages of every kind; with a log where the process that wrote it was killed.
    fn new(page: PageSize, killed: bool) -> Image {
        let disk = SimDisk::new(1, SimOptions::default());
        let vfs: Arc<dyn Vfs> = Arc::new(disk.clone());
        let options = with_operators(DatabaseOptions::new())
            .page_size(page)
            .wal_segment_bytes(16 << 10)
            .checkpoint_wal_bytes(1 << 20)
            .dirty_bytes_max(64 * page.bytes() as u64)
            .mmap(false)
            .background(false);
        let db = Database::open_with_options(PATH, options.clone().vfs(vfs)).unwrap();
        let mut models = Vec::new();
        let mut rng = Rng::new(3);
        for round in 0..12u64 {
            let mut tx = db.write().unwrap();
            for n in 0..40u64 {
                let len = rng.below(200) as usize;
                let key = format!("key {:04}", round * 17 + n * 3).into_bytes();
                tx.put(&key, &rng.bytes(len)).unwrap();
            }
            tx.delete_range(format!("key {:04}", round * 20)..format!("key {:04}", round * 20 + 4))
                .unwrap();
            tx.put_with_ttl(b"mortal", &[round as u8], std::time::Duration::from_secs(100_000))
                .unwrap();
            if round % 3 == 0 {
                tx.put(b"large", &rng.bytes(10_000 + round as usize)).unwrap();
                let mut bucket = tx.create_bucket_if_absent(b"bucket").unwrap();
                bucket.put(&[round as u8; 8], b"in a bucket").unwrap();
                bucket.next_sequence().unwrap();
                bucket
                    .create_bucket_if_absent(&[b'a' + round as u8])
                    .unwrap()
                    .put(b"", b"")
                    .unwrap();
            }
            tx.commit_with(SyncPolicy::Immediate).unwrap();
            models.push(dump(&db.read().unwrap()).unwrap());
            if round == 5 || round == 7 {
                db.checkpoint().unwrap();
            }
        }
        let disk = if killed {
            disk.after_kill()
        } else {
            db.close().unwrap();
            disk
        };
        let files = disk
            .files()
            .into_iter()
            .filter(|path| !path.to_string_lossy().ends_with("-lock"));
        let files = files.map(|path| {
            (
                path.to_string_lossy().into_owned(),
                disk.read_file(&path).unwrap(),
            )
        });
        Image {
            files: files.collect(),
            models,
            options,
        }
    }

    /// The image on a disk of its own.
    fn disk(&self) -> SimDisk {
        let disk = SimDisk::new(1, SimOptions::default());
        for (path, bytes) in &self.files {
            let dir = Path::new(path).parent().unwrap();
            disk.create_dir(dir).unwrap();
            disk.write_file(path, bytes).unwrap();
        }
        disk
    }

    /// Opens what is on `disk` and reads everything. It may lack the last commit where `cut` says so.
    fn check(&self, disk: &SimDisk, read_only: bool, may_cut: bool) -> Result<bool, String> {
        let vfs: Arc<dyn Vfs> = Arc::new(disk.clone());
        let options = self.options.clone().read_only(read_only).vfs(vfs);
        self.check_with(Path::new(PATH), options, may_cut)
    }

    /// Whether everything could be read.
    fn check_with(&self, path: &Path, options: DatabaseOptions, may_cut: bool) -> Result<bool, String> {
        let db = match Database::open_with_options(path, options) {
            Ok(db) => db,
            Err(e) => return typed(&e).map(|()| false),
        };
        let last = self.models.len() - 1;
        let tx = db.read().map_err(|e| e.to_string())?;
        match dump(&tx) {
            Ok(found) if found == self.models[last] => Ok(true),
            Ok(found) if may_cut && found == self.models[last - 1] => Ok(true),
            Ok(found) => Err(format!(
                "wrong contents: {}",
                found.difference(&self.models[last])
            )),
            Err(e) => {
                typed(&e)?;
                self.check_each(&tx, last, may_cut)?;
                Ok(false)
            }
        }
    }

    /// What can still be read is right.
    fn check_each(&self, tx: &impl Readable, last: usize, may_cut: bool) -> Result<(), String> {
        for (key, value) in &self.models[last].pairs {
            match tx.get_ref(key) {
                Ok(found) if found == Some(&*value.bytes) => {}
                Ok(found) => {
                    let before = self.models[last - 1].pairs.get(key).map(|v| &*v.bytes);
                    if !may_cut || found != before {
                        return Err(format!("a wrong value of {}", key.escape_ascii()));
                    }
                }
                Err(e) => typed(&e)?,
            }
        }
        for pair in tx.iter().rev() {
            match pair {
                Ok((key, value)) => {
                    let is = |model: &Model| model.pairs.get(key).is_some_and(|v| *v.bytes == *value);
                    if !is(&self.models[last]) && !(may_cut && is(&self.models[last - 1])) {
                        return Err(format!("a wrong pair with key {}", key.escape_ascii()));
                    }
                }
                Err(e) => typed(&e)?,
            }
        }
        Ok(())
    }
}

fn typed(e: &Error) -> Result<(), String> {
    match e {
        Error::Corrupt(_)
        | Error::NotADatabase { .. }
        | Error::UnsupportedFormat { .. }
        | Error::PageSizeMismatch { .. } => Ok(()),
        Error::Io(e) if e.source.kind() == std::io::ErrorKind::UnexpectedEof => Ok(()),
        Error::Poisoned(e) => typed(e),
        e => Err(format!("an error of another kind: {e:?}")),
    }
}

/// The places to damage: all, or the first ones and some of the others.
fn places(len: u64, first: u64, step: u64, rng: &mut Rng) -> Vec<u64> {
    if is_exhaustive() {
        return (0..len).collect();
    }
    let mut places: Vec<u64> = (0..first.min(len)).collect();
    let mut at = first;
    while at < len {
        places.push(at + rng.below(step).min(len - at - 1));
        at += step;
    }
    places
}

fn rng() -> Rng {
    Rng::new(asked("WEALD_SEED").unwrap_or(0))
}

#[test]
fn a_flipped_bit_gives_the_right_answer_or_a_typed_error() {
    for (page, killed) in [
        (PageSize::Size4K, false),
        (PageSize::Size4K, true),
        (PageSize::Size64K, false),
    ] {
        let image = Image::new(page, killed);
        let disk = image.disk();
        assert_eq!(image.check(&disk, true, false), Ok(true));
        let mut rng = rng();
        for (path, bytes) in &image.files {
            let is_log = path != PATH;
            let (mut noticed, mut tried) = (0, 0);
            let step = if page == PageSize::Size4K { 499 } else { 7001 };
            for at in places(bytes.len() as u64, 520, step, &mut rng) {
                let mask = 1 << rng.below(8);
                disk.flip(path, at, mask).unwrap();
                let say = |e: String| panic!("byte {at} of {path} ^ {mask}: {e}");
                noticed += u64::from(!image.check(&disk, true, is_log).unwrap_or_else(say));
                tried += 1;
                if tried % 29 == 0 {
                    // Opened for writing, on a copy, as recovery changes it.
                    let copy = disk.after_crash_all_kept();
                    image.check(&copy, false, is_log).unwrap_or_else(say);
                }
                disk.flip(path, at, mask).unwrap();
            }
            assert!(is_log || noticed > tried / 10, "{noticed} of {tried} noticed");
        }
    }
}

#[test]
fn a_file_that_was_cut_gives_the_right_answer_or_a_typed_error() {
    for killed in [false, true] {
        let image = Image::new(PageSize::Size4K, killed);
        let mut rng = rng();
        for (path, bytes) in &image.files {
            let disk = image.disk();
            for len in places(bytes.len() as u64, 10, 331, &mut rng).into_iter().rev() {
                disk.truncate(path, len).unwrap();
                let say = |e: String| panic!("{path} cut to {len} of {} bytes: {e}", bytes.len());
                image.check(&disk, true, path != PATH).unwrap_or_else(say);
            }
        }
    }
}

/// Files of the log that are missing are noticed, but for the last one: without it the log is as it was before that one was begun.
#[test]
fn a_log_that_is_missing_is_noticed() {
    let image = Image::new(PageSize::Size4K, true);
    let mut logs: Vec<&String> = image
        .files
        .iter()
        .map(|(path, _)| path)
        .filter(|path| *path != PATH)
        .collect();
    logs.sort();
    let live: Vec<_> = logs.iter().filter(|path| path.ends_with(".wal")).collect();
    assert!(live.len() > 1);
    for (n, path) in live.iter().enumerate() {
        let disk = image.disk();
        disk.remove(Path::new(path)).unwrap();
        let options = image.options.clone().read_only(true).vfs(Arc::new(disk));
        match Database::open_with_options(PATH, options) {
            Err(e) => typed(&e).unwrap_or_else(|e| panic!("without {path}: {e}")),
            Ok(db) => {
                let found = dump(&db.read().unwrap()).unwrap();
                let is_last = n + 1 == live.len();
                assert!(
                    image.models.last() == Some(&found) || is_last,
                    "without {path}: not noticed"
                );
                assert!(image.models.contains(&found), "without {path}: half a commit");
            }
        }
    }
    let disk = image.disk();
    logs.iter().for_each(|path| disk.remove(Path::new(path)).unwrap());
    let say = |e: String| panic!("without the whole log: {e}");
    assert!(!image.check(&disk, true, false).unwrap_or_else(say));
}

/// The same through the mapping of a real file.
#[test]
fn a_flipped_bit_is_noticed_through_the_mapping_too() {
    let image = Image::new(PageSize::Size4K, false);
    let dir = directory();
    let path = dir.path().join("db");
    let (_, bytes) = &image.files[0];
    let mut rng = rng();
    for at in places(bytes.len() as u64, 0, 409, &mut rng) {
        let mut damaged = bytes.clone();
        damaged[at as usize] ^= 1 << rng.below(8);
        std::fs::write(&path, &damaged).unwrap();
        let options = image.options.clone().mmap(true).read_only(true);
        let say = |e: String| panic!("byte {at}: {e}");
        image.check_with(&path, options, false).unwrap_or_else(say);
    }
}
