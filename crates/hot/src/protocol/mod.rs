//! The lock-free protocols, each over bare atomic words, so that the same code runs on a region and in loom.
//!
//! One rule runs through all of them: *a single word tells the truth, everything else is a hint*. An object's header says
//! whether it is free and whose it is; a slot of the map says which entry a key has. Bitmaps of free objects, stacks and active slots only
//! say where to look. So every change of truth is one compare-and-swap, a process that dies between two of them leaves
//! at worst a hint that is wrong, and a process that is stopped holds up nobody.

pub(crate) mod dating;
pub(crate) mod epoch;
pub(crate) mod header;
pub(crate) mod line;
pub(crate) mod lookup;
#[cfg(all(test, loom))]
mod models;
pub(crate) mod stack;
pub(crate) mod watch;

/// How often a loop that others can make go round tries again. Only a peer that breaks the protocols can use it up, or a machine in
/// deep trouble; the caller is told [`Again`](crate::Error::Again).
pub(crate) const RETRIES: u32 = 100_000;
