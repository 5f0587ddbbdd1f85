//! The target `log`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| weald_fuzz::run("log", data));
