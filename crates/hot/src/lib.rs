//! Shared memory that survives its users: regions that several processes map, an allocator and a map in them, for processes that may be
//! killed at any instruction.
//!
//! - Writes and reads are lock-free: a process that is killed or stopped holds up nobody.
//! - What a dead process had begun is finished or undone by whoever meets it next; what it had allocated comes back.
//! - Nothing that stands in a region is trusted: a broken peer causes errors and wrong values, but no access outside the region, no endless
//!   loop and no panic.
//!
//! ```
//! use weald_hot::{Region, RegionOptions};
//!
//! let region = Region::memfd(&RegionOptions { capacity: 64 << 20, ..Default::default() })?;
//! let session = region.join("web worker 7")?;
//! session.put(b"user:1", b"Ada")?;
//! assert_eq!(session.get(b"user:1")?.as_deref(), Some(&b"Ada"[..]));
//! assert_eq!(session.fetch_add(b"visits", 1)?, 1);
//! # Ok::<(), weald_hot::Error>(())
//! ```
//!
//! # Trade-offs
//!
//! Every change of a value writes a whole new entry. A session that stays pinned (by a [`ValueRef`], or because its process was stopped inside an
//! operation) keeps all memory that is freed meanwhile from being used again. After a death somebody pays for a walk over all objects. The
//! table of the map doesn't shrink. Layout and protocols are described in `docs/shared-memory.md`.

mod protocol;
mod sync;

#[cfg(not(loom))]
mod actor;
#[cfg(not(loom))]
mod cache;
#[cfg(not(loom))]
mod class;
#[cfg(not(loom))]
mod error;
#[cfg(not(loom))]
mod heap;
#[cfg(all(not(loom), feature = "persist"))]
mod image;
#[cfg(not(loom))]
mod layout;
#[cfg(not(loom))]
mod map;
#[cfg(not(loom))]
mod order;
#[cfg(not(loom))]
mod process;
#[cfg(not(loom))]
mod raw;
#[cfg(not(loom))]
mod reader;
#[cfg(not(loom))]
mod recovery;
#[cfg(not(loom))]
mod region;
#[cfg(not(loom))]
mod ring;
#[cfg(not(loom))]
mod session;
#[cfg(not(loom))]
mod verify;
#[cfg(not(loom))]
mod view;

#[cfg(not(loom))]
pub use cache::CacheStats;
#[cfg(not(loom))]
pub use error::{Corruption, Error, Result};
#[cfg(not(loom))]
pub use heap::Object;
#[cfg(all(not(loom), feature = "persist"))]
pub use image::{Opened, PersistPoint, Reason, Restored};
#[cfg(not(loom))]
pub use map::{Change, Expected, Scan, Swap, ValueRef};
#[cfg(not(loom))]
pub use order::Range;
#[cfg(not(loom))]
pub use reader::{Reader, ReaderRange};
#[cfg(not(loom))]
pub use region::{Lifetime, Numa, PageSize, Region, RegionInfo, RegionOptions};
#[cfg(not(loom))]
pub use session::{Member, Session};
#[cfg(not(loom))]
pub use verify::Report;
#[cfg(not(loom))]
pub use view::View;
