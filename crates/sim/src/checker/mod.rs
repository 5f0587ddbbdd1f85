//! Checkers: each takes what happened, and says what must not have.

mod plain;
mod register;

pub use plain::check_plain;
pub use register::check_register;
