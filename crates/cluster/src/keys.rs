//! What lets a node into a cluster: its own key, the cluster's name and secret, and, if the operator wishes, the list of those who may take part.

use std::collections::BTreeSet;
use std::sync::Arc;

use weald_cluster_proto::NodeId;
use zeroize::Zeroizing;

use crate::identity::{Identity, signer};

/// A node's key, and what the nodes of its cluster have in common.
///
/// Whoever has the secret and a key takes part, unless [`admitting`](Keys::admitting) lists who may.
#[derive(Clone)]
pub struct Keys {
    pub(crate) identity: Identity,
    pub(crate) secret: Arc<Zeroizing<[u8; 32]>>,
    pub(crate) cluster: u64,
    admitted: Option<Arc<BTreeSet<NodeId>>>,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys")
            .field("node", &self.identity.node())
            .field("cluster", &self.cluster)
            .finish_non_exhaustive()
    }
}

impl Keys {
    /// For a cluster of that name and secret. The secret should be random, and of 16 bytes or more: short ones can be guessed by whoever may connect.
    pub fn new(identity: Identity, cluster: &str, secret: &[u8]) -> Keys {
        let name = blake3::derive_key("weald name of a cluster", cluster.as_bytes());
        Keys {
            identity,
            secret: Arc::new(Zeroizing::new(blake3::derive_key(
                "weald secret of a cluster",
                secret,
            ))),
            cluster: u64::from_le_bytes(*name.first_chunk().expect("a hash is longer")),
            admitted: None,
        }
    }

    /// Lets only these nodes in, whoever else has the secret.
    pub fn admitting(mut self, nodes: impl IntoIterator<Item = NodeId>) -> Keys {
        self.admitted = Some(Arc::new(nodes.into_iter().collect()));
        self
    }

    /// The node whose key this is.
    pub fn node(&self) -> NodeId {
        self.identity.node()
    }

    pub(crate) fn admits(&self, node: NodeId) -> bool {
        self.admitted.as_ref().is_none_or(|nodes| nodes.contains(&node))
    }
}

impl weald_cluster_proto::Identity for Keys {
    fn sign(&self, bytes: &[u8]) -> Vec<u8> {
        self.identity.sign(bytes)
    }

    fn verify(&self, node: NodeId, bytes: &[u8], signature: &[u8]) -> bool {
        self.admits(node) && signer(bytes, signature) == Some(node)
    }
}
