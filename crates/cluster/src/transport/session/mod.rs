//! A session between two nodes: who they are, and bytes that nobody else can read, change, repeat or reorder.
//!
//! The handshake is Noise `XXpsk0` with X25519, ChaCha20-Poly1305 and BLAKE2s; the cluster's secret goes in first, so that whoever doesn't have it gets no
//! answer. Each side's Noise key is made when the process starts, and travels with a signature by the node's Ed25519 key. After that come records: two bytes
//! of length, and up to 65,535 bytes of ciphertext, whose place in the sequence is part of the cipher.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use snow::{Builder, HandshakeState, TransportState};
use thiserror::Error;
use weald_cluster_proto::NodeId;
use zeroize::Zeroizing;

use crate::identity::signer;
use crate::keys::Keys;

/// The most bytes that a record holds, and the cipher's tag.
pub(super) const RECORD_MAX: usize = 65_535 - TAG;
const TAG: usize = 16;
const HANDSHAKE_MAX: usize = 512;
const PATTERN: &str = "Noise_XXpsk0_25519_ChaChaPoly_BLAKE2s";

/// Why there is no session, or no longer.
#[derive(Debug, Error)]
pub(super) enum SessionError {
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Another secret, another cluster, or bytes that were changed.
    #[error("the peer's bytes are not genuine: {0}")]
    Noise(#[from] snow::Error),
    #[error("the peer's key is not signed by a node that is admitted")]
    Stranger,
    #[error("the peer sent what no node sends")]
    Malformed,
}

/// What this process begins its sessions with.
pub(super) struct Sessions {
    pub(super) keys: Keys,
    private: Zeroizing<Vec<u8>>,
    /// The signature that says whose Noise key it is.
    binding: Vec<u8>,
    prologue: Vec<u8>,
}

fn bound(cluster: u64, public: &[u8]) -> Vec<u8> {
    [b"weald session\0", &cluster.to_le_bytes()[..], public].concat()
}

impl Sessions {
    pub(super) fn new(keys: Keys) -> Result<Arc<Sessions>, snow::Error> {
        let pair = Builder::new(PATTERN.parse()?).generate_keypair()?;
        let binding = keys.identity.sign(&bound(keys.cluster, &pair.public));
        Ok(Arc::new(Sessions {
            prologue: [b"weald transport 1\0", &keys.cluster.to_le_bytes()[..]].concat(),
            private: Zeroizing::new(pair.private),
            binding,
            keys,
        }))
    }

    fn builder(&self) -> Result<Builder<'_>, snow::Error> {
        Builder::new(PATTERN.parse()?)
            .prologue(&self.prologue)?
            .psk(0, &self.keys.secret)?
            .local_private_key(&self.private)
    }

    /// Begins a session with whoever was connected to.
    pub(super) fn initiate(&self, stream: &TcpStream, limit: Duration) -> Result<Session, SessionError> {
        let mut wire = Handshake::new(stream, limit, self.builder()?.build_initiator()?);
        wire.write(&[])?;
        let payload = wire.read()?;
        let peer = self.peer(&wire.noise, &payload)?;
        wire.write(&self.binding)?;
        wire.finish(peer)
    }

    /// Answers whoever connected.
    pub(super) fn respond(&self, stream: &TcpStream, limit: Duration) -> Result<Session, SessionError> {
        let mut wire = Handshake::new(stream, limit, self.builder()?.build_responder()?);
        wire.read()?;
        wire.write(&self.binding)?;
        let payload = wire.read()?;
        let peer = self.peer(&wire.noise, &payload)?;
        wire.finish(peer)
    }

    fn peer(&self, noise: &HandshakeState, binding: &[u8]) -> Result<NodeId, SessionError> {
        let public = noise.get_remote_static().ok_or(SessionError::Stranger)?;
        signer(&bound(self.keys.cluster, public), binding)
            .filter(|&peer| self.keys.admits(peer) && peer != self.keys.node())
            .ok_or(SessionError::Stranger)
    }
}

/// A handshake that is going on, and when it is given up: no peer holds a thread for longer.
struct Handshake<'s> {
    stream: &'s TcpStream,
    until: Instant,
    noise: HandshakeState,
}

impl<'s> Handshake<'s> {
    fn new(stream: &'s TcpStream, limit: Duration, noise: HandshakeState) -> Handshake<'s> {
        Handshake {
            stream,
            until: Instant::now() + limit,
            noise,
        }
    }

    fn left(&self) -> io::Result<Duration> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            Err(io::ErrorKind::TimedOut.into())
        } else {
            Ok(left)
        }
    }

    fn write(&mut self, payload: &[u8]) -> Result<(), SessionError> {
        let mut bytes = vec![0; 2 + HANDSHAKE_MAX];
        let len = self.noise.write_message(payload, &mut bytes[2..])?;
        bytes[..2].copy_from_slice(&(len as u16).to_le_bytes());
        self.stream.set_write_timeout(Some(self.left()?))?;
        let mut stream = self.stream;
        stream.write_all(&bytes[..2 + len])?;
        Ok(())
    }

    fn read(&mut self) -> Result<Vec<u8>, SessionError> {
        let mut len = [0; 2];
        self.fill(&mut len)?;
        let len = usize::from(u16::from_le_bytes(len));
        if len > HANDSHAKE_MAX {
            return Err(SessionError::Malformed);
        }
        let mut bytes = vec![0; len];
        self.fill(&mut bytes)?;
        let mut payload = vec![0; HANDSHAKE_MAX];
        let len = self.noise.read_message(&bytes, &mut payload)?;
        payload.truncate(len);
        Ok(payload)
    }

    fn fill(&self, mut bytes: &mut [u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            self.stream.set_read_timeout(Some(self.left()?))?;
            let mut stream = self.stream;
            match stream.read(bytes) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(len) => bytes = &mut bytes[len..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn finish(self, peer: NodeId) -> Result<Session, SessionError> {
        Ok(Session {
            peer,
            noise: self.noise.into_transport_mode()?,
            sealed: Vec::new(),
        })
    }
}

/// A session. One thread reads and writes it.
pub(super) struct Session {
    pub(super) peer: NodeId,
    noise: TransportState,
    sealed: Vec<u8>,
}

impl Session {
    /// Appends a record to what is to be written.
    pub(super) fn seal(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<(), SessionError> {
        let start = out.len();
        out.resize(start + 2 + plain.len() + TAG, 0);
        let len = self.noise.write_message(plain, &mut out[start + 2..])?;
        out[start..start + 2].copy_from_slice(&(len as u16).to_le_bytes());
        Ok(())
    }

    /// Reads the next record.
    pub(super) fn read(&mut self, stream: &mut impl Read, plain: &mut Vec<u8>) -> Result<(), SessionError> {
        let mut len = [0; 2];
        stream.read_exact(&mut len)?;
        let len = usize::from(u16::from_le_bytes(len));
        if len < TAG {
            return Err(SessionError::Malformed);
        }
        self.sealed.resize(len, 0);
        stream.read_exact(&mut self.sealed)?;
        plain.resize(len, 0);
        let len = self.noise.read_message(&self.sealed, plain)?;
        plain.truncate(len);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::identity::Identity;

    const LIMIT: Duration = Duration::from_secs(10);

    fn sessions(seed: u8, cluster: &str, secret: &[u8]) -> Sessions {
        let keys = Keys::new(Identity::from_seed(&[seed; 32]), cluster, secret);
        Arc::into_inner(Sessions::new(keys).expect("keys")).expect("the only one")
    }

    /// Whom each side takes the other for.
    fn meet(here: &Sessions, there: &Sessions) -> (Option<NodeId>, Option<NodeId>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        std::thread::scope(|scope| {
            let answer = scope.spawn(|| {
                let (stream, _) = listener.accept().expect("a connection");
                there.respond(&stream, LIMIT).ok().map(|session| session.peer)
            });
            let stream = TcpStream::connect(address).expect("connected");
            let asked = here.initiate(&stream, LIMIT).ok().map(|session| session.peer);
            drop(stream);
            (asked, answer.join().expect("no panics"))
        })
    }

    #[test]
    fn each_side_knows_the_other() {
        let (here, there) = (
            sessions(1, "orchard", b"secret"),
            sessions(2, "orchard", b"secret"),
        );
        let (one, two) = (here.keys.node(), there.keys.node());
        assert_eq!(meet(&here, &there), (Some(two), Some(one)));
    }

    #[test]
    fn other_clusters_and_secrets_are_strangers() {
        let here = sessions(1, "orchard", b"secret");
        assert_eq!(meet(&here, &sessions(2, "orchard", b"guess")), (None, None));
        assert_eq!(meet(&here, &sessions(2, "meadow", b"secret")), (None, None));
        assert_eq!(
            meet(&here, &sessions(1, "orchard", b"secret")),
            (None, None),
            "itself"
        );
    }

    #[test]
    fn nobody_passes_for_another_node() {
        let (here, victim) = (
            sessions(1, "orchard", b"secret"),
            sessions(2, "orchard", b"secret"),
        );
        // It has the secret, and what the victim once sent.
        let mut thief = sessions(3, "orchard", b"secret");
        thief.binding = victim.binding.clone();
        assert_eq!(meet(&thief, &here).1, None);
        assert_eq!(meet(&here, &thief).0, None);
        // It signs its own key, and writes the victim's name over it.
        let mut thief = sessions(3, "orchard", b"secret");
        thief.binding[..32].copy_from_slice(&victim.binding[..32]);
        assert_eq!(meet(&thief, &here).1, None);
        assert_eq!(meet(&here, &thief).0, None);
    }
}
