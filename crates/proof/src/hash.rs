//! Hashes, and the domains that keep them apart.
//!
//! Every hash in a tree is BLAKE3 in its keyed mode, and the key is the name of what is hashed: 32 bytes of
//! ASCII. So a leaf can never pass for an inner node, nor a root for a value, whatever bytes they hold. An
//! inner node's key is a shorter name and the numbers that the node binds, which leaves its message at 64
//! bytes, one block, and the hash at half the price. BLAKE3 takes a key where a later block takes the outcome
//! of the one before, so two keys are no easier to bring together than two messages, and none of this needs
//! the key to be secret.

use core::fmt;

/// Bytes of a hash.
pub const HASH_LEN: usize = 32;

/// A BLAKE3 hash: of a root, a node, a value or a path.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash(pub [u8; HASH_LEN]);

impl Hash {
    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; HASH_LEN] {
        &self.0
    }

    /// Reads 64 hexadecimal digits, as [`Display`](fmt::Display) writes them.
    ///
    /// ```
    /// use weald_proof::Hash;
    ///
    /// let hash = Hash([0xa5; 32]);
    /// assert_eq!(Hash::from_hex(&hash.to_string()), Some(hash));
    /// assert_eq!(Hash::from_hex("a5"), None);
    /// ```
    #[must_use]
    pub fn from_hex(hex: &str) -> Option<Hash> {
        let hex: &[u8; 2 * HASH_LEN] = hex.as_bytes().try_into().ok()?;
        let digit = |c: u8| (c as char).to_digit(16).map(|d| d as u8);
        let mut bytes = [0; HASH_LEN];
        for (byte, pair) in bytes.iter_mut().zip(hex.chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Some(Hash(bytes))
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What is hashed.
pub(crate) type Domain = [u8; 32];

pub(crate) const PREFIX: &Domain = b"weald tree 1: prefix of a path  ";
#[cfg(feature = "prove")]
pub(crate) const HEIGHT: &Domain = b"weald tree 1: height of a key   ";
pub(crate) const VALUE: &Domain = b"weald tree 1: value of a leaf   ";
pub(crate) const LEAF: &Domain = b"weald tree 1: leaf              ";
pub(crate) const NODE: &[u8; 7] = b"weald/1";
pub(crate) const ROOT: &Domain = b"weald tree 1: root of a tree    ";

/// The hash of `bytes` as a `domain`.
pub(crate) fn hash(domain: &Domain, bytes: &[u8]) -> Hash {
    Hash(*blake3::keyed_hash(domain, bytes).as_bytes())
}

/// The hash of `parts`, one after the other.
pub(crate) fn hash_parts<'a>(domain: &Domain, parts: impl IntoIterator<Item = &'a [u8]>) -> Hash {
    let mut hasher = blake3::Hasher::new_keyed(domain);
    for part in parts {
        hasher.update(part);
    }
    Hash(*hasher.finalize().as_bytes())
}
