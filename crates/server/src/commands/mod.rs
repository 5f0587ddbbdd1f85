//! The commands, a module for each family, and the list of their tables.

mod bitmaps;
mod connection;
mod expiry;
mod hashes;
mod keys;
mod lists;
mod sets;
mod strings;
mod zsets;

use crate::registry::Command;

/// The tables of all families.
pub(crate) const FAMILIES: &[&[Command]] = &[
    strings::COMMANDS,
    keys::COMMANDS,
    expiry::COMMANDS,
    hashes::COMMANDS,
    sets::COMMANDS,
    zsets::COMMANDS,
    lists::COMMANDS,
    bitmaps::COMMANDS,
    connection::COMMANDS,
];
