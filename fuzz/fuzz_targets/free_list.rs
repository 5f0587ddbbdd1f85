//! The target `free_list`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| weald_fuzz::run("free_list", data));
