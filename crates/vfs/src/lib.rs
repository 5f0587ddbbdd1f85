//! Files as Weald sees them.
//!
//! Everything durable in Weald passes through two small traits, [`Vfs`] (names) and [`File`] (bytes), so that a
//! test can put a simulated disk under the whole engine. [`Disk`] is the real one, [`Memory`] lives as long as the process,
//! [`SimDisk`] is the simulated one, which crashes and fails on demand.

mod crash;
mod disk;
mod file;
mod mapping;
mod memory;
mod names;

pub use crash::{Call, Explored, Fault, FaultKind, PowerCut, SimDisk, SimOptions};
pub use disk::Disk;
pub use file::{File, LockHeld, OpenMode, Vfs, WriteOp};
pub use mapping::Mapping;
pub use memory::Memory;
