#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| mapledb_fuzz::data_file(input));
