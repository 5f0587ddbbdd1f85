//! The target `tree_records`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| weald_fuzz::run("tree_records", data));
