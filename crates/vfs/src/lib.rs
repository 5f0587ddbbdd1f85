//! Files as Weald sees them.
//!
//! Everything durable in Weald passes through two small traits, [`Vfs`] (names) and [`File`] (bytes), so that a
//! test can put a simulated disk under the whole engine.

mod file;
mod mapping;

pub use file::{File, LockHeld, OpenMode, Vfs, WriteOp};
pub use mapping::Mapping;
