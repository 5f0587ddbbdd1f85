//! Transports that a build has and a machine may not.

use weald_cluster::TransportKind;

/// Why a transport can't be had here, though it was built in.
pub(crate) fn is_forbidden(kind: TransportKind) -> Option<String> {
    #[cfg(all(target_os = "linux", feature = "io_uring"))]
    if kind == TransportKind::Uring {
        use weald_cluster::{Identity, Keys, TcpError, TcpOptions};
        let keys = Keys::new(Identity::from_seed(&[9; 32]), "orchard", b"sixteen random bytes");
        return match kind.open(TcpOptions::new("127.0.0.1:0"), keys) {
            Err(error @ TcpError::Uring(_)) => Some(error.to_string()),
            _ => None,
        };
    }
    let _ = kind;
    None
}
