//! How messages get from node to node, behind one trait: [`Tcp`], with or without TLS, the same by io_uring, [`Udp`] or QUIC for real, [`MemoryNet`] within a process.
//!
//! A message may be lost, and then is asked for again by the protocol; it is never changed, repeated, or passed off as another node's. Nothing here waits for
//! a peer while the node waits for it: what finds its queue full is dropped and counted. What arrives faster than the node takes it is left with the sender.

mod kind;
mod lanes;
mod memory;
mod messages;
#[cfg(feature = "quic")]
mod quic;
mod session;
mod tcp;
#[cfg(feature = "tls")]
mod tls;
mod udp;
#[cfg(all(target_os = "linux", feature = "io_uring"))]
mod uring;

use std::sync::Arc;

use weald_cluster_proto::{Lane, NodeId};

pub use kind::{TransportKind, UnknownTransport};
pub use memory::{MemoryNet, MemoryTransport};
pub use messages::Messages;
#[cfg(feature = "quic")]
pub use quic::Quic;
pub use tcp::{Tcp, TcpError, TcpOptions};
pub use udp::{Udp, UdpOptions};
#[cfg(all(target_os = "linux", feature = "io_uring"))]
pub use uring::Uring;

/// Where arriving messages go.
pub trait Receive: Send + Sync {
    /// Takes a message of that node, waiting while there is no room. An error says that it is no message, or that the node has stopped: the sender is cut off.
    fn receive(&self, from: NodeId, message: &[u8]) -> Result<(), Refused>;

    /// Takes messages that came together, in their order: the same as one by one, but the node is woken once.
    fn receive_all(&self, from: NodeId, messages: &Messages) -> Result<(), Refused> {
        messages
            .iter()
            .try_for_each(|message| self.receive(from, message))
    }
}

/// A message was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused;

/// A way to other nodes.
pub trait Transport: Send + Sync {
    /// Where peers reach this node.
    fn address(&self) -> Vec<u8>;

    /// Begins to hand on what arrives. What came before is not kept.
    fn start(&self, receiver: Arc<dyn Receive>);

    /// Queues a message for the node at that address, or, without a node, for whoever is there. `false`: there was no room, or no use; it is dropped.
    /// Never waits.
    fn send(&self, to: Option<NodeId>, address: &[u8], lane: Lane, message: Vec<u8>) -> bool;

    /// Queues messages that are ready at the same time, and says how many of them were dropped: the same as one by one, but whoever sends them is woken once.
    fn send_all(&self, to: Option<NodeId>, address: &[u8], messages: Vec<(Lane, Vec<u8>)>) -> usize {
        let sent = |(lane, message)| self.send(to, address, lane, message);
        messages.into_iter().map(sent).filter(|sent| !sent).count()
    }

    /// What was counted.
    fn stats(&self) -> TransportStats;

    /// Sends what is queued, for a moment, and ends. Nothing arrives afterwards.
    fn stop(&self);
}

/// Counts since a transport was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TransportStats {
    /// Messages sent.
    pub sent: u64,
    /// Bytes written, encryption and all.
    pub sent_bytes: u64,
    /// Writes that they took: messages that wait together share one.
    pub writes: u64,
    /// Messages that were not sent.
    pub dropped: u64,
    /// Messages that arrived.
    pub received: u64,
    /// Bytes that arrived.
    pub received_bytes: u64,
    /// Connections that were made, by us or by others, and proved genuine.
    pub sessions: u64,
    /// Connections whose other side could not prove who it is, or sent what no node sends.
    pub refused: u64,
    /// Connections that could not be made, or broke.
    pub broken: u64,
}
