//! Users, and what each may do.
//!
//! ```text
//!  Users ─► User ─► passwords, as their SHA-256
//!              └──► Selector, and more of them: commands, keys, channels
//! ```

pub(crate) mod file;
mod log;
mod password;
pub(crate) mod selector;
mod user;
mod users;

#[cfg(test)]
mod tests;

pub(crate) use log::{AclLog, LogEntry, Reason};
pub(crate) use password::{Digest, same};
pub(crate) use selector::{Denied, Selector};
pub(crate) use user::User;
pub(crate) use users::Users;
