//! A session between two nodes: who they are, and bytes that nobody else can read, change, repeat or reorder.
//!
//! Either way the nodes prove their Ed25519 keys to each other, and that they know the cluster's secret. [`noise`] is what is used unless something else is asked for; [`tls`] is TLS 1.3.

mod noise;
#[cfg(feature = "tls")]
mod tls;

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use thiserror::Error;
use weald_cluster_proto::{NodeId, WIRE_VERSION};

use crate::keys::Keys;
use noise::NoiseSession;
#[cfg(all(target_os = "linux", feature = "io_uring"))]
pub(super) use noise::{HANDSHAKE_MAX, Handshake, Shaken};
pub(super) use noise::{Noise, check_versions};

/// The most bytes that a record holds, and the cipher's tag.
pub(super) const RECORD_MAX: usize = 65_535 - TAG;
const TAG: usize = 16;

/// What sessions over streams are for, whoever carries the streams.
pub(super) const STREAMS: &[u8] = b"weald transport 1\0";

/// Why there is no session, or no longer.
#[derive(Debug, Error)]
pub(super) enum SessionError {
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Another secret, another cluster, or bytes that were changed.
    #[error("the peer's bytes are not genuine: {0}")]
    Noise(#[from] snow::Error),
    #[cfg(feature = "tls")]
    #[error("the peer's bytes are not genuine: {0}")]
    Tls(#[from] rustls::Error),
    #[error("the peer's key is not signed by a node that is admitted")]
    Stranger,
    #[error("the peer sent what no node sends")]
    Malformed,
    /// It is of another build, and the two have no version of messages in common.
    #[error("the peer speaks version {0:?} of the messages between nodes, and this node {WIRE_VERSION}")]
    Version(Vec<u8>),
}

/// What this process begins its sessions with.
pub(super) enum Sessions {
    Noise(Noise),
    #[cfg(feature = "tls")]
    Tls(super::tls::TlsKeys),
}

impl Sessions {
    pub(super) fn noise(keys: Keys) -> Result<Arc<Sessions>, snow::Error> {
        Ok(Arc::new(Sessions::Noise(Noise::new(keys, STREAMS)?)))
    }

    #[cfg(feature = "tls")]
    pub(super) fn tls(keys: Keys) -> Result<Arc<Sessions>, rustls::Error> {
        Ok(Arc::new(Sessions::Tls(super::tls::TlsKeys::new(keys)?)))
    }

    /// Begins a session with whoever was connected to.
    pub(super) fn initiate(&self, stream: &TcpStream, limit: Duration) -> Result<Session, SessionError> {
        let timed = Timed::new(stream, limit);
        match self {
            Sessions::Noise(noise) => noise::initiate(noise, timed),
            #[cfg(feature = "tls")]
            Sessions::Tls(keys) => tls::initiate(keys, timed),
        }
    }

    /// Answers whoever connected.
    pub(super) fn respond(&self, stream: &TcpStream, limit: Duration) -> Result<Session, SessionError> {
        let timed = Timed::new(stream, limit);
        match self {
            Sessions::Noise(noise) => noise::respond(noise, timed),
            #[cfg(feature = "tls")]
            Sessions::Tls(keys) => tls::respond(keys, timed),
        }
    }
}

/// A stream until a certain time: no peer holds a thread for longer, however slowly it shakes hands.
struct Timed<'s> {
    stream: &'s TcpStream,
    until: Instant,
}

impl<'s> Timed<'s> {
    fn new(stream: &'s TcpStream, limit: Duration) -> Timed<'s> {
        Timed {
            stream,
            until: Instant::now() + limit,
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
}

impl Read for Timed<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(Some(self.left()?))?;
        self.stream.read(bytes)
    }
}

impl Write for Timed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(Some(self.left()?))?;
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// A session. One thread reads and writes it.
pub(super) struct Session {
    pub(super) peer: NodeId,
    cipher: Cipher,
}

enum Cipher {
    Noise(NoiseSession),
    #[cfg(feature = "tls")]
    Tls(Box<tls::TlsSession>),
}

impl Session {
    /// Appends a record to what is to be written.
    pub(super) fn seal(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<(), SessionError> {
        match &mut self.cipher {
            Cipher::Noise(session) => session.seal(plain, out),
            #[cfg(feature = "tls")]
            Cipher::Tls(session) => session.seal(plain, out),
        }
    }

    /// Whether the next record is certain to be there, given bytes that were received.
    pub(super) fn has_record(&self, received: &[u8]) -> bool {
        match &self.cipher {
            Cipher::Noise(_) => noise::is_whole(received),
            // Its records are not ours.
            #[cfg(feature = "tls")]
            Cipher::Tls(_) => false,
        }
    }

    /// Reads the next record.
    pub(super) fn read(&mut self, stream: &mut impl Read, plain: &mut Vec<u8>) -> Result<(), SessionError> {
        match &mut self.cipher {
            Cipher::Noise(session) => session.read(stream, plain),
            #[cfg(feature = "tls")]
            Cipher::Tls(session) => session.read(stream, plain),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::identity::Identity;

    const LIMIT: Duration = Duration::from_secs(10);

    /// Ways to make sessions, for a node, a cluster and a secret.
    type Make = fn(u8, &str, &[u8]) -> Arc<Sessions>;

    fn keys(seed: u8, cluster: &str, secret: &[u8]) -> Keys {
        Keys::new(Identity::from_seed(&[seed; 32]), cluster, secret)
    }

    fn noise(seed: u8, cluster: &str, secret: &[u8]) -> Arc<Sessions> {
        Sessions::noise(keys(seed, cluster, secret)).expect("keys")
    }

    #[cfg(feature = "tls")]
    fn tls(seed: u8, cluster: &str, secret: &[u8]) -> Arc<Sessions> {
        Sessions::tls(keys(seed, cluster, secret)).expect("keys")
    }

    const WAYS: &[Make] = &[
        noise,
        #[cfg(feature = "tls")]
        tls,
    ];

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
        for sessions in WAYS {
            let (here, there) = (
                sessions(1, "orchard", b"secret"),
                sessions(2, "orchard", b"secret"),
            );
            let node = |seed| Identity::from_seed(&[seed; 32]).node();
            assert_eq!(meet(&here, &there), (Some(node(2)), Some(node(1))));
        }
    }

    #[test]
    fn other_clusters_and_secrets_are_strangers() {
        for sessions in WAYS {
            let here = sessions(1, "orchard", b"secret");
            assert_eq!(meet(&here, &sessions(2, "orchard", b"guess")), (None, None));
            assert_eq!(meet(&here, &sessions(2, "meadow", b"secret")), (None, None));
            let myself = sessions(1, "orchard", b"secret");
            assert_eq!(meet(&here, &myself), (None, None), "itself");
        }
    }

    #[test]
    fn who_is_not_admitted_is_a_stranger() {
        let listed = |seed: u8| keys(seed, "orchard", b"secret").admitting([keys(1, "orchard", b"").node()]);
        let here = Sessions::noise(listed(2)).expect("keys");
        assert!(meet(&here, &noise(1, "orchard", b"secret")).0.is_some());
        assert_eq!(meet(&here, &noise(3, "orchard", b"secret")).0, None);
        #[cfg(feature = "tls")]
        {
            let here = Sessions::tls(listed(2)).expect("keys");
            assert!(meet(&here, &tls(1, "orchard", b"secret")).0.is_some());
            assert_eq!(meet(&here, &tls(3, "orchard", b"secret")).0, None);
        }
    }

    #[test]
    fn records_of_any_size_pass() {
        for sessions in WAYS {
            let (here, there) = (
                sessions(1, "orchard", b"secret"),
                sessions(2, "orchard", b"secret"),
            );
            let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
            let address = listener.local_addr().expect("bound");
            let sizes = [1, 100, 16_384, 40_000, RECORD_MAX];
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    let (stream, _) = listener.accept().expect("a connection");
                    let mut session = there.respond(&stream, LIMIT).expect("a peer");
                    let mut record = Vec::new();
                    for size in sizes {
                        session.read(&mut &stream, &mut record).expect("a record");
                        assert_eq!(record, vec![7; size]);
                    }
                });
                let stream = TcpStream::connect(address).expect("connected");
                let mut session = here.initiate(&stream, LIMIT).expect("a peer");
                let mut out = Vec::new();
                for size in sizes {
                    session.seal(&vec![7; size], &mut out).expect("sealed");
                }
                (&stream).write_all(&out).expect("written");
            });
        }
    }
}
