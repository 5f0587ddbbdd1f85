//! `DEBUG DIGEST` and `DEBUG DIGEST-VALUE`: a number that is the same for the same data, in whatever order they are kept and however encoded.
//!
//! What has an order is hashed in that order; what has none is hashed element by element, and these hashes are combined so that their order does not matter. The hash is
//! BLAKE3, cut to the 20 bytes that Redis shows: its own digests are others, so they compare data of two servers that are both Weald.

use crate::error::CommandError;
use crate::keyspace::{Keyspace, Kind, Record, Slice, score_in};

/// The digest of some data.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Digest([u8; 20]);

impl Digest {
    /// That of some parts, one after the other.
    fn of(parts: &[&[u8]]) -> Digest {
        let mut hasher = blake3::Hasher::new();
        parts.iter().for_each(|part| add(&mut hasher, part));
        Digest::from(&hasher)
    }

    fn from(hasher: &blake3::Hasher) -> Digest {
        let mut cut = [0; 20];
        cut.copy_from_slice(&hasher.finalize().as_bytes()[..20]);
        Digest(cut)
    }

    /// Combines it with another, whichever was first.
    fn join(&mut self, other: Digest) {
        self.0.iter_mut().zip(other.0).for_each(|(a, b)| *a ^= b);
    }
}

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

fn add(hasher: &mut blake3::Hasher, part: &[u8]) {
    hasher.update(&(part.len() as u64).to_le_bytes());
    hasher.update(part);
}

/// The digest of a value, and of whether it expires.
pub(super) fn of_value(
    keyspace: &Keyspace<'_>,
    db: usize,
    record: &Record<'_>,
) -> Result<Digest, CommandError> {
    let mut digest = Digest::default();
    match record.kind {
        Kind::String => digest = Digest::of(&[b"string", record.string()?]),
        Kind::List => {
            let mut hasher = blake3::Hasher::new();
            add(&mut hasher, b"list");
            let all = Slice {
                start: 0,
                end: record.count(),
            };
            keyspace.each_element(db, record, all, false, |_, element| {
                add(&mut hasher, element);
                true
            })?;
            digest = Digest::from(&hasher);
        }
        Kind::Set => keyspace.each_of(db, record, |member, _| {
            digest.join(Digest::of(&[b"set", member]));
        })?,
        Kind::Hash => keyspace.each_of(db, record, |field, value| {
            digest.join(Digest::of(&[b"hash", field, value]));
        })?,
        Kind::ZSet => keyspace.each_of(db, record, |member, score| {
            let score = score_in(score).unwrap_or_default().to_le_bytes();
            digest.join(Digest::of(&[b"zset", member, &score]));
        })?,
    }
    if record.expires != 0 {
        digest.join(Digest::of(&[b"expires"]));
    }
    Ok(digest)
}

/// The digest of all keys of all databases.
pub(super) fn of_all(keyspace: &Keyspace<'_>) -> Result<Digest, CommandError> {
    let mut digest = Digest::default();
    let mut failed = None;
    for db in 0..keyspace.databases() {
        keyspace.each_key(db, |key, record| match of_value(keyspace, db, record) {
            Ok(value) => digest.join(Digest::of(&[&(db as u64).to_le_bytes(), key, &value.0])),
            Err(e) => failed = Some(e),
        })?;
    }
    failed.map_or(Ok(digest), Err)
}
