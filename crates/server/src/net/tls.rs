//! TLS between a client and its socket, whatever carries the bytes and whether that waits or not.
//!
//! Certificates and keys are read at the start, and again when somebody asks for it: connections that are there keep what they began with. There is TLS 1.2 and 1.3, with
//! the ciphers that `ring` has.

use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection};

use crate::config::{Config, ConfigError};

/// What is taken of a client at once for encryption: the rest waits where its bound is known.
const WRITE_MAX: usize = 64 << 10;

/// Certificates, keys and whom to believe: what each connection begins with. Clones share them.
#[derive(Clone)]
pub(crate) struct Tls(Arc<RwLock<Arc<ServerConfig>>>);

impl Tls {
    /// As the configuration says; `None` where nothing is to be encrypted.
    pub(crate) fn of(config: &Config) -> Result<Option<Tls>, ConfigError> {
        if config.number("tls-port") == 0 && !config.yes("http-tls") {
            return Ok(None);
        }
        Ok(Some(Tls(Arc::new(RwLock::new(begin(config)?)))))
    }

    /// Reads the files anew, for connections to come. If they can't be used, all stays as it was.
    pub(crate) fn renew(&self, config: &Config) -> Result<(), ConfigError> {
        let renewed = begin(config)?;
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = renewed;
        Ok(())
    }

    /// Begins with a client.
    pub(crate) fn accept(&self) -> io::Result<Box<Session>> {
        let current = self.0.read().unwrap_or_else(PoisonError::into_inner).clone();
        let connection = ServerConnection::new(current).map_err(io::Error::other)?;
        Ok(Box::new(Session(connection)))
    }
}

/// What the files have that the configuration names.
fn begin(config: &Config) -> Result<Arc<ServerConfig>, ConfigError> {
    let refused = |what: &str, why: &dyn std::fmt::Display| ConfigError::Refused(format!("{what}: {why}"));
    let provider = Arc::new(default_provider());
    let (cert, key) = (needed(config, "tls-cert-file")?, needed(config, "tls-key-file")?);
    let chain = certificates(cert)?;
    let key_der = PrivateKeyDer::from_pem_file(key).map_err(|e| refused(key, &e))?;
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|e| refused("TLS", &e))?;
    let builder = match config.text("tls-auth-clients") {
        "no" => builder.with_no_client_auth(),
        mode => {
            let path = needed(config, "tls-ca-cert-file")?;
            let mut roots = RootCertStore::empty();
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(|e| refused(path, &e))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            let verifier = match mode {
                "optional" => verifier.allow_unauthenticated(),
                _ => verifier,
            };
            builder.with_client_cert_verifier(verifier.build().map_err(|e| refused(path, &e))?)
        }
    };
    let server = builder
        .with_single_cert(chain, key_der)
        .map_err(|e| refused(cert, &e))?;
    Ok(Arc::new(server))
}

fn needed<'a>(config: &'a Config, name: &str) -> Result<&'a str, ConfigError> {
    match config.text(name) {
        "" => Err(ConfigError::Refused(format!("TLS needs {name}"))),
        path => Ok(path),
    }
}

fn certificates(path: &str) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    let refused = |why: &dyn std::fmt::Display| ConfigError::Refused(format!("{path}: {why}"));
    let certificates = CertificateDer::pem_file_iter(Path::new(path)).map_err(|e| refused(&e))?;
    let certificates = certificates
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| refused(&e))?;
    if certificates.is_empty() {
        return Err(refused(&"there is no certificate in it"));
    }
    Ok(certificates)
}

/// The state between plain and encrypted bytes of one connection.
pub(crate) struct Session(ServerConnection);

impl Session {
    /// Whether the two sides have not agreed yet.
    pub(crate) fn is_handshaking(&self) -> bool {
        self.0.is_handshaking()
    }

    /// Whether encrypted bytes wait for the socket.
    pub(crate) fn has_unsent(&self) -> bool {
        self.0.wants_write()
    }

    /// Reads plain bytes; 0 at the end. Where there is nothing it says so as the socket does, and has sent what the handshake needs.
    pub(crate) fn read(&mut self, socket: &mut (impl Read + Write), buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.0.reader().read(buffer) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                // Cut off without a goodbye: requests say for themselves whether they are whole.
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
                read => return read,
            }
            let read = self.0.read_tls(socket);
            match read {
                Ok(0) => return Ok(0),
                Ok(_) => {
                    if let Err(e) = self.0.process_new_packets() {
                        // The other side is told why, if it still listens.
                        let _ = self.flush(socket);
                        return Err(io::Error::new(io::ErrorKind::InvalidData, e));
                    }
                    self.flush(socket)?;
                }
                Err(e) => {
                    self.flush(socket)?;
                    return Err(e);
                }
            }
        }
    }

    /// Encrypts what there is room for, and sends what the socket takes.
    pub(crate) fn write(&mut self, socket: &mut impl Write, bytes: &[u8]) -> io::Result<usize> {
        self.flush(socket)?;
        if self.has_unsent() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let taken = self.0.writer().write(&bytes[..bytes.len().min(WRITE_MAX)])?;
        if taken == 0 && !bytes.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.flush(socket)?;
        Ok(taken)
    }

    /// Sends what the socket takes of what is encrypted.
    pub(crate) fn flush(&mut self, socket: &mut impl Write) -> io::Result<()> {
        while self.0.wants_write() {
            match self.0.write_tls(socket) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Says goodbye, if the socket takes it at once.
    pub(crate) fn close(&mut self, socket: &mut impl Write) {
        self.0.send_close_notify();
        let _ = self.flush(socket);
    }
}
