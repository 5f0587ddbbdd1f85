//! Writing an image.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use weald_vfs::{File, OpenMode, Vfs};

use super::{ALIGNMENT, BLOCK_HEADER, BLOCK_LEN, BLOCK_MAGIC, ENTRY_HEADER, PersistPoint};
use super::{checksum, encode_header, io_error, read};
use crate::error::{Error, Result};
use crate::map::Item;
use crate::session::Session;

impl Session {
    /// Writes everything that is in the map at this instant to the image `path`, in place of what was there, and makes it durable. Others write on
    /// meanwhile. Only for regions with [views](crate::RegionOptions::views).
    ///
    /// Whatever happens on the way, the image is the one before or this one, whole. The price: all of it is written each time, and there must be
    /// space for two. Objects of [`alloc`](Session::alloc) aren't in it. [`Again`](Error::Again) if another process is just writing the image.
    ///
    /// ```
    /// # use weald_hot::{Region, RegionOptions};
    /// use std::path::Path;
    /// use weald_vfs::Memory;
    ///
    /// let options = RegionOptions { capacity: 16 << 20, views: true, ..Default::default() };
    /// let disk = Memory::new();
    /// let session = Region::anonymous(&options)?.join("example")?;
    /// session.put(b"colour", b"green")?;
    /// assert_eq!(session.save(&disk, Path::new("/image"))?.keys, 1);
    ///
    /// let other = Region::anonymous(&options)?.join("example")?;
    /// let restored = other.restore(&disk, Path::new("/image"))?.expect("an image was written");
    /// assert_eq!((restored.keys, restored.lost), (1, Some(0)));
    /// assert_eq!(other.get(b"colour")?.as_deref(), Some(&b"green"[..]));
    /// # Ok::<(), weald_hot::Error>(())
    /// ```
    pub fn save(&self, disk: &dyn Vfs, path: &Path) -> Result<PersistPoint> {
        // Held until the name is durable: an older point must not replace a younger one.
        let _lock = disk
            .lock(&beside(path, "lock"), true)
            .map_err(|e| match e.kind() {
                std::io::ErrorKind::WouldBlock => Error::Again("another process is writing the image"),
                _ => Error::io("lock the image", e),
            })?;
        let last = read::last_point(disk, path)?;
        let fresh = beside(path, "fresh");
        let written = self.write_image(disk, &fresh, last + 1).and_then(|point| {
            disk.rename(&fresh, path)
                .map_err(io_error("give the image its name"))?;
            Ok(point)
        });
        if written.is_err() {
            // It only takes space. The next one begins it anew.
            let _ = disk.remove(&fresh);
        }
        let point = written?;
        disk.sync_dir(path.parent().unwrap_or(Path::new("/")))
            .map_err(io_error("make the image's name durable"))?;
        Ok(point)
    }

    fn write_image(&self, disk: &dyn Vfs, fresh: &Path, number: u64) -> Result<PersistPoint> {
        let file = disk
            .open(fresh, OpenMode::Create)
            .map_err(io_error("create an image"))?;
        file.set_len(0).map_err(io_error("empty an old image"))?;
        let view = self.view()?;
        let mut writer = Writer {
            file,
            block: Vec::new(),
            entries: 0,
            blocks: 0,
            at: ALIGNMENT,
            point: PersistPoint {
                number,
                time: SystemTime::now(),
                keys: 0,
                bytes: 0,
            },
        };
        let mut scan = view.scan();
        while let Some(item) = scan.next_item()? {
            writer.append(&item)?;
        }
        drop(view);
        writer.finish()
    }
}

/// A file that belongs to an image.
fn beside(path: &Path, what: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(what);
    name.into()
}

struct Writer {
    file: Arc<dyn File>,
    /// The block that is being filled, its header included.
    block: Vec<u8>,
    entries: u64,
    blocks: u64,
    at: u64,
    point: PersistPoint,
}

impl Writer {
    fn append(&mut self, item: &Item) -> Result<()> {
        self.block.resize(self.block.len().max(BLOCK_HEADER), 0);
        self.block.extend((item.key.len() as u32).to_le_bytes());
        self.block.extend((item.value.len() as u64).to_le_bytes());
        self.block.extend(item.expiry.unwrap_or(0).to_le_bytes());
        self.block.extend(&item.key);
        self.block.extend(&item.value);
        self.entries += 1;
        self.point.keys += 1;
        self.point.bytes += (item.key.len() + item.value.len()) as u64;
        if self.block.len() >= BLOCK_LEN - ENTRY_HEADER {
            self.flush()?;
        }
        Ok(())
    }

    /// Writes the block.
    fn flush(&mut self) -> Result<()> {
        if self.entries == 0 {
            return Ok(());
        }
        let (header, entries) = self.block.split_at_mut(BLOCK_HEADER);
        header[..8].copy_from_slice(BLOCK_MAGIC);
        header[8..16].copy_from_slice(&self.point.number.to_le_bytes());
        header[16..24].copy_from_slice(&self.blocks.to_le_bytes());
        header[24..32].copy_from_slice(&(entries.len() as u64).to_le_bytes());
        header[32..40].copy_from_slice(&self.entries.to_le_bytes());
        let sum = checksum(&[&header[..40], entries]);
        header[40..].copy_from_slice(&sum.to_le_bytes());
        self.file
            .write_all_at(&self.block, self.at)
            .map_err(io_error("write an image"))?;
        self.at = (self.at + self.block.len() as u64).next_multiple_of(ALIGNMENT);
        self.blocks += 1;
        self.block.clear();
        self.entries = 0;
        Ok(())
    }

    fn finish(mut self) -> Result<PersistPoint> {
        self.flush()?;
        self.file
            .write_all_at(&encode_header(&self.point), 0)
            .and_then(|()| self.file.set_len(self.at))
            .and_then(|()| self.file.sync_data())
            .map_err(io_error("write an image"))?;
        Ok(self.point)
    }
}
