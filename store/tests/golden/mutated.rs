//! A bounded run of what the fuzzer does without bounds: golden bytes, altered by chance.

use std::fs;

use super::decoders::{frame, segment};
use super::file;

/// Altered copies of each golden frame, and of the golden segment.
const FRAMES: u64 = 400;
const SEGMENTS: u64 = 150;

/// Numbers by chance, always the same ones.
struct Chance(u64);

impl Chance {
    fn below(&mut self, below: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % below.max(1)
    }

    /// Some bytes flipped, overwritten, left out, doubled, or taken from elsewhere in the same bytes.
    fn alter(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..1 + self.below(4) {
            let (at, of) = (self.below(bytes.len()), self.below(bytes.len()));
            let count = 1 + self
                .below(16)
                .min(bytes.len().saturating_sub(at.max(of) + 1));
            match self.below(6) {
                0 => bytes[at] ^= 1 << self.below(8),
                1 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][self.below(5)],
                2 => drop(bytes.drain(at..at + count)),
                3 => bytes.copy_within(of..of + count, at),
                4 => {
                    let piece = bytes[of..of + count].to_vec();
                    bytes.splice(at..at, piece);
                }
                _ => bytes.truncate(at),
            }
            if bytes.is_empty() {
                return;
            }
        }
    }
}

#[test]
fn frames_that_were_altered_by_chance_are_read_or_refused() {
    let mut chance = Chance(1);
    let (mut read, mut refused) = (0, 0);
    for (_, golden) in file::read() {
        for _ in 0..FRAMES {
            let mut bytes = golden.clone();
            chance.alter(&mut bytes);
            assert!(!frame::frame(&bytes) || bytes == golden);
            match frame::resealed_frame(&bytes) {
                true => read += 1,
                false => refused += 1,
            }
        }
    }
    // Both happen: what is altered is neither always nonsense nor always harmless.
    assert!(read > 0 && refused > 0, "{read} read, {refused} refused");
}

#[test]
fn segments_that_were_altered_by_chance_are_opened_or_refused() {
    let mut chance = Chance(2);
    let directory = file::folder().join("format_1");
    let golden = fs::read(directory.join("journal/00000000000000000002.seg")).unwrap();
    assert!(segment::segment(&directory, &golden));
    let (mut opened, mut refused) = (0, 0);
    for _ in 0..SEGMENTS {
        let mut bytes = golden.clone();
        chance.alter(&mut bytes);
        match segment::segment(&directory, &bytes) {
            true => opened += 1,
            false => refused += 1,
        }
    }
    assert!(
        opened > 0 && refused > 0,
        "{opened} opened, {refused} refused"
    );
}
