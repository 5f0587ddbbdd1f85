//! Fuzz targets as plain functions of bytes: `fuzz_targets/` hands them to libFuzzer, `tests/smoke.rs` runs them for a moment.
//!
//! Most live in the engine, behind `--cfg fuzzing`, because what they reach is private.

#![forbid(unsafe_code)]

mod chunks;
mod hot;
mod input;
mod messages;
mod operations;
mod proofs;
mod records;
mod requests;
mod streams;

use weald_engine::fuzz;

/// A target: takes any bytes, panics where something is wrong.
pub type Target = fn(&[u8]);

/// All targets by name.
pub const TARGETS: [(&str, Target); 18] = [
    ("pages", fuzz::pages),
    ("batch", fuzz::batch),
    ("log", fuzz::log),
    ("meta", fuzz::meta),
    ("free_list", fuzz::free_list),
    ("large", fuzz::large),
    ("bloom", fuzz::bloom),
    ("database", fuzz::database),
    ("operations", operations::run),
    ("dump", streams::dump),
    ("backup", streams::backup),
    ("proof", proofs::run),
    ("chunk", chunks::run),
    ("tree_records", records::run),
    ("hot_operations", hot::operations),
    ("hot_scribbles", hot::scribbles),
    ("requests", requests::run),
    ("messages", messages::run),
];

/// Runs the target of that name.
///
/// # Panics
///
/// If the target finds something, or there is none of that name.
pub fn run(name: &str, data: &[u8]) {
    let target = TARGETS.iter().find(|(known, _)| *known == name);
    let (_, target) = target.expect("each file of `fuzz_targets` is in the list");
    target(data);
}
