//! What one simulated file holds: as read, and as it lies on the medium.

use super::random::Random;

/// A write reaches the medium in pieces of this size, each on its own.
const PIECE_BYTES: usize = 512;

/// What one file holds.
#[derive(Clone, Debug, Default)]
pub(super) struct Contents {
    /// As every reader sees it.
    pub now: Vec<u8>,
    /// As it lies on the medium for certain.
    synced: Vec<u8>,
    /// What has been done since, in order.
    unsynced: Vec<Change>,
}

#[derive(Clone, Debug)]
enum Change {
    Write { at: usize, bytes: Vec<u8> },
    Length(usize),
}

impl Contents {
    pub(super) fn write(&mut self, at: usize, bytes: &[u8]) {
        put(&mut self.now, at, bytes);
        let bytes = bytes.to_vec();
        self.unsynced.push(Change::Write { at, bytes });
    }

    pub(super) fn set_length(&mut self, length: usize) {
        resize(&mut self.now, length);
        self.unsynced.push(Change::Length(length));
    }

    pub(super) fn sync(&mut self) {
        for change in std::mem::take(&mut self.unsynced) {
            match change {
                Change::Write { at, bytes } => put(&mut self.synced, at, &bytes),
                Change::Length(length) => resize(&mut self.synced, length),
            }
        }
    }

    /// A sync that failed: what reached the medium is left to chance, and everything counts as clean, so that
    /// no later sync writes it. Readers still see it.
    pub(super) fn sync_failed(&mut self, random: &mut Random) {
        self.synced = self.after_cut(random);
        self.unsynced.clear();
    }

    /// What is left after a power cut.
    pub(super) fn cut(&self, random: &mut Random) -> Self {
        let left = self.after_cut(random);
        Self {
            now: left.clone(),
            synced: left,
            unsynced: Vec::new(),
        }
    }

    /// Lengths go to the medium in order, up to some point; of writes each piece comes through, does not, or
    /// does in part, whatever becomes of the others.
    fn after_cut(&self, random: &mut Random) -> Vec<u8> {
        let mut left = self.synced.clone();
        let lengths_until = random.below(self.unsynced.len() as u64 + 1) as usize;
        let all_writes = random.one_in(8);
        let mut length = left.len();
        for (number, change) in self.unsynced.iter().enumerate() {
            let counts = number < lengths_until;
            match change {
                Change::Length(new) if counts => {
                    resize(&mut left, *new);
                    length = *new;
                }
                Change::Length(_) => {}
                Change::Write { at, bytes } => {
                    if counts {
                        length = length.max(at + bytes.len());
                    }
                    write_in_pieces(&mut left, *at, bytes, all_writes, random);
                }
            }
        }
        resize(&mut left, length);
        left
    }
}

fn write_in_pieces(into: &mut Vec<u8>, at: usize, bytes: &[u8], whole: bool, random: &mut Random) {
    let mut from = 0;
    while from < bytes.len() {
        let room = PIECE_BYTES - (at + from) % PIECE_BYTES;
        let to = bytes.len().min(from + room);
        let piece = &bytes[from..to];
        let kept = match random.below(8) {
            _ if whole => piece.len(),
            0..=2 => 0,
            3 => random.below(piece.len() as u64 + 1) as usize,
            _ => piece.len(),
        };
        put(into, at + from, &piece[..kept]);
        from = to;
    }
}

fn put(into: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    if bytes.is_empty() {
        return;
    }
    if into.len() < at + bytes.len() {
        resize(into, at + bytes.len());
    }
    into[at..at + bytes.len()].copy_from_slice(bytes);
}

/// As `Vec::resize`, which goes byte by byte where nothing is optimised.
fn resize(bytes: &mut Vec<u8>, length: usize) {
    if length > bytes.len() {
        bytes.extend_from_slice(&vec![0; length - bytes.len()]);
    } else {
        bytes.truncate(length);
    }
}
