//! The Jellyfish Merkle tree (the crate `jmt`), in memory: one tree of hashed keys, without order, ranges, sums or subtrees.

use std::path::Path;

use jmt::mock::MockTreeStore;
use jmt::proof::SparseMerkleProof;
use jmt::storage::TreeWriter;
use jmt::{KeyHash, Sha256Jmt};
use sha2::Sha256;

use super::grove::{Grove, Measure, key, value};
use crate::engine::{Error, Result};

pub(crate) struct Trees {
    nodes: MockTreeStore,
    /// The commits so far; old versions stay.
    version: u64,
}

fn hash(n: u64) -> KeyHash {
    KeyHash::with::<Sha256>(key(n))
}

impl Trees {
    fn newest(&self) -> u64 {
        self.version.saturating_sub(1)
    }
}

impl Grove for Trees {
    type Proof = SparseMerkleProof<Sha256>;

    fn open(_: &Path) -> Result<Trees> {
        Ok(Trees {
            nodes: MockTreeStore::default(),
            version: 0,
        })
    }

    fn insert(&mut self, from: u64, to: u64) -> Result<()> {
        let items = (from..to).map(|n| (hash(n), Some(value(n))));
        let (_, batch) = Sha256Jmt::new(&self.nodes)
            .put_value_set(items, self.version)
            .map_err(Error::from)?;
        self.nodes
            .write_node_batch(&batch.node_batch)
            .map_err(Error::from)?;
        self.version += 1;
        Ok(())
    }

    fn get_all(&self, times: u64, n: &dyn Fn(u64) -> u64, measure: &mut Measure<'_>) -> Result<()> {
        let tree = Sha256Jmt::new(&self.nodes);
        measure(times, &mut |i| {
            let found = tree.get(hash(n(i)), self.newest()).map_err(Error::from)?;
            if found != Some(value(n(i))) {
                return Err("another value".into());
            }
            Ok(())
        })
    }

    fn prove(&self, n: u64) -> Result<Self::Proof> {
        let tree = Sha256Jmt::new(&self.nodes);
        let (_, proof) = tree.get_with_proof(hash(n), self.newest()).map_err(Error::from)?;
        Ok(proof)
    }

    fn verify(&self, proof: &Self::Proof, n: u64, present: bool) -> Result<()> {
        let root = Sha256Jmt::new(&self.nodes)
            .get_root_hash(self.newest())
            .map_err(Error::from)?;
        let verified = if present {
            proof.verify_existence(root, hash(n), value(n))
        } else {
            proof.verify_nonexistence(root, hash(n))
        };
        verified.map_err(Error::from)
    }

    fn proof_bytes(&self, proof: &Self::Proof) -> Result<usize> {
        // The value is sent beside it.
        Ok(borsh::to_vec(proof)?.len() + value(0).len())
    }
}
