//! Who is there: SWIM with suspicion, indirect probes and Lifeguard's local health. It decides where requests are sent first, and nothing else.
//!
//! [`Announcement`]s say who a node is, signed by it; [`Update`]s say what others think of it, and travel on probes. [`probe`] asks one peer after the other.
//! [`table`] is what this node believes. [`hello`] is how a node comes back after a restart, and is told when its data is an old copy.

mod announcement;
mod hello;
mod join;
mod probe;
mod table;

pub use announcement::{Announcement, Identity, Status, Update};
pub(crate) use hello::Standing;
pub(crate) use join::Joining;
pub(crate) use probe::Prober;
pub(crate) use table::Membership;
