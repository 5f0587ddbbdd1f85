//! What the server knows of a client.

use weald_resp::Protocol;

use crate::blocking::Blocked;

/// A client's number: never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ClientId(pub(crate) u64);

/// What the server knows of a client.
pub(crate) struct Session {
    pub(crate) id: ClientId,
    /// The database that it has selected.
    pub(crate) db: usize,
    pub(crate) protocol: Protocol,
    /// The command that it waits in.
    pub(crate) blocked: Option<Blocked>,
}

impl Session {
    pub(crate) fn new(id: ClientId) -> Session {
        Session {
            id,
            db: 0,
            protocol: Protocol::Resp2,
            blocked: None,
        }
    }
}
