//! What clients ask, and what they get.

use thiserror::Error;

use crate::clock::Version;
use crate::codec::Bytes;
use crate::config::Level;
use crate::layout::{LayoutChange, LayoutError};

/// A request of a client. Any node takes any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Reads keys; one message per node, however many.
    Get {
        /// Which.
        keys: Vec<Bytes>,
        /// How many replicas must answer.
        read: Level,
    },
    /// Writes keys, or with `None` deletes them; one message per node, however many. Each key stands for itself: some may succeed and others not.
    Put {
        /// Keys and values.
        items: Vec<(Bytes, Option<Bytes>)>,
        /// How long the values live.
        ttl_ms: Option<u64>,
        /// How many replicas must have applied it.
        write: Level,
        /// Whether each of them must have made it durable.
        durable: bool,
    },
    /// Changes a key if it holds what is expected. Linearizable, with all others of its kind.
    CompareAndSet {
        /// Which key.
        key: Bytes,
        /// What it must hold.
        expect: Expect,
        /// What it holds then; `None` deletes.
        value: Option<Bytes>,
        /// How long the value lives.
        ttl_ms: Option<u64>,
    },
    /// Reads a key through its register: linearizable with compare-and-set.
    GetRegister {
        /// Which key.
        key: Bytes,
    },
    /// Reads keys in their order, up to a limit.
    Scan {
        /// From this key on.
        start: Bytes,
        /// Before this one.
        end: Option<Bytes>,
        /// At most so many.
        limit: usize,
        /// How many replicas of each partition must answer.
        read: Level,
    },
    /// Changes who owns what.
    ChangeLayout(LayoutChange),
}

/// What a compare-and-set expects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Whatever is there.
    Anything,
    /// Nothing.
    Absent,
    /// This version.
    Version(Version),
    /// This value.
    Value(Bytes),
}

/// What a key holds, as a reader sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The version of the value, or of the deletion where that is still known.
    pub version: Option<Version>,
    /// The value.
    pub value: Option<Bytes>,
    /// When the value expires, in milliseconds since 1970.
    pub expires_ms: Option<u64>,
}

/// An answer to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// To a get: one for each key, in order.
    Values(Vec<Result<Found, Error>>),
    /// To a put: the version of each, in order.
    Written(Vec<Result<Version, Error>>),
    /// To a compare-and-set.
    Compared {
        /// Whether the key held what was expected, and so was changed.
        swapped: bool,
        /// What the key held then: what was written, even if others have followed since, or what was met.
        found: Found,
    },
    /// To a read of a register.
    Register(Found),
    /// To a scan.
    Page {
        /// Keys that are there, in order.
        entries: Vec<(Bytes, Found)>,
        /// Where to go on; `None` at the end.
        next: Option<Bytes>,
    },
    /// To a change of the layout: the version that has begun.
    LayoutChanged {
        /// The version.
        version: u64,
    },
    /// The request as a whole failed.
    Failed(Error),
}

/// Why a request failed. Every variant says whether it may have had an effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Error {
    /// Too few replicas answered in time. A write is on those that did, and may yet reach the others.
    #[error("{answered} of {needed} replicas answered, {refused} refused")]
    NotEnough {
        /// The quorum.
        needed: u8,
        /// Replicas that did what was asked.
        answered: u8,
        /// Replicas that would not.
        refused: u8,
    },
    /// It is not known whether the change took effect.
    #[error("it is not known whether the change took effect")]
    Unknown,
    /// Others changed the key again and again, until whoever repeats a compare-and-set gave up. Nothing was changed. The protocol itself never gives this answer; plain writes don't fail because of others.
    #[error("too many others change the same key")]
    Contended,
    /// The node has too much to do. Nothing was changed.
    #[error("the node has too many requests at once")]
    Overloaded,
    /// The node has no layout yet, is not known to its peers yet, or its clock is not. Nothing was changed.
    #[error("the node is not ready to serve")]
    NotReady,
    /// The request makes no sense: too long, too many, or a quorum greater than the number of replicas. Nothing was changed.
    #[error("the request is not valid: {0}")]
    Invalid(&'static str),
    /// The layout can't be changed like that.
    #[error(transparent)]
    Layout(#[from] LayoutError),
}
