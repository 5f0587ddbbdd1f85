//! What the fuzz targets reach and users don't: the decoders of everything that lies on a disk.
//!
//! Built with `--cfg fuzzing` only, so that it is no part of the library. Each function takes any bytes and panics where an
//! invariant does not hold; what errors come of them does not matter.
//!
//! ```text
//!  pages      a tree some of whose pages are forged, checksums included
//!  log        a log some of whose bytes are changed; (operations of a commit: `wal::fuzz`)
//!  file       a database file that is forged; meta pages; lists of free pages
//!  values     runs of large values, images of Bloom filters
//! ```

mod file;
mod log;
mod pages;
mod values;

pub use file::{database, free_list, meta};
pub use log::log;
pub use pages::pages;
pub use values::{bloom, large};

pub use crate::wal::fuzz::batch;

/// Bytes of an input, taken from its front; zeros once it is used up.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn byte(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or(0)
    }

    fn short(&mut self) -> usize {
        usize::from(self.byte()) << 8 | usize::from(self.byte())
    }

    fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Changes `target` as the input says, in one place: overwrites some bytes, or sets a field to an extreme, or adds to it.
    fn patch(&mut self, target: &mut [u8]) {
        if target.is_empty() {
            return;
        }
        let at = self.short() % target.len();
        match self.byte() % 4 {
            0 => {
                let len = usize::from(self.byte());
                let bytes = self.take(len);
                for (old, new) in target[at..].iter_mut().zip(bytes) {
                    *old = *new;
                }
            }
            1 => target[at..].iter_mut().take(8).for_each(|byte| *byte = 0xff),
            2 => target[at] = target[at].wrapping_add(self.byte()),
            _ => target[at] ^= 1 << (self.byte() % 8),
        }
    }
}
