//! What clients asked and what they were told, with the true time of both.

use weald_cluster_proto::{Bytes, Version};

/// What a client wanted of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// A plain read.
    Get,
    /// A plain write; `None` deletes.
    Put(Option<Bytes>, Option<u64>),
    /// A read through the register.
    Read,
    /// A compare-and-set: the expected value, and the one to set.
    Swap(Option<Bytes>, Option<Bytes>),
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// No answer, or one that says that it isn't known.
    Unknown,
    /// Certainly nothing.
    Nothing,
    /// A write was acknowledged with this version.
    Written(Version),
    /// What was read.
    Found(Option<Version>, Option<Bytes>, Option<u64>),
    /// Whether a swap was made.
    Swapped(bool),
}

/// One operation on one key.
#[derive(Clone, Debug)]
pub struct Event {
    /// The key.
    pub key: Bytes,
    /// What was wanted.
    pub action: Action,
    /// Whether its quorum meets every other strong one.
    pub strong: bool,
    /// When it was asked, in microseconds of true time.
    pub start: u64,
    /// When it was answered; never, if it wasn't.
    pub end: u64,
    /// What came of it.
    pub outcome: Outcome,
}
