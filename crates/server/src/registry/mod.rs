//! One table of all commands: the source of the dispatcher, of `COMMAND` with its subcommands, of ACL categories, and of the page on compatibility.
//!
//! Each family of commands has a table in its own module of [`commands`](crate::commands):
//!
//! ```text
//! pub(crate) const COMMANDS: &[Command] = &[
//!     Command::new("get", 2, Group::String, "1.0.0", "Returns the string value of a key.", get)
//!         .flags(Flags::READONLY.and(Flags::FAST))
//!         .keys(&[KeySpec::one(1, Access::Read)]),
//! ];
//! ```
//!
//! What arguments they take is a column of its own, in `syntax`.

mod flags;
mod keys;
mod recent;
mod renames;
mod syntax;
mod table;

pub(crate) use flags::{Category, Flags, Group};
pub(crate) use keys::{Access, KeySpec, Place};
pub(crate) use recent::Recent;
pub(crate) use renames::Renames;
pub(crate) use syntax::{Argument, arguments};
pub(crate) use table::{Action, Command, CommandId, Found, Handler, registry};
