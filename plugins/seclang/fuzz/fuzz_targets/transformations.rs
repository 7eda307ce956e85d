#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| seclang_fuzz::transformations(data));
