//! Who a node is: an Ed25519 key in a file. Its number is derived from the public half, so that a claim to be a node can be checked without asking anybody.
//!
//! A number is 64 bits of a hash of the key. Finding another key for a given number takes some 2^64 tries, and is of use only to one who has the cluster's secret.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use thiserror::Error;
use weald_cluster_proto::NodeId;
use zeroize::Zeroizing;

const NAME: &str = "identity";
const PREFIX: &str = "weald-ed25519 ";
const PUBLIC_LEN: usize = 32;
/// Bytes of a signature with the key that it is to be checked with.
const SIGNED_LEN: usize = PUBLIC_LEN + 64;

/// Why a node's key can't be had.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// The file can't be read or written.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others than the owner may read it.
    #[error("{path} may be read by others than its owner: its mode must be 0600")]
    Open {
        /// Which.
        path: PathBuf,
    },
    /// It holds something else.
    #[error("{path} is no identity file")]
    Malformed {
        /// Which.
        path: PathBuf,
    },
    /// The system gives no random bytes.
    #[error("the system gives no random bytes: {0}")]
    Random(#[from] getrandom::Error),
}

/// A node's key pair.
#[derive(Clone)]
pub struct Identity {
    key: Arc<SigningKey>,
    node: NodeId,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Identity({})", self.node)
    }
}

impl Identity {
    /// Reads the file `identity` in this folder, or makes a key and writes it there, for its owner's eyes only.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let identity = weald_cluster::Identity::open(dir.path())?;
    /// assert_eq!(weald_cluster::Identity::open(dir.path())?.node(), identity.node());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn open(dir: &Path) -> Result<Identity, IdentityError> {
        let path = dir.join(NAME);
        let failed = |source| IdentityError::File {
            path: path.clone(),
            source,
        };
        match fs::metadata(&path) {
            Ok(metadata) if metadata.permissions().mode() & 0o077 != 0 => {
                return Err(IdentityError::Open { path });
            }
            Ok(_) => {
                let text = Zeroizing::new(fs::read_to_string(&path).map_err(failed)?);
                let seed = parse(&text).ok_or(IdentityError::Malformed { path })?;
                return Ok(Identity::from_seed(&seed));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *seed)?;
        write(dir, &path, &seed).map_err(failed)?;
        Ok(Identity::from_seed(&seed))
    }

    /// The identity of a given key.
    pub fn from_seed(seed: &[u8; 32]) -> Identity {
        let key = SigningKey::from_bytes(seed);
        let node = node_of(key.verifying_key().as_bytes());
        Identity {
            key: Arc::new(key),
            node,
        }
    }

    /// The node's number.
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// The public key, and a signature by its other half.
    pub(crate) fn sign(&self, bytes: &[u8]) -> Vec<u8> {
        [&self.public()[..], &self.signature(bytes)].concat()
    }

    pub(crate) fn public(&self) -> [u8; PUBLIC_LEN] {
        self.key.verifying_key().to_bytes()
    }

    pub(crate) fn signature(&self, bytes: &[u8]) -> [u8; 64] {
        self.key.sign(bytes).to_bytes()
    }
}

/// Who signed these bytes, if anybody did.
pub(crate) fn signer(bytes: &[u8], signed: &[u8]) -> Option<NodeId> {
    let signed: &[u8; SIGNED_LEN] = signed.try_into().ok()?;
    let (public, signature) = signed.split_first_chunk::<PUBLIC_LEN>()?;
    let key = VerifyingKey::from_bytes(public).ok()?;
    key.verify_strict(bytes, &Signature::from_slice(signature).ok()?)
        .ok()?;
    Some(node_of(public))
}

pub(crate) fn node_of(public: &[u8; PUBLIC_LEN]) -> NodeId {
    let hash = blake3::derive_key("weald node of an ed25519 key", public);
    NodeId(u64::from_le_bytes(*hash.first_chunk().expect("a hash is longer")))
}

fn parse(text: &str) -> Option<Zeroizing<[u8; 32]>> {
    let digits = text.strip_prefix(PREFIX)?.strip_suffix('\n')?.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let mut seed = Zeroizing::new([0; 32]);
    for (byte, pair) in seed.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = (digit(pair[0])? << 4 | digit(pair[1])?) as u8;
    }
    Some(seed)
}

/// Never half a file: it is written beside, and put in place when it is safe.
fn write(dir: &Path, path: &Path, seed: &[u8; 32]) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    let beside = dir.join("identity.part");
    let _ = fs::remove_file(&beside);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&beside)?;
    let mut text = Zeroizing::new(String::from(PREFIX));
    for byte in seed {
        text.push_str(&format!("{byte:02x}"));
    }
    text.push('\n');
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_for_its_owner_only() {
        let dir = tempfile::tempdir().expect("a folder");
        let identity = Identity::open(dir.path()).expect("made");
        let path = dir.path().join(NAME);
        let mode = fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(Identity::open(dir.path()).expect("read").node(), identity.node());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("set");
        assert!(matches!(
            Identity::open(dir.path()),
            Err(IdentityError::Open { .. })
        ));
    }

    #[test]
    fn other_files_are_refused() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join(NAME);
        for text in [
            "",
            "weald-ed25519 \n",
            "weald-ed25519 zz\n",
            "weald-ed25519 é0000000000000000000000000000000000000000000000000000000000000000\n",
        ] {
            let _ = fs::remove_file(&path);
            let mut file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&path)
                .expect("made");
            file.write_all(text.as_bytes()).expect("written");
            assert!(
                matches!(Identity::open(dir.path()), Err(IdentityError::Malformed { .. })),
                "{text}"
            );
        }
    }

    #[test]
    fn signatures_name_their_signer() {
        let identity = Identity::from_seed(&[7; 32]);
        let signed = identity.sign(b"words");
        assert_eq!(signer(b"words", &signed), Some(identity.node()));
        assert_eq!(signer(b"other words", &signed), None);
        assert_eq!(signer(b"words", &signed[1..]), None);
        let mut forged = signed.clone();
        forged[..32].copy_from_slice(&Identity::from_seed(&[8; 32]).sign(b"words")[..32]);
        assert_eq!(signer(b"words", &forged), None);
    }
}
