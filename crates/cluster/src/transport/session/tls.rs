//! Sessions by TLS 1.3: for those whose rules ask for it. The nodes' keys are raw public keys, pinned to their numbers; no certificate is made or checked.
//!
//! TLS says who the other side is, but not that it knows the cluster's secret: each side proves that by a sum over secret and session, before anything else is said. In the stream, records have two bytes of length before them.
//!
//! The price, beside a tenth more time: a stranger who connects learns the node's public key before it is sent away, where Noise tells it nothing.

use std::io::{self, Read, Write};

use rustls::Connection;

use super::super::tls::{PROOF_LEN, TlsKeys};
use super::{Cipher, Session, SessionError, Timed};

pub(super) fn initiate(keys: &TlsKeys, timed: Timed<'_>) -> Result<Session, SessionError> {
    let mut wire = Handshake {
        timed,
        session: TlsSession::new(keys.client()?.into()),
    };
    let (ours, theirs) = wire.shake(keys)?;
    wire.write(&ours)?;
    wire.check(&theirs)?;
    wire.finish(keys)
}

pub(super) fn respond(keys: &TlsKeys, timed: Timed<'_>) -> Result<Session, SessionError> {
    let mut wire = Handshake {
        timed,
        session: TlsSession::new(keys.server()?.into()),
    };
    let (theirs, ours) = wire.shake(keys)?;
    wire.check(&theirs)?;
    wire.write(&ours)?;
    wire.finish(keys)
}

struct Handshake<'s> {
    timed: Timed<'s>,
    session: TlsSession,
}

type Proof = [u8; PROOF_LEN];

impl Handshake<'_> {
    /// Shakes hands, and says what proves the secret: of the one who connected, and of the one who answered.
    fn shake(&mut self, keys: &TlsKeys) -> Result<(Proof, Proof), SessionError> {
        let connection = &mut self.session.connection;
        while connection.is_handshaking() {
            connection.complete_io(&mut self.timed).map_err(told)?;
        }
        let material = connection.export_keying_material([0; 32], super::super::tls::EXPORTER, None)?;
        Ok(keys.proofs(&material))
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), SessionError> {
        let mut out = Vec::new();
        self.session.encrypt(bytes, &mut out)?;
        self.timed.write_all(&out)?;
        Ok(())
    }

    fn check(&mut self, expected: &Proof) -> Result<(), SessionError> {
        let mut proof = [0; PROOF_LEN];
        self.session.decrypt(&mut self.timed, &mut proof)?;
        if blake3::Hash::from(proof) == blake3::Hash::from(*expected) {
            Ok(())
        } else {
            Err(SessionError::Stranger)
        }
    }

    fn finish(self, keys: &TlsKeys) -> Result<Session, SessionError> {
        let peer = self
            .session
            .connection
            .peer_certificates()
            .and_then(|certificates| keys.peer(certificates.first()?))
            .ok_or(SessionError::Stranger)?;
        Ok(Session {
            peer,
            cipher: Cipher::Tls(Box::new(self.session)),
        })
    }
}

/// What TLS says against the other side comes as an error of input and output.
fn told(error: io::Error) -> SessionError {
    match error.downcast::<rustls::Error>() {
        Ok(refused) => refused.into(),
        Err(broken) => broken.into(),
    }
}

pub(super) struct TlsSession {
    connection: Connection,
}

impl TlsSession {
    fn new(mut connection: Connection) -> TlsSession {
        // Whoever seals takes what was sealed at once.
        connection.set_buffer_limit(None);
        TlsSession { connection }
    }

    pub(super) fn seal(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<(), SessionError> {
        let len = u16::try_from(plain.len()).map_err(|_| SessionError::Malformed)?;
        self.connection.writer().write_all(&len.to_le_bytes())?;
        self.encrypt(plain, out)
    }

    fn encrypt(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<(), SessionError> {
        self.connection.writer().write_all(plain)?;
        while self.connection.wants_write() {
            self.connection.write_tls(out)?;
        }
        Ok(())
    }

    pub(super) fn read(&mut self, stream: &mut impl Read, plain: &mut Vec<u8>) -> Result<(), SessionError> {
        let mut len = [0; 2];
        self.decrypt(stream, &mut len)?;
        plain.resize(usize::from(u16::from_le_bytes(len)), 0);
        if plain.len() > super::RECORD_MAX {
            return Err(SessionError::Malformed);
        }
        self.decrypt(stream, plain)
    }

    fn decrypt(&mut self, stream: &mut impl Read, plain: &mut [u8]) -> Result<(), SessionError> {
        let mut filled = 0;
        while filled < plain.len() {
            match self.connection.reader().read(&mut plain[filled..]) {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                Ok(len) => filled += len,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if self.connection.read_tls(stream)? == 0 {
                        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
                    }
                    self.connection.process_new_packets()?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}
