//! Which version of Weald this is, and as which one of Redis it answers.

/// The version of Redis whose replies these are.
pub const REDIS_VERSION: &str = "7.2.4";

/// The version of Weald.
pub(crate) const WEALD_VERSION: &str = env!("CARGO_PKG_VERSION");

/// What `-v` prints: in the form of redis-server, so that whoever looks for a version there finds one.
pub fn version_line() -> String {
    format!(
        "Weald server v={REDIS_VERSION} sha=00000000:0 malloc=libc bits={} build=weald-{WEALD_VERSION}",
        usize::BITS
    )
}
