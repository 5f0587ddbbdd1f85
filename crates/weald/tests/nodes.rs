//! Clusters of real processes on loopback, which are killed, stopped and restarted.

mod nodes {
    pub(crate) mod client;
    mod commands;
    mod failures;
    pub(crate) mod host;
    mod members;
}
