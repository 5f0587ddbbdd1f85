//! Views of a file's bytes in the address space.
//!
//! [`Region`](region::Region) owns the address range; [`Mapping`] lends it for reading, [`WriteMapping`]
//! copies into it. Every region is entered in the table of [`guard`], whose SIGBUS handler turns a page that
//! can't be had into zeros and a flag.

mod guard;
mod region;
mod view;
mod writable;

pub use view::Mapping;
pub(crate) use writable::{WriteMapping, missing_page};
