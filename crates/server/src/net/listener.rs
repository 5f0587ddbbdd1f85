//! Sockets that clients connect to.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use mio::net::{TcpListener, TcpStream, UnixListener};
use mio::{Interest, Registry, Token};
use socket2::{Domain, Protocol, Socket, Type};

use crate::net::stream::Stream;
use crate::net::tls::Tls;

/// A socket that clients connect to.
pub(crate) enum Listener {
    Tcp(TcpListener),
    Tls(TcpListener, Tls),
    Unix(UnixListener, PathBuf),
}

/// Where somebody listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Bound {
    Tcp(SocketAddr),
    Tls(SocketAddr),
    Unix(PathBuf),
}

impl std::fmt::Display for Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Bound::Tcp(address) => write!(f, "{address}"),
            Bound::Tls(address) => write!(f, "{address} with TLS"),
            Bound::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// A client that has connected.
pub(crate) struct Accepted {
    pub(crate) stream: Stream,
    pub(crate) peer: String,
    pub(crate) local: String,
    pub(crate) is_unix: bool,
    pub(crate) is_local: bool,
}

impl Listener {
    /// Listens on an address, for clients that use TLS where it is given.
    pub(crate) fn tcp(address: SocketAddr, backlog: i32, tls: Option<Tls>) -> io::Result<Listener> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(backlog)?;
        let listener = TcpListener::from_std(socket.into());
        Ok(match tls {
            Some(tls) => Listener::Tls(listener, tls),
            None => Listener::Tcp(listener),
        })
    }

    /// Listens on a path. A socket that nobody listens on any more is taken away first.
    pub(crate) fn unix(path: &Path, mode: u32) -> io::Result<Listener> {
        let is_socket = std::fs::symlink_metadata(path)
            .is_ok_and(|meta| std::os::unix::fs::FileTypeExt::is_socket(&meta.file_type()));
        if is_socket {
            if std::os::unix::net::UnixStream::connect(path).is_ok() {
                return Err(io::ErrorKind::AddrInUse.into());
            }
            std::fs::remove_file(path)?;
        }
        let listener = UnixListener::bind(path)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
        Ok(Listener::Unix(listener, path.to_owned()))
    }

    pub(crate) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        match self {
            Listener::Tcp(listener) | Listener::Tls(listener, _) => {
                registry.register(listener, token, Interest::READABLE)
            }
            Listener::Unix(listener, _) => registry.register(listener, token, Interest::READABLE),
        }
    }

    pub(crate) fn deregister(&mut self, registry: &Registry) {
        // What is not registered need not be taken out.
        let _ = match self {
            Listener::Tcp(listener) | Listener::Tls(listener, _) => registry.deregister(listener),
            Listener::Unix(listener, _) => registry.deregister(listener),
        };
    }

    pub(crate) fn bound(&self) -> io::Result<Bound> {
        match self {
            Listener::Tcp(listener) => listener.local_addr().map(Bound::Tcp),
            Listener::Tls(listener, _) => listener.local_addr().map(Bound::Tls),
            Listener::Unix(_, path) => Ok(Bound::Unix(path.clone())),
        }
    }

    /// The next client that has connected; `None` where there is none.
    pub(crate) fn accept(&self) -> io::Result<Option<Accepted>> {
        let accepted = match self {
            Listener::Tcp(listener) => listener
                .accept()
                .map(|(stream, peer)| accepted(Stream::Tcp, stream, peer)),
            Listener::Tls(listener, tls) => listener.accept().and_then(|(stream, peer)| {
                let session = tls.accept()?;
                Ok(accepted(|stream| Stream::Tls(stream, session), stream, peer))
            }),
            Listener::Unix(listener, path) => listener.accept().map(|(stream, _)| {
                let local = format!("{}:0", path.display());
                let stream = Stream::Unix(stream);
                Accepted {
                    stream,
                    peer: local.clone(),
                    local,
                    is_unix: true,
                    is_local: true,
                }
            }),
        };
        match accepted {
            Ok(accepted) => Ok(Some(accepted)),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(e) => Err(e),
        }
    }
}

/// A client from an address.
fn accepted(carrier: impl FnOnce(TcpStream) -> Stream, stream: TcpStream, peer: SocketAddr) -> Accepted {
    let _ = stream.set_nodelay(true);
    let local = stream
        .local_addr()
        .map(|address| address.to_string())
        .unwrap_or_default();
    Accepted {
        stream: carrier(stream),
        peer: peer.to_string(),
        local,
        is_unix: false,
        is_local: peer.ip().to_canonical().is_loopback(),
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Listener::Unix(_, path) = self {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// The addresses that a name and a port mean.
pub(crate) fn resolve(name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    match name {
        "*" | "0.0.0.0" => Ok(vec![SocketAddr::from(([0, 0, 0, 0], port))]),
        "::*" | "::" => Ok(vec![SocketAddr::from(([0; 16], port))]),
        name => Ok((name, port).to_socket_addrs()?.collect()),
    }
}
