//! What is wrong with bytes that are no frame.

/// Why the bytes are no request or frame. The text is what Redis answers before it closes the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// The number of arguments is no number, or too large.
    #[error("Protocol error: invalid multibulk length")]
    InvalidMultibulkLength,
    /// The line that has the number of arguments does not end.
    #[error("Protocol error: too big mbulk count string")]
    EndlessMultibulkLength,
    /// More arguments than are taken from somebody unknown.
    #[error("Protocol error: unauthenticated multibulk length")]
    UnauthenticatedMultibulkLength,
    /// An argument begins with something else.
    #[error("Protocol error: expected '$', got '{}'", (*.0 as char).escape_default())]
    ExpectedBulk(u8),
    /// The length of an argument is no number, or too large.
    #[error("Protocol error: invalid bulk length")]
    InvalidBulkLength,
    /// The line that has the length of an argument does not end.
    #[error("Protocol error: too big bulk count string")]
    EndlessBulkLength,
    /// A longer argument than is taken from somebody unknown.
    #[error("Protocol error: unauthenticated bulk length")]
    UnauthenticatedBulkLength,
    /// A command that is given as a line does not end.
    #[error("Protocol error: too big inline request")]
    EndlessInline,
    /// A command that is given as a line has a quote that is not closed.
    #[error("Protocol error: unbalanced quotes in request")]
    UnbalancedQuotes,
    /// The arguments of one request are larger together than the limit.
    #[error("Protocol error: too big request")]
    RequestTooLarge,
    /// A reply that is none.
    #[error("Protocol error: {0}")]
    BadFrame(&'static str),
}
