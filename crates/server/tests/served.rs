//! The server over real sockets, in the process of the test.

#[path = "served/client.rs"]
mod client;

#[path = "served/access.rs"]
mod access;
#[path = "served/blocking.rs"]
mod blocking;
#[path = "served/buckets.rs"]
mod buckets;
#[path = "served/dashboard.rs"]
mod dashboard;
#[path = "served/http.rs"]
mod http;
#[path = "served/introspection.rs"]
mod introspection;
#[path = "served/limits.rs"]
mod limits;
#[path = "served/messages.rs"]
mod messages;
#[path = "served/protocol.rs"]
mod protocol;
#[path = "served/recorded.rs"]
mod recorded;
#[path = "served/restarts.rs"]
mod restarts;
#[cfg(feature = "tls")]
#[path = "served/tls.rs"]
mod tls;
#[path = "served/tracking.rs"]
mod tracking;
#[path = "served/transactions.rs"]
mod transactions;
#[path = "served/types.rs"]
mod types;
#[path = "served/webdriver.rs"]
mod webdriver;
