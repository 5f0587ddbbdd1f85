//! The target `hot_scribbles`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| weald_fuzz::run("hot_scribbles", data));
