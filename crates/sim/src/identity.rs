//! Signatures that only look like ones: a keyed sum that the simulated attacker doesn't compute.

use weald_cluster_proto::{Identity, NodeId, key_hash};

/// The signing half of a simulated node.
pub(crate) struct SimIdentity {
    node: NodeId,
}

impl SimIdentity {
    pub(crate) fn new(node: NodeId) -> SimIdentity {
        SimIdentity { node }
    }
}

fn signature(node: NodeId, bytes: &[u8]) -> Vec<u8> {
    let keyed = [b"secret".as_slice(), &node.0.to_le_bytes(), bytes].concat();
    key_hash(&keyed).to_le_bytes().to_vec()
}

/// Nodes from this number on are strangers.
pub(crate) const STRANGERS: u64 = 1000;

impl Identity for SimIdentity {
    fn sign(&self, bytes: &[u8]) -> Vec<u8> {
        signature(self.node, bytes)
    }

    fn verify(&self, node: NodeId, bytes: &[u8], claimed: &[u8]) -> bool {
        node.0 < STRANGERS && signature(node, bytes) == claimed
    }
}
