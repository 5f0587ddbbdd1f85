//! How Weald's nodes agree, as a state machine: messages, completions and time go in, messages, storage operations and replies come out.
//!
//! A [`Node`] has no socket, no clock, no thread and no randomness but from its seed, so real nodes and simulated ones run the same code, and a run can be repeated.
//!
//! - Any node takes any [`Request`]. A write is acknowledged when a quorum has applied it, as durably as was asked. Quorums are those of the layout: they don't shrink because
//!   nodes are away.
//! - Who owns what is a [`Layout`], agreed version by version. Who is there is gossip, and decides only whom to ask first.
//! - Versions follow the clocks within a bound that is enforced; the greatest stays. [`Request::CompareAndSet`] is linearizable.
//! - Replicas that differ converge; a deletion is forgotten only when all owners have it.
//!
//! What each level promises is in `docs/consistency.md`, the bytes of messages are in `docs/wire.md`. The host owes what [`Effect`], [`StoreOp`] and [`Identity`] say.
//!
//! The price: every write carries a version of 16 bytes and travels to all owners; comparisons and rounds of settling go on for ever, a little at a time.
//!
//! ```
//! use std::collections::BTreeMap;
//! use weald_cluster_proto::*;
//!
//! /// Admits everybody. Real hosts check Ed25519 signatures.
//! struct Open;
//! impl Identity for Open {
//!     fn sign(&self, _: &[u8]) -> Vec<u8> {
//!         Vec::new()
//!     }
//!     fn verify(&self, _: NodeId, _: &[u8], _: &[u8]) -> bool {
//!         true
//!     }
//! }
//!
//! let member = Member { copy: CopyId(1), weight: 1, zone: 0, address: b"here"[..].into() };
//! let layout = Layout::initial(4, Quorums::balanced(1), BTreeMap::from([(NodeId(7), member)]))?;
//! let now = Now { steady_ms: 0, wall_ms: 1_700_000_000_000 };
//! let config = Config::new(NodeId(7), 1);
//! let mut node = Node::new(config, Start::Found(layout), &Meta::new(), Box::new(Open), 1, now)?;
//!
//! // The first thing it wants is to store who it is.
//! let Some(Effect::Store { token, op: StoreOp::Meta { .. } }) = node.effects().next() else { panic!() };
//! node.complete(token, Completion::Done, now);
//! node.tick(now);
//! assert!(node.is_serving());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod bugs;
mod client;
mod clock;
mod codec;
mod config;
mod coordinator;
mod effect;
mod entry;
mod few;
mod id;
mod layout;
mod membership;
mod message;
mod node;
mod random;
mod register;
mod repair;
mod replica;
mod stats;
mod store;

pub use bugs::Bug;
pub use client::{Error, Expect, Found, Reply, Request};
pub use clock::{Now, Version};
pub use codec::{Bytes, DecodeError, Reader, Wire, Writer};
pub use config::{Config, KEY_MAX, KEYS_MAX, Level, MESSAGE_MAX, Quorums, REPLICAS_MAX, VALUE_MAX};
pub use effect::{Effect, Event, To};
pub use entry::{Ballot, Entry, Past, Rank, Record, Register, key_hash};
pub use id::{ClientToken, CopyId, NodeId, Owner, Partition, RequestId, Token};
pub use layout::{
    Accepted, Assignment, Layout, LayoutChange, LayoutError, Member, PARTITION_BITS_MAX, Phase,
};
pub use membership::{Announcement, Identity, Status as MemberStatus, Update};
pub use message::{
    Body, Lane, Message, Origin, ReadItem, Refusal, Summary, Verdict, WIRE_VERSION, WriteItem, Written,
};
pub use node::{Node, Start, StartError};
pub use random::Random;
pub use stats::{PartitionStats, PeerStatus, Stats, Status};
pub use store::{Change, Completion, Decision, Meta, Outcome, Space, StoreOp};
