//! Sockets, and the loop that owns them.

mod connection;
mod event_loop;
mod listener;
mod places;
mod stream;
#[cfg(not(feature = "tls"))]
#[path = "no_tls.rs"]
mod tls;
#[cfg(feature = "tls")]
mod tls;
mod upkeep;

pub(crate) use connection::Connection;
pub(crate) use event_loop::{EventLoop, Message, WAKER, now_ms};
pub(crate) use listener::{Bound, Listener, resolve};
pub(crate) use places::{Listening, Places};
pub(crate) use tls::{Session, Tls};
