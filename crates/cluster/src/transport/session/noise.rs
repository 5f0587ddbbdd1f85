//! Sessions by Noise `XXpsk0` with X25519, ChaCha20-Poly1305 and BLAKE2s; the cluster's secret goes in first, so that whoever doesn't have it gets no answer.
//!
//! Each side's Noise key is made when the process starts, and travels with a signature by the node's Ed25519 key. After that come records: two bytes
//! of length, and up to 65,535 bytes of ciphertext, whose place in the sequence is part of the cipher.

use std::io::{Read, Write};

use snow::{Builder, HandshakeState, TransportState};
use weald_cluster_proto::{NodeId, WIRE_VERSION};
use zeroize::Zeroizing;

use super::{Cipher, Session, SessionError, TAG, Timed};
use crate::identity::signer;
use crate::keys::Keys;

/// The longest frame of a handshake.
pub(in crate::transport) const HANDSHAKE_MAX: usize = 512;
const PATTERN: &str = "Noise_XXpsk0_25519_ChaChaPoly_BLAKE2s";

/// What a process shakes hands with.
pub(in crate::transport) struct Noise {
    pub(in crate::transport) keys: Keys,
    private: Zeroizing<Vec<u8>>,
    /// The signature that says whose Noise key it is.
    binding: Vec<u8>,
    prologue: Vec<u8>,
}

fn bound(cluster: u64, public: &[u8]) -> Vec<u8> {
    [b"weald session\0", &cluster.to_le_bytes()[..], public].concat()
}

impl Noise {
    /// For sessions of one purpose: those of another come to nothing.
    pub(in crate::transport) fn new(keys: Keys, purpose: &[u8]) -> Result<Noise, snow::Error> {
        let pair = Builder::new(PATTERN.parse()?).generate_keypair()?;
        let binding = keys.identity.sign(&bound(keys.cluster, &pair.public));
        Ok(Noise {
            prologue: [purpose, &keys.cluster.to_le_bytes()[..]].concat(),
            private: Zeroizing::new(pair.private),
            binding,
            keys,
        })
    }

    fn builder(&self) -> Result<Builder<'_>, snow::Error> {
        Builder::new(PATTERN.parse()?)
            .prologue(&self.prologue)?
            .psk(0, &self.keys.secret)?
            .local_private_key(&self.private)
    }

    pub(in crate::transport) fn initiator(&self) -> Result<HandshakeState, snow::Error> {
        self.builder()?.build_initiator()
    }

    pub(in crate::transport) fn responder(&self) -> Result<HandshakeState, snow::Error> {
        self.builder()?.build_responder()
    }

    /// What says whose key it is: the payload of the second message and of the third.
    pub(in crate::transport) fn binding(&self) -> &[u8] {
        &self.binding
    }

    /// Who the other side is, by the payload that it sent.
    pub(in crate::transport) fn peer(
        &self,
        noise: &HandshakeState,
        binding: &[u8],
    ) -> Result<NodeId, SessionError> {
        let public = noise.get_remote_static().ok_or(SessionError::Stranger)?;
        signer(&bound(self.keys.cluster, public), binding)
            .filter(|&peer| self.keys.admits(peer) && peer != self.keys.node())
            .ok_or(SessionError::Stranger)
    }
}

/// Whether the one who connects speaks the version of messages that this node does. Its first payload says which it speaks, a byte each; zeros only pad it, and to say nothing is to
/// speak the first version.
pub(in crate::transport) fn check_versions(payload: &[u8]) -> Result<(), SessionError> {
    let mut spoken: Vec<u8> = payload.iter().copied().filter(|&version| version != 0).collect();
    if spoken.is_empty() {
        spoken.push(1);
    }
    if spoken.contains(&WIRE_VERSION) {
        Ok(())
    } else {
        Err(SessionError::Version(spoken))
    }
}

pub(super) fn initiate(noise: &Noise, timed: Timed<'_>) -> Result<Session, SessionError> {
    let mut out = Vec::new();
    let handshake = Handshake::ask(noise, &mut out)?;
    shake(noise, handshake, out, timed)
}

pub(super) fn respond(noise: &Noise, timed: Timed<'_>) -> Result<Session, SessionError> {
    shake(noise, Handshake::answer(noise)?, Vec::new(), timed)
}

/// Goes through a handshake, waiting for the other side.
fn shake(
    noise: &Noise,
    mut handshake: Handshake,
    mut out: Vec<u8>,
    mut timed: Timed<'_>,
) -> Result<Session, SessionError> {
    loop {
        timed.write_all(&out)?;
        out.clear();
        let mut len = [0; 2];
        timed.read_exact(&mut len)?;
        let len = usize::from(u16::from_le_bytes(len));
        if len > HANDSHAKE_MAX {
            return Err(SessionError::Malformed);
        }
        let mut frame = vec![0; len];
        timed.read_exact(&mut frame)?;
        handshake = match handshake.take(noise, &frame, &mut out)? {
            Shaken::Going(handshake) => handshake,
            Shaken::Done(session) => {
                timed.write_all(&out)?;
                return Ok(session);
            }
        };
    }
}

/// A handshake that is going on: the other side's frames go in, without their two bytes of length; ours come out, with them.
pub(in crate::transport) struct Handshake {
    noise: Box<HandshakeState>,
}

/// What a frame of the other side led to.
pub(in crate::transport) enum Shaken {
    /// Another one is awaited.
    Going(Handshake),
    Done(Session),
}

impl Handshake {
    /// Begins, as the one who connected.
    pub(in crate::transport) fn ask(noise: &Noise, out: &mut Vec<u8>) -> Result<Handshake, SessionError> {
        let mut handshake = Handshake {
            noise: Box::new(noise.initiator()?),
        };
        handshake.write(&[WIRE_VERSION], out)?;
        Ok(handshake)
    }

    /// Awaits the first frame, as the one who was connected to.
    pub(in crate::transport) fn answer(noise: &Noise) -> Result<Handshake, SessionError> {
        Ok(Handshake {
            noise: Box::new(noise.responder()?),
        })
    }

    /// Takes the other side's next frame.
    pub(in crate::transport) fn take(
        mut self,
        noise: &Noise,
        frame: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Shaken, SessionError> {
        if frame.len() > HANDSHAKE_MAX {
            return Err(SessionError::Malformed);
        }
        let mut payload = vec![0; HANDSHAKE_MAX];
        let len = self.noise.read_message(frame, &mut payload)?;
        payload.truncate(len);
        // Only the first frame comes before its sender's key.
        if self.noise.get_remote_static().is_none() {
            check_versions(&payload)?;
            self.write(&noise.binding, out)?;
            return Ok(Shaken::Going(self));
        }
        let peer = noise.peer(&self.noise, &payload)?;
        if !self.noise.is_handshake_finished() {
            self.write(&noise.binding, out)?;
        }
        let session = NoiseSession {
            noise: self.noise.into_transport_mode()?,
            sealed: Vec::new(),
        };
        Ok(Shaken::Done(Session {
            peer,
            cipher: Cipher::Noise(session),
        }))
    }

    fn write(&mut self, payload: &[u8], out: &mut Vec<u8>) -> Result<(), SessionError> {
        let mut frame = [0; HANDSHAKE_MAX];
        let len = self.noise.write_message(payload, &mut frame)?;
        out.extend((len as u16).to_le_bytes());
        out.extend(&frame[..len]);
        Ok(())
    }
}

/// Whether these bytes begin with a whole record.
pub(super) fn is_whole(received: &[u8]) -> bool {
    received
        .split_first_chunk::<2>()
        .is_some_and(|(len, rest)| rest.len() >= usize::from(u16::from_le_bytes(*len)))
}

pub(super) struct NoiseSession {
    noise: TransportState,
    sealed: Vec<u8>,
}

impl NoiseSession {
    pub(super) fn seal(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<(), SessionError> {
        let start = out.len();
        out.resize(start + 2 + plain.len() + TAG, 0);
        let len = self.noise.write_message(plain, &mut out[start + 2..])?;
        out[start..start + 2].copy_from_slice(&(len as u16).to_le_bytes());
        Ok(())
    }

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
    use std::net::{TcpListener, TcpStream};
    use std::time::Duration;

    use super::*;
    use crate::identity::Identity;

    fn node(seed: u8) -> Noise {
        let keys = Keys::new(Identity::from_seed(&[seed; 32]), "orchard", b"secret");
        Noise::new(keys, b"test").expect("keys")
    }

    /// Whether each side took the other for somebody.
    fn meet(here: &Noise, there: &Noise) -> (bool, bool) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let limit = Duration::from_secs(10);
        std::thread::scope(|scope| {
            let answer = scope.spawn(|| {
                let (stream, _) = listener.accept().expect("a connection");
                respond(there, Timed::new(&stream, limit)).is_ok()
            });
            let stream = TcpStream::connect(address).expect("connected");
            let asked = initiate(here, Timed::new(&stream, limit)).is_ok();
            drop(stream);
            (asked, answer.join().expect("no panics"))
        })
    }

    #[test]
    fn who_speaks_no_version_of_ours_is_refused_and_told_apart() {
        let (here, there) = (node(1), node(2));
        let first = |spoken: &[u8]| {
            let noise = Box::new(here.initiator().expect("keys"));
            let mut frame = Vec::new();
            Handshake { noise }.write(spoken, &mut frame).expect("written");
            frame
        };
        let spoken: [(&[u8], bool); 4] = [
            (&[], true),
            (&[7, WIRE_VERSION], true),
            (&[7, 8], false),
            (&[7, 0, 0], false),
        ];
        for (spoken, fine) in spoken {
            let answer = Handshake::answer(&there).expect("keys");
            match answer.take(&there, &first(spoken)[2..], &mut Vec::new()) {
                Ok(Shaken::Going(_)) => assert!(fine, "{spoken:?}"),
                Err(SessionError::Version(theirs)) => {
                    assert!(!fine && theirs.iter().all(|version| spoken.contains(version)));
                }
                _ => panic!("{spoken:?} led to something else"),
            }
        }
    }

    #[test]
    fn nobody_passes_for_another_node() {
        let (here, victim) = (node(1), node(2));
        assert_eq!(meet(&here, &victim), (true, true));
        // It has the secret, and what the victim once sent.
        let mut thief = node(3);
        thief.binding = victim.binding.clone();
        assert!(!meet(&thief, &here).1);
        assert!(!meet(&here, &thief).0);
        // It signs its own key, and writes the victim's name over it.
        let mut thief = node(3);
        thief.binding[..32].copy_from_slice(&victim.binding[..32]);
        assert!(!meet(&thief, &here).1);
        assert!(!meet(&here, &thief).0);
    }
}
