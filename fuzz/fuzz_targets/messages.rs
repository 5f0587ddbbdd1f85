//! The target `messages`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| weald_fuzz::run("messages", data));
