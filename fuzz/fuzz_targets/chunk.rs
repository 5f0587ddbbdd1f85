//! The target `chunk`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| weald_fuzz::run("chunk", data));
