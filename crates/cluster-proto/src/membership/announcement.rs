//! What a node says of itself, and what others say of it.

use crate::codec::{Bytes, Wire, wire_enum, wire_struct};
use crate::id::{CopyId, NodeId, Owner};

/// Signs for this node and checks what others signed. The host has the keys.
pub trait Identity: Send {
    /// Signs bytes as this node.
    fn sign(&self, bytes: &[u8]) -> Vec<u8>;
    /// Whether that node signed them, and is admitted to the cluster at all.
    fn verify(&self, node: NodeId, bytes: &[u8], signature: &[u8]) -> bool;
}

/// Who a node is. Only the node itself can make one, so nobody else can speak for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// Of which cluster, so that it can't be used in another.
    pub cluster: u64,
    /// The node.
    pub node: NodeId,
    /// Its copy.
    pub copy: CopyId,
    /// How often this copy was started.
    pub boot: u64,
    /// Drawn at each start: two starts from the same files differ in it.
    pub run: u64,
    /// How often it has denied being gone since it was started.
    pub denied: u32,
    /// It is about to stop.
    pub leaving: bool,
    /// Where peers reach it.
    pub address: Bytes,
    /// The node's signature of all of the above.
    pub signature: Bytes,
}

wire_struct!(Announcement {
    cluster,
    node,
    copy,
    boot,
    run,
    denied,
    leaving,
    address,
    signature
});

impl Announcement {
    /// The copy that it speaks for.
    pub fn owner(&self) -> Owner {
        Owner {
            node: self.node,
            copy: self.copy,
        }
    }

    /// Among announcements of one copy, the greater is the later.
    pub(crate) fn order(&self) -> (u64, u32, bool) {
        (self.boot, self.denied, self.leaving)
    }

    fn signed_bytes(&self) -> Vec<u8> {
        let unsigned = Announcement {
            signature: Bytes::from([]),
            ..self.clone()
        };
        let mut bytes = b"weald announcement\0".to_vec();
        unsigned.put(&mut bytes);
        bytes
    }

    pub(crate) fn sign(mut self, identity: &dyn Identity) -> Announcement {
        self.signature = identity.sign(&self.signed_bytes()).into();
        self
    }

    pub(crate) fn is_genuine(&self, cluster: u64, identity: &dyn Identity) -> bool {
        self.cluster == cluster
            && self.address.len() <= 256
            && identity.verify(self.node, &self.signed_bytes(), &self.signature)
    }
}

/// What somebody thinks of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// It answers.
    Alive,
    /// It did not answer somebody.
    Suspect,
    /// It has not answered for long, or said that it goes.
    Dead,
}

wire_enum!(Status { 0 => Alive, 1 => Suspect, 2 => Dead });

/// What somebody thinks of a node as it announced itself. It is void as soon as the node makes a later announcement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// The node, in its own words.
    pub announcement: Announcement,
    /// What is thought of it.
    pub status: Status,
    /// Who says so.
    pub by: NodeId,
}

wire_struct!(Update {
    announcement,
    status,
    by
});
