//! NOMT, a binary Merkle trie on flash storage. It flushes every commit, whether asked or not; CPU time tells little of that.

use std::path::Path;

use bitvec::order::Msb0;
use bitvec::view::BitView;
use nomt::hasher::Blake3Hasher;
use nomt::proof::PathProof;
use nomt::trie::{LeafData, ValueHash};
use nomt::{KeyReadWrite, Nomt, Options, SessionParams};

use super::Asked;
use super::grove::{Grove, Measure, VALUE_BYTES, key, value};
use crate::engine::{Error, Result};

/// All items in one trie. Keys are as long as its paths and as random, so they are not hashed first.
pub(crate) struct Trie {
    nomt: Nomt<Blake3Hasher>,
}

fn failed(error: impl std::fmt::Debug) -> Error {
    Error::from(format!("nomt: {error:?}"))
}

fn value_hash(n: u64) -> ValueHash {
    use nomt::hasher::ValueHasher;
    Blake3Hasher::hash_value(&value(n))
}

impl Grove for Trie {
    type Proof = PathProof;

    fn open(dir: &Path, _asked: &Asked) -> Result<Trie> {
        let mut options = Options::new();
        options.path(dir.join("nomt"));
        options.preallocate_ht(false);
        let nomt = Nomt::open(options).map_err(failed)?;
        Ok(Trie { nomt })
    }

    fn insert(&mut self, from: u64, to: u64) -> Result<()> {
        let session = self.nomt.begin_session(SessionParams::default());
        let mut items: Vec<_> = (from..to)
            .map(|n| (key(n), KeyReadWrite::Write(Some(value(n)))))
            .collect();
        items.sort_by(|a, b| a.0.cmp(&b.0));
        let finished = session.finish(items).map_err(failed)?;
        finished.commit(&self.nomt).map_err(failed)
    }

    fn get_all(&self, times: u64, n: &dyn Fn(u64) -> u64, measure: &mut Measure<'_>) -> Result<()> {
        let session = self.nomt.begin_session(SessionParams::default());
        measure(times, &mut |i| match session.read(key(n(i))).map_err(failed)? {
            Some(found) if found == value(n(i)) => Ok(()),
            _ => Err("another value".into()),
        })
    }

    fn prove(&self, n: u64) -> Result<PathProof> {
        let session = self.nomt.begin_session(SessionParams::default());
        session.prove(key(n)).map_err(failed)
    }

    fn verify(&self, proof: &PathProof, n: u64, present: bool) -> Result<()> {
        let root = self.nomt.root().into_inner();
        let key = key(n);
        let verified = proof
            .verify::<Blake3Hasher>(key.view_bits::<Msb0>(), root)
            .map_err(failed)?;
        let confirmed = if present {
            verified.confirm_value(&LeafData {
                key_path: key,
                value_hash: value_hash(n),
            })
        } else {
            verified.confirm_nonexistence(&key)
        };
        match confirmed {
            Ok(true) => Ok(()),
            other => Err(failed(other)),
        }
    }

    /// As its fields are long: it has an encoding of its own only with features that bring others.
    fn proof_bytes(&self, proof: &PathProof, present: bool) -> Result<usize> {
        let terminal = proof.terminal.as_leaf_option().map_or(1 + 32 + 2, |_| 1 + 64);
        Ok(terminal + 2 + 32 * proof.siblings.len() + if present { VALUE_BYTES } else { 0 })
    }
}
