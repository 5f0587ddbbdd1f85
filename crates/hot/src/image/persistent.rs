//! Regions that are there again after the machine was started anew.

use std::fmt;
use std::path::{Path, PathBuf};

use weald_vfs::{Disk, Vfs};

use super::{PersistPoint, Restored};
use crate::error::{Corruption, Error, Result};
use crate::region::{Joined, Region, RegionOptions};
use crate::session::Session;

/// Where a region's persist points go.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    path: PathBuf,
    disk: Disk,
}

/// How a persistent region was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opened {
    /// As it was left, or with others at work in it: nothing is lost.
    AsItWas,
    /// There was neither memory nor an image: it is empty.
    Fresh,
    /// The memory was gone or unusable: it has what the last persist point has, and what was written after that is lost.
    Restored(Restored, Reason),
    /// The memory was unusable and there was no image: everything is lost.
    Lost(Reason),
}

/// Why a region had to be restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The memory was gone, as after the machine's restart.
    NoMemory,
    /// Something was there that could not be used: a region from before the machine's last start, or one that was never finished.
    Unusable(&'static str),
    /// It was damaged.
    Damaged(Corruption),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::NoMemory => f.write_str("there was no memory"),
            Reason::Unusable(what) => write!(f, "there was {what}"),
            Reason::Damaged(corruption) => write!(f, "{corruption}"),
        }
    }
}

impl Region {
    /// Joins or makes a region that survives the machine's restart: its memory is the file `memory`, in `/dev/shm` best, and
    /// what [`Session::persist`] writes goes to the file `image`, on a disk. Has [views](RegionOptions::views) whatever the options say.
    ///
    /// If nobody else has it open, the memory is checked first: by its header, and object by object. What can't be used is made anew from the image.
    /// [`Opened`] says what was found, and what is lost. Others may join it by [`Region::open`], but only those who open it like this can persist it.
    ///
    /// ```
    /// # use weald_hot::{Opened, Region, RegionOptions};
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let (memory, image) = (directory.path().join("memory"), directory.path().join("image"));
    /// let options = RegionOptions { capacity: 16 << 20, ..Default::default() };
    /// let (region, opened) = Region::open_persistent(&memory, &image, &options)?;
    /// assert_eq!(opened, Opened::Fresh);
    /// let session = region.join("example")?;
    /// session.put(b"colour", b"green")?;
    /// session.persist()?;
    /// session.put(b"size", b"large")?;
    /// drop((session, region));
    ///
    /// # std::fs::remove_file(&memory).unwrap();
    /// // The machine is started anew.
    /// let (region, opened) = Region::open_persistent(&memory, &image, &options)?;
    /// let Opened::Restored(restored, _) = opened else { panic!() };
    /// assert_eq!((restored.keys, restored.lost), (1, Some(0)));
    /// let session = region.join("example")?;
    /// assert!(session.contains(b"colour")? && !session.contains(b"size")?);
    /// # Ok::<(), weald_hot::Error>(())
    /// ```
    pub fn open_persistent(memory: &Path, image: &Path, options: &RegionOptions) -> Result<(Region, Opened)> {
        let options = RegionOptions {
            views: true,
            ..options.clone()
        };
        let image = Image {
            path: image.to_path_buf(),
            disk: Disk::new(),
        };
        let mut damage = None;
        loop {
            let joined = Region::join_or_prepare(memory, &options, |region| {
                let found = check(region);
                if let Err(Error::Corrupt(corruption)) = found {
                    damage = Some(corruption);
                    return Ok(false);
                }
                found.map(|()| true)
            })?;
            let (region, opened) = match joined {
                Joined::AsItWas(region) => (region, Opened::AsItWas),
                Joined::Prepared(region, unusable) => {
                    let restored = region.join("restoring")?.restore(&image.disk, &image.path);
                    let restored = match restored {
                        Ok(restored) => restored,
                        Err(error) => {
                            // The next to come shall not find half of it.
                            region.abandon(memory)?;
                            return Err(error);
                        }
                    };
                    let reason = match (damage, unusable) {
                        (Some(corruption), _) => Reason::Damaged(corruption),
                        (None, Some(why)) => Reason::Unusable(why),
                        (None, None) => Reason::NoMemory,
                    };
                    region.announce();
                    let opened = match restored {
                        Some(restored) => Opened::Restored(restored, reason),
                        None if reason == Reason::NoMemory => Opened::Fresh,
                        None => Opened::Lost(reason),
                    };
                    (region, opened)
                }
            };
            if let Some(region) = region.settle_with(memory, image.clone())? {
                return Ok((region, opened));
            }
        }
    }
}

/// Cleans up after those who died, and looks at everything.
fn check(region: &Region) -> Result<()> {
    let session = region.join("checking")?;
    session.recover()?;
    session.verify().map(drop)
}

impl Session {
    /// Writes a persist point: everything that is in the map at this instant survives the machine's restart. See [`save`](Session::save), which this
    /// is, to the image that the region was opened with.
    pub fn persist(&self) -> Result<PersistPoint> {
        match &self.shared.image {
            Some(image) => self.save(&image.disk as &dyn Vfs, &image.path),
            None => Err(Error::Invalid("a region that was not opened with an image")),
        }
    }
}
