//! Any bytes as a frame, with the checksum that they have and with the one that they should have.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[allow(dead_code, reason = "each target uses some of it")]
#[path = "../../tests/golden/decoders.rs"]
mod decoders;

fuzz_target!(|bytes: &[u8]| {
    decoders::frame(bytes);
    decoders::resealed_frame(bytes);
});
