//! Reading an image, whatever has become of it.

use std::io;
use std::path::Path;

use weald_vfs::{File, OpenMode, Vfs};

use super::{ALIGNMENT, BLOCK_HEADER, BLOCK_MAGIC, ENTRY_HEADER, Restored};
use super::{checksum, decode_header, io_error, number};
use crate::cache::now_ms;
use crate::error::{Result, corrupt};
use crate::map::Item;
use crate::session::Session;

impl Session {
    /// Puts everything that is in the image `path` into the map, over what the keys have. `None` if there is no image.
    ///
    /// Parts that are damaged are passed over, and counted. [`Corrupt`](crate::Error::Corrupt) if nothing in the file belongs to an image.
    /// [`Full`](crate::Error::Full) if the region is too small; it then has a part of the keys.
    pub fn restore(&self, disk: &dyn Vfs, path: &Path) -> Result<Option<Restored>> {
        let Some(file) = open(disk, path)? else {
            return Ok(None);
        };
        let len = file.len().map_err(io_error("read an image"))?;
        let point = decode_header(&read_up_to(&*file, 0, 56)?);
        let mut restored = Restored {
            point,
            keys: 0,
            expired: 0,
            lost: None,
            damaged_bytes: 0,
        };
        let mut of_point = point.map(|point| point.number);
        let mut blocks = 0;
        let now = now_ms();
        let mut at = ALIGNMENT;
        while at < len {
            let Some(block) = Block::read(&*file, at, len)?.filter(|block| {
                // Without a header it is the first block that says which point this is.
                *of_point.get_or_insert(block.point) == block.point && block.index >= blocks
            }) else {
                restored.damaged_bytes += ALIGNMENT.min(len - at);
                at += ALIGNMENT;
                continue;
            };
            blocks = block.index + 1;
            for item in block.items() {
                match item.expiry {
                    Some(expiry) if expiry <= now => restored.expired += 1,
                    expiry => {
                        self.act(|actor| actor.put_until(&item.key, &item.value, expiry))?;
                        restored.keys += 1;
                    }
                }
            }
            at = (at + block.bytes.len() as u64).next_multiple_of(ALIGNMENT);
        }
        if point.is_none() && blocks == 0 {
            return corrupt("an image of a region", 0);
        }
        restored.lost = point.map(|point| point.keys.saturating_sub(restored.keys + restored.expired));
        Ok(Some(restored))
    }
}

/// The number of the last point, 0 if there is none that says so.
pub(super) fn last_point(disk: &dyn Vfs, path: &Path) -> Result<u64> {
    let Some(file) = open(disk, path)? else {
        return Ok(0);
    };
    let header = read_up_to(&*file, 0, 56)?;
    Ok(decode_header(&header).map_or(0, |point| point.number))
}

fn open(disk: &dyn Vfs, path: &Path) -> Result<Option<std::sync::Arc<dyn File>>> {
    match disk.open(path, OpenMode::Read) {
        Ok(file) => Ok(Some(file)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(io_error("open an image")(e)),
    }
}

/// Up to `len` bytes; fewer where the file ends.
fn read_up_to(file: &dyn File, at: u64, len: usize) -> Result<Vec<u8>> {
    let mut bytes = vec![0; len];
    let mut done = 0;
    while done < len {
        match file.read_at(&mut bytes[done..], at + done as u64) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(io_error("read an image")(e)),
        }
    }
    bytes.truncate(done);
    Ok(bytes)
}

struct Block {
    point: u64,
    index: u64,
    /// Header and entries.
    bytes: Vec<u8>,
}

impl Block {
    /// The block at `at` of a file of `len` bytes, if a whole and undamaged one stands there.
    fn read(file: &dyn File, at: u64, len: u64) -> Result<Option<Block>> {
        let header = read_up_to(file, at, BLOCK_HEADER)?;
        if header.len() < BLOCK_HEADER || &header[..8] != BLOCK_MAGIC {
            return Ok(None);
        }
        let entries_len = number(&header[24..32]);
        // Checked before memory is taken for it.
        if entries_len > len || at + BLOCK_HEADER as u64 + entries_len > len {
            return Ok(None);
        }
        let bytes = read_up_to(file, at, BLOCK_HEADER + entries_len as usize)?;
        if bytes.len() < BLOCK_HEADER {
            return Ok(None);
        }
        let (header, entries) = bytes.split_at(BLOCK_HEADER);
        let block = Block {
            point: number(&header[8..16]),
            index: number(&header[16..24]),
            bytes: bytes.clone(),
        };
        let is_whole = number(&header[40..]) == checksum(&[&header[..40], entries])
            && block.items().count() as u64 == number(&header[32..40]);
        Ok(is_whole.then_some(block))
    }

    /// The entries, up to the first that can't be one.
    fn items(&self) -> impl Iterator<Item = Item> + '_ {
        let mut rest = &self.bytes[BLOCK_HEADER..];
        std::iter::from_fn(move || {
            let (header, behind) = rest.split_at_checked(ENTRY_HEADER)?;
            let key_len = usize::try_from(number(&header[..4])).ok()?;
            let value_len = usize::try_from(number(&header[4..12])).ok()?;
            let expiry = number(&header[12..]);
            let (key, behind) = behind.split_at_checked(key_len)?;
            let (value, behind) = behind.split_at_checked(value_len)?;
            rest = behind;
            Some(Item {
                key: key.to_vec(),
                value: value.to_vec(),
                expiry: (expiry != 0).then_some(expiry),
            })
        })
    }
}
