//! Files as Weald sees them.
//!
//! Everything durable in Weald passes through two small traits, [`Vfs`] (names) and [`File`] (bytes), so that
//! a test can put a simulated disk under the whole engine. Three file systems implement them:
//!
//! - [`Disk`], the operating system's: batches joined into large writes, past the page cache or through
//!   io_uring where [`DiskOptions`] asks for it, mappings that survive a file cut by others, locks that end
//!   with their holder;
//! - [`Memory`], which lives as long as the process;
//! - [`SimDisk`], which loses, tears and reorders what was not flushed, and fails on demand.
//!
//! The one thing beside files, in builds for Linux with the feature `sockets`, is a ring for sockets, `SocketRing`: it is here because its operations need
//! the same care as those of the disk's ring, and `unsafe` stays in one crate.
//!
//! Nothing is durable before it was flushed, and bytes and names are flushed apart: [`File::sync_data`],
//! [`Vfs::sync_dir`].
//!
//! # Example
//!
//! Code written against the traits runs on all of them:
//!
//! ```
//! use std::io;
//! use std::path::Path;
//! use weald_vfs::{Disk, Memory, OpenMode, SimDisk, SimOptions, Vfs};
//!
//! fn save(vfs: &dyn Vfs, dir: &Path, text: &[u8]) -> io::Result<()> {
//!     let fresh = dir.join("settings.fresh");
//!     let file = vfs.open(&fresh, OpenMode::Create)?;
//!     file.set_len(0)?;
//!     file.write_all_at(text, 0)?;
//!     file.sync_data()?; // before the name: a rename may survive a crash that its file doesn't
//!     vfs.rename(&fresh, &dir.join("settings"))?;
//!     vfs.sync_dir(dir)
//! }
//!
//! # fn main() -> io::Result<()> {
//! # let dir = tempfile::tempdir()?;
//! save(&Disk::new(), dir.path(), b"on")?;
//! save(&Memory::new(), Path::new("/"), b"on")?;
//!
//! // Whatever the crash leaves, it is the old text or the new one.
//! let disk = SimDisk::new(1, SimOptions::default());
//! save(&disk, Path::new("/"), b"on")?;
//! for operation in 0.. {
//!     let disk = disk.after_kill();
//!     disk.crash_after(operation);
//!     let saved = save(&disk, Path::new("/"), b"off");
//!     disk.each_crash(1000, |found| {
//!         let text = found.read_file("/settings").expect("it was there before");
//!         assert!(text == b"off" || saved.is_err() && text == b"on");
//!     });
//!     if saved.is_ok() {
//!         break;
//!     }
//! }
//! # Ok(())
//! # }
//! ```

mod crash;
mod disk;
mod file;
mod mapping;
mod memory;
mod rules;
#[cfg(all(target_os = "linux", feature = "sockets"))]
mod sockets;

pub use crash::{Call, Explored, Fault, FaultKind, PowerCut, SimDisk, SimOptions};
pub use disk::{Disk, DiskOptions, IoBackend};
pub use file::{File, LockHeld, OpenMode, ReadOp, Vfs, WriteOp};
pub use mapping::Mapping;
pub use memory::Memory;
#[cfg(all(target_os = "linux", feature = "sockets"))]
pub use sockets::{Ended, SocketRing, Waker};
