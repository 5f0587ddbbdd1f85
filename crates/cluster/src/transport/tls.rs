//! TLS 1.3 between nodes, for TCP and QUIC: a node's certificate is its Ed25519 key itself (RFC 7250), so its number follows from it, and nobody has to vouch for it.
//!
//! Sessions are not resumed, and nothing is sent before the handshake is done: what could be replayed doesn't exist.

use std::sync::Arc;

use ed25519_dalek::{Signature, VerifyingKey};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::{CertifiedKey, Signer, SigningKey};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, DistinguishedName, Error, ServerConfig,
    ServerConnection, SignatureAlgorithm, SignatureScheme,
};
use weald_cluster_proto::NodeId;

use crate::identity::{Identity, node_of};
use crate::keys::Keys;

/// Bytes of a proof that a node knows the cluster's secret.
pub(super) const PROOF_LEN: usize = 32;
/// Under which name a session gives the bytes that the proofs are made with.
pub(super) const EXPORTER: &[u8] = b"EXPORTER-weald-secret";
const PROTOCOL: &[u8] = b"weald/1";
/// What stands before the 32 bytes of an Ed25519 key in its DER form.
const SPKI: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];

/// What a process begins its TLS sessions with.
pub(super) struct TlsKeys {
    keys: Keys,
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
}

impl TlsKeys {
    pub(super) fn new(keys: Keys) -> Result<TlsKeys, Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let certificate = CertificateDer::from([&SPKI[..], &keys.identity.public()].concat());
        let signing = NodeKey(keys.identity.clone());
        let certified = Arc::new(CertifiedKey::new(vec![certificate], Arc::new(signing)));
        let verifier = Arc::new(Verifier(keys.clone()));
        Ok(TlsKeys {
            client: Arc::new(client(provider.clone(), verifier.clone(), certified.clone())?),
            server: Arc::new(server(provider, verifier, certified)?),
            keys,
        })
    }

    /// A session's half for the one who connects.
    pub(super) fn client(&self) -> Result<ClientConnection, Error> {
        ClientConnection::new(self.client.clone(), name())
    }

    /// And for the one who answers.
    pub(super) fn server(&self) -> Result<ServerConnection, Error> {
        ServerConnection::new(self.server.clone())
    }

    #[cfg(feature = "quic")]
    pub(super) fn configs(&self) -> (Arc<ClientConfig>, Arc<ServerConfig>) {
        (self.client.clone(), self.server.clone())
    }

    /// The node whose key this is, if it is admitted.
    pub(super) fn peer(&self, certificate: &CertificateDer<'_>) -> Option<NodeId> {
        admitted(&self.keys, certificate).map(|(node, _)| node)
    }

    /// What proves, in this session only, that its two ends know the secret: of the one who connected, and of the one who answered.
    pub(super) fn proofs(&self, material: &[u8; 32]) -> ([u8; PROOF_LEN], [u8; PROOF_LEN]) {
        let proof = |side: &[u8]| {
            let cluster = self.keys.cluster.to_le_bytes();
            let bytes = [side, &cluster[..], &material[..]].concat();
            *blake3::keyed_hash(&self.keys.secret, &bytes).as_bytes()
        };
        (proof(b"connects"), proof(b"answers"))
    }
}

/// TLS wants a name, which nobody looks at.
pub(super) fn name() -> ServerName<'static> {
    ServerName::try_from("weald").expect("it is a name")
}

fn client(
    provider: Arc<CryptoProvider>,
    verifier: Arc<Verifier>,
    key: Arc<CertifiedKey>,
) -> Result<ClientConfig, Error> {
    let resolver = Arc::new(rustls::client::AlwaysResolvesClientRawPublicKeys::new(key));
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_cert_resolver(resolver);
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    config.enable_sni = false;
    config.resumption = rustls::client::Resumption::disabled();
    Ok(config)
}

fn server(
    provider: Arc<CryptoProvider>,
    verifier: Arc<Verifier>,
    key: Arc<CertifiedKey>,
) -> Result<ServerConfig, Error> {
    let resolver = Arc::new(rustls::server::AlwaysResolvesServerRawPublicKeys::new(key));
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(resolver);
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

fn admitted(keys: &Keys, certificate: &CertificateDer<'_>) -> Option<(NodeId, VerifyingKey)> {
    let public: &[u8; 32] = certificate.as_ref().strip_prefix(&SPKI)?.try_into().ok()?;
    let node = node_of(public);
    let key = VerifyingKey::from_bytes(public).ok()?;
    (keys.admits(node) && node != keys.node()).then_some((node, key))
}

/// Takes the keys of nodes that are admitted, and nothing else.
#[derive(Debug)]
struct Verifier(Keys);

impl Verifier {
    fn admit(&self, certificate: &CertificateDer<'_>, others: &[CertificateDer<'_>]) -> Result<(), Error> {
        match admitted(&self.0, certificate) {
            Some(_) if others.is_empty() => Ok(()),
            _ => Err(rustls::CertificateError::ApplicationVerificationFailure.into()),
        }
    }

    fn verify(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let bad = || Error::from(rustls::CertificateError::BadSignature);
        let (_, key) = admitted(&self.0, certificate).ok_or_else(bad)?;
        if signed.scheme != SignatureScheme::ED25519 {
            return Err(bad());
        }
        let signature = Signature::from_slice(signed.signature()).map_err(|_| bad())?;
        key.verify_strict(message, &signature).map_err(|_| bad())?;
        Ok(HandshakeSignatureValid::assertion())
    }

    fn refuse() -> Error {
        Error::General("nodes speak TLS 1.3 only".to_owned())
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.admit(end_entity, intermediates)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Verifier::refuse())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

impl ClientCertVerifier for Verifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.admit(end_entity, intermediates)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Verifier::refuse())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

/// The node's key as TLS wants it: the private half stays where it is.
#[derive(Debug)]
struct NodeKey(Identity);

impl SigningKey for NodeKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        offered
            .contains(&SignatureScheme::ED25519)
            .then(|| Box::new(NodeKey(self.0.clone())) as Box<dyn Signer>)
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        Some(SubjectPublicKeyInfoDer::from(
            [&SPKI[..], &self.0.public()].concat(),
        ))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ED25519
    }
}

impl Signer for NodeKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        Ok(self.0.signature(message).to_vec())
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ED25519
    }
}
