//! Any bytes as a frame, with the checksum that they have and with the one that they should have.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/golden/decoders/frame.rs"]
mod frame;
#[path = "../../tests/golden/decoders/look.rs"]
mod look;

fuzz_target!(|bytes: &[u8]| {
    frame::frame(bytes);
    frame::resealed_frame(bytes);
});
