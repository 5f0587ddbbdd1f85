//! Shared memory that survives its users: regions that several processes map, an allocator and a map in them, for processes that may be
//! killed at any instruction.

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
mod recovery;
#[cfg(not(loom))]
mod region;
#[cfg(not(loom))]
mod session;
#[cfg(not(loom))]
mod verify;

#[cfg(not(loom))]
pub use cache::CacheStats;
#[cfg(not(loom))]
pub use error::{Corruption, Error, Result};
#[cfg(not(loom))]
pub use heap::Object;
#[cfg(not(loom))]
pub use map::{Change, Expected, Swap, ValueRef};
#[cfg(not(loom))]
pub use order::Range;
#[cfg(not(loom))]
pub use region::{Numa, PageSize, Region, RegionInfo, RegionOptions};
#[cfg(not(loom))]
pub use session::{Member, Session};
#[cfg(not(loom))]
pub use verify::Report;
