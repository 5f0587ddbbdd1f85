//! The version of what is stored, so that another one is not taken for this.

use weald_engine::{Database, Readable, Writable};

use super::{ALL, FORMAT, TREES};
use crate::error::{Error, Result};

/// The version that is written, and the only one that is read.
const VERSION: u32 = 1;
const KEY: &[u8] = b"version";
const MAGIC: &[u8] = b"weald tree ";

/// Makes sure that the trees of a database, which has the buckets for them, are of this version, or that there are none yet.
pub(crate) fn check(db: &Database) -> Result<()> {
    let tx = db.read()?;
    let (format, all) = (TREES.bucket(&tx.root(), FORMAT)?, TREES.bucket(&tx.root(), ALL)?);
    if let Some(stored) = format.get_ref(KEY)? {
        return known(stored);
    }
    if !all.is_empty()? {
        return Err(Error::damaged("trees without the version of their format"));
    }
    drop(tx);
    let mut tx = db.write()?;
    let version = [MAGIC, &VERSION.to_le_bytes()].concat();
    TREES
        .bucket_mut(tx.root_mut(), FORMAT)?
        .put_if_absent(KEY, &version)?;
    tx.commit()?;
    Ok(())
}

fn known(stored: &[u8]) -> Result<()> {
    let version = stored
        .strip_prefix(MAGIC)
        .and_then(|version| version.try_into().ok())
        .map(u32::from_le_bytes);
    match version {
        Some(VERSION) => Ok(()),
        Some(found) => Err(Error::UnknownFormat {
            found,
            known: VERSION,
        }),
        None => Err(Error::damaged("the version of the trees' format can't be read")),
    }
}
