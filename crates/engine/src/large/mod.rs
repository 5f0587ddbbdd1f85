//! Values that are too long for a leaf: each in a run of contiguous pages of its own.
//!
//! [`format`] has the bytes of a run and what may be wrong with them; [`writer`] makes them from a reader, a buffer at a time.

pub(crate) mod format;
#[cfg(test)]
mod tests;
pub(crate) mod writer;
