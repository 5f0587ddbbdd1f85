//! The Jellyfish Merkle tree of Penumbra, over maps in memory: it brings no storage of its own, so what it takes is without any.

use std::collections::HashMap;
use std::path::Path;
use std::sync::RwLock;

use jmt::proof::SparseMerkleProof;
use jmt::storage::{LeafNode, Node, NodeKey, TreeReader, TreeUpdateBatch};
use jmt::{KeyHash, OwnedValue, RootHash, Sha256Jmt, Version};
use sha2::Sha256;

use super::Asked;
use super::grove::{Grove, Measure, VALUE_BYTES, key, value};
use crate::engine::{Error, Result};

/// All items in one tree. Keys are as long as hashes and as random, so they are not hashed again.
pub(crate) struct Jellyfish {
    records: Records,
    version: Version,
    root: Option<RootHash>,
}

/// What a storage would hold of the newest version.
#[derive(Default)]
struct Records {
    nodes: RwLock<HashMap<NodeKey, Node>>,
    values: RwLock<HashMap<KeyHash, OwnedValue>>,
}

impl Records {
    /// Takes the next version, and forgets what only earlier ones need.
    fn apply(&self, batch: TreeUpdateBatch) {
        let mut nodes = self.nodes.write().expect("no panic while nodes are written");
        let mut values = self.values.write().expect("no panic while values are written");
        for (at, node) in batch.node_batch.nodes() {
            nodes.insert(at.clone(), node.clone());
        }
        for ((_, key), value) in batch.node_batch.values() {
            match value {
                Some(value) => values.insert(*key, value.clone()),
                None => values.remove(key),
            };
        }
        for stale in &batch.stale_node_index_batch {
            nodes.remove(&stale.node_key);
        }
    }
}

impl TreeReader for Records {
    fn get_node_option(&self, at: &NodeKey) -> anyhow::Result<Option<Node>> {
        let nodes = self.nodes.read().expect("no panic while nodes are written");
        Ok(nodes.get(at).cloned())
    }

    fn get_value_option(&self, _newest: Version, key: KeyHash) -> anyhow::Result<Option<OwnedValue>> {
        let values = self.values.read().expect("no panic while values are written");
        Ok(values.get(&key).cloned())
    }

    fn get_rightmost_leaf(&self) -> anyhow::Result<Option<(NodeKey, LeafNode)>> {
        let nodes = self.nodes.read().expect("no panic while nodes are written");
        let leaves = nodes.iter().filter_map(|(at, node)| match node {
            Node::Leaf(leaf) => Some((at.clone(), leaf.clone())),
            _ => None,
        });
        Ok(leaves.max_by_key(|(_, leaf)| leaf.key_hash()))
    }
}

fn failed(error: impl std::fmt::Display) -> Error {
    Error::from(format!("jmt: {error:#}"))
}

impl Grove for Jellyfish {
    type Proof = SparseMerkleProof<Sha256>;

    fn open(_dir: &Path, _asked: &Asked) -> Result<Jellyfish> {
        Ok(Jellyfish {
            records: Records::default(),
            version: 0,
            root: None,
        })
    }

    fn insert(&mut self, from: u64, to: u64) -> Result<()> {
        let items = (from..to).map(|n| (KeyHash(key(n)), Some(value(n))));
        let next = self.root.map_or(0, |_| self.version + 1);
        let (root, batch) = Sha256Jmt::new(&self.records)
            .put_value_set(items, next)
            .map_err(failed)?;
        self.records.apply(batch);
        (self.version, self.root) = (next, Some(root));
        Ok(())
    }

    fn get_all(&self, times: u64, n: &dyn Fn(u64) -> u64, measure: &mut Measure<'_>) -> Result<()> {
        let tree = Sha256Jmt::new(&self.records);
        measure(
            times,
            &mut |i| match tree.get(KeyHash(key(n(i))), self.version).map_err(failed)? {
                Some(found) if found == value(n(i)) => Ok(()),
                _ => Err("another value".into()),
            },
        )
    }

    fn prove(&self, n: u64) -> Result<Self::Proof> {
        let proven = Sha256Jmt::new(&self.records).get_with_proof(KeyHash(key(n)), self.version);
        Ok(proven.map_err(failed)?.1)
    }

    fn verify(&self, proof: &Self::Proof, n: u64, present: bool) -> Result<()> {
        let root = self.root.ok_or("an empty tree")?;
        let verified = if present {
            proof.verify_existence(root, KeyHash(key(n)), value(n))
        } else {
            proof.verify_nonexistence(root, KeyHash(key(n)))
        };
        verified.map_err(failed)
    }

    fn proof_bytes(&self, proof: &Self::Proof, present: bool) -> Result<usize> {
        Ok(borsh::to_vec(proof)?.len() + if present { VALUE_BYTES } else { 0 })
    }
}
