//! Any bytes as the last segment of a directory: verified, opened with recovery, and read.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;

#[allow(dead_code, reason = "each target uses some of it")]
#[path = "../../tests/golden/decoders.rs"]
mod decoders;

fuzz_target!(|bytes: &[u8]| {
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden/format_1");
    decoders::segment(Path::new(golden), bytes);
});
