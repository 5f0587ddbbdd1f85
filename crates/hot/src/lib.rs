//! Shared memory that survives its users: regions that several processes map, an allocator and a map in them, for processes that may be
//! killed at any instruction.

#![cfg_attr(loom, allow(dead_code))]

mod protocol;
mod sync;

mod actor;
mod class;
mod error;
mod heap;
mod layout;
mod map;
mod order;
mod process;
mod raw;
mod recovery;
mod region;
mod session;
mod verify;

pub use error::{Corruption, Error, Result};
pub use heap::Object;
pub use map::{Change, Expected, Swap, ValueRef};
pub use order::Range;
pub use region::{Numa, PageSize, Region, RegionInfo, RegionOptions};
pub use session::{Member, Session};
pub use verify::Report;
