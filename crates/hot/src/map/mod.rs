//! The map: lines of six slots, each slot the place of an entry.
//!
//! Reading takes no lock and writes nothing but the session's own pin. A write makes an entry of its own and puts it in place of
//! the old one by a single compare-and-swap; see [`line`](crate::protocol::line) for insertions and [`table`] for growth. Looking up is written twice: as it nearly always
//! goes ([`glance`]), and with all that may happen ([`read`]).

pub(crate) mod entry;
mod glance;
mod hash;
mod quick;
mod read;
mod scan;
pub(crate) mod slot;
pub(crate) mod table;
mod write;

pub use read::ValueRef;
#[cfg(feature = "persist")]
pub(crate) use scan::Item;
pub use scan::Scan;
pub use write::{Change, Expected, Swap};
