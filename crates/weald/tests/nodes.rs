//! Clusters of real processes on loopback, which are killed, stopped and restarted, and in networks that break.

mod nodes {
    mod calm;
    pub(crate) mod client;
    mod commands;
    mod deletions;
    pub(crate) mod failures;
    pub(crate) mod host;
    mod members;
    /// Nodes in network namespaces of their own: cables that are cut, ways that lead in one direction only, and a network that loses what it carries.
    ///
    /// Needs Linux, root and `ip` (package iproute2). Where they are missing it says so and does nothing; with `WEALD_NEED_NAMESPACES` set that is a failure.
    #[cfg(target_os = "linux")]
    mod namespaces {
        mod network;
        mod node;
        mod story;
    }
}
