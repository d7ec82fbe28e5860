//! Any bytes as the last segment of a directory: verified, opened with recovery, and read.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/golden/decoders/look.rs"]
mod look;
#[path = "../../tests/golden/decoders/segment.rs"]
mod segment;

fuzz_target!(|bytes: &[u8]| {
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden/format_1");
    segment::segment(Path::new(golden), bytes);
});
