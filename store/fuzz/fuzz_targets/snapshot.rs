//! Any bytes as a snapshot whose checksum was right; the first of them say how long its key is.
#![no_main]

use chronicler_store::test_points::reads_as_snapshot;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((length, rest)) = bytes.split_first() else {
        return;
    };
    let (key, value) = rest.split_at(rest.len().min(usize::from(*length)));
    reads_as_snapshot(key, value.to_vec());
});
