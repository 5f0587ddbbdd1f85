//! A database file as it lies there, whatever state it is in.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use weald_vfs::{File, OpenMode, Vfs};

use crate::error::{Error, Result};
use crate::meta::{self, Meta};
use crate::options::PageSize;
use crate::recovery::{held, with_suffix};
use crate::store::PageFile;

/// An open file, locked against writers.
pub(crate) struct RawFile {
    path: PathBuf,
    file: Arc<dyn File>,
    /// The meta pages that are whole, the newest first.
    pub(crate) metas: Vec<Meta>,
    _lock: Option<Box<dyn Send + Sync>>,
}

impl RawFile {
    pub(crate) fn open(path: &Path, vfs: &Arc<dyn Vfs>) -> Result<RawFile> {
        let lock = match vfs.lock(&with_suffix(path, "-lock"), false) {
            Ok(lock) => Some(lock),
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => return Err(held(&e)),
            // A file that can't be locked, on a read-only file system say, has no writer either.
            Err(_) => None,
        };
        let file = vfs
            .open(path, OpenMode::Read)
            .map_err(|e| Error::io("open", path, None, e))?;
        let mut raw = RawFile {
            path: path.to_owned(),
            file,
            metas: Vec::new(),
            _lock: lock,
        };
        raw.metas = raw.read_metas();
        Ok(raw)
    }

    fn read_metas(&self) -> Vec<Meta> {
        let offsets = PageSize::ALL.map(|size| size.bytes() as u64);
        let mut metas: Vec<Meta> = [0]
            .into_iter()
            .chain(offsets)
            .filter_map(|offset| {
                let mut bytes = [0; meta::LEN];
                self.file.read_exact_at(&mut bytes, offset).ok()?;
                let meta = Meta::decode(&bytes).ok()?;
                (offset == 0 || offset == meta.page_size.bytes() as u64).then_some(meta)
            })
            .collect();
        metas.sort_by_key(|meta| std::cmp::Reverse(meta.checkpoint));
        metas.dedup();
        metas
    }

    /// The file in pages of that size.
    pub(crate) fn page_file(&self, size: PageSize) -> Result<PageFile> {
        PageFile::new(&self.path, Arc::clone(&self.file), size.bytes(), false)
    }
}
