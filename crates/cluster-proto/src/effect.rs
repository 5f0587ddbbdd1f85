//! What a node asks of its host.

use crate::client::Reply;
use crate::codec::Bytes;
use crate::id::{ClientToken, CopyId, NodeId, Token};
use crate::message::{Lane, Message};
use crate::store::StoreOp;

/// Whom a message is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum To {
    /// A node whose address is known: see [`Node::address_of`](crate::Node::address_of).
    Node(NodeId),
    /// Whoever is at this address: a seed.
    Address(Bytes),
}

/// Something for the host to do. The order matters only for storage operations of one space.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Send a message. It may be lost; it may not be changed. Lanes don't wait for each other.
    Send {
        /// For whom.
        to: To,
        /// On which queue.
        lane: Lane,
        /// What.
        message: Message,
    },
    /// Do something with the storage, and hand back the completion.
    Store {
        /// What the completion must name.
        token: Token,
        /// What to do.
        op: StoreOp,
    },
    /// Answer a client.
    Reply {
        /// Which.
        to: ClientToken,
        /// The answer.
        reply: Reply,
    },
    /// Something that an operator may want to know.
    Event(Event),
}

/// What happened to the cluster, as this node sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The node may serve: enough peers know it as who it is.
    Ready,
    /// Peers know of a later state of this node than the one it has. It begins again with an empty copy.
    CopyRefused {
        /// The copy from now on.
        copy: CopyId,
    },
    /// The wall clock jumped, and is not followed.
    ClockJumped,
    /// The wall clock is far from those of the others. The node doesn't serve while that is so.
    ClockRefused,
    /// A peer answers probes.
    Alive(NodeId),
    /// A peer did not answer, and others are asked.
    Suspected(NodeId),
    /// A peer has not answered for long. It still owns what it owns.
    Dead(NodeId),
    /// A peer said that it goes.
    Left(NodeId),
    /// A layout was installed.
    Layout {
        /// Its version.
        version: u64,
    },
    /// All partitions gained by a change are here.
    CaughtUp {
        /// The layout's version.
        version: u64,
    },
    /// A message was refused: its signature, its cluster, or who it claims to be from is wrong.
    Refused(NodeId),
}
