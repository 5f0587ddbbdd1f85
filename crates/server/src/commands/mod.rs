//! The commands, a module for each family, and the list of their tables.

mod args;
mod bitfield;
mod bitmaps;
mod connection;
mod decimal;
mod dump;
mod expiry;
mod hashes;
mod keys;
mod lcs;
mod lists;
mod scan;
mod sets;
mod sort;
mod strings;
mod zcombine;
mod zpops;
mod zranges;
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
