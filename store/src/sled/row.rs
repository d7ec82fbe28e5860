//! One row as it lies in sled: a body and a CRC, and the count and hash over many of them.

use crate::index::IndexError;

/// The trees of all databases. The numbers are their names on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub(super) enum TreeId {
    Meta = 1,
    Heads = 2,
    Facts = 3,
    FactChunks = 4,
    Snapshots = 5,
    SnapshotChunks = 6,
    Views = 7,
    ViewRows = 8,
    ViewChunks = 9,
    LogFiles = 10,
    LogPages = 11,
}

impl TreeId {
    const ALL: [Self; 11] = [
        Self::Meta,
        Self::Heads,
        Self::Facts,
        Self::FactChunks,
        Self::Snapshots,
        Self::SnapshotChunks,
        Self::Views,
        Self::ViewRows,
        Self::ViewChunks,
        Self::LogFiles,
        Self::LogPages,
    ];

    pub(super) const fn number(self) -> u8 {
        self as u8
    }

    /// Whether its rows are pieces of values that rows of another tree tell of.
    pub(super) const fn holds_chunks(self) -> bool {
        matches!(
            self,
            Self::FactChunks | Self::SnapshotChunks | Self::ViewChunks
        )
    }

    pub(super) fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|tree| tree.number() == number)
    }
}

/// A row's new stored bytes (body and CRC), or its removal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RowChange {
    pub(super) tree: TreeId,
    pub(super) key: Vec<u8>,
    pub(super) stored: Option<Vec<u8>>,
}

impl RowChange {
    pub(super) fn set(tree: TreeId, key: impl Into<Vec<u8>>, body: Vec<u8>) -> Self {
        let key = key.into();
        let stored = Some(with_crc(tree, &key, body));
        Self { tree, key, stored }
    }

    pub(super) fn remove(tree: TreeId, key: impl Into<Vec<u8>>) -> Self {
        Self {
            tree,
            key: key.into(),
            stored: None,
        }
    }
}

/// The body of a stored row, if its CRC is right.
pub(super) fn body<'a>(tree: TreeId, key: &[u8], stored: &'a [u8]) -> Result<&'a [u8], IndexError> {
    stored
        .split_last_chunk::<4>()
        .filter(|(body, crc)| u32::from_le_bytes(**crc) == crc_of(tree, key, body))
        .map(|(body, _)| body)
        .ok_or_else(|| damaged(tree, key))
}

/// The error for a row that does not hold what was written there.
pub(super) fn damaged(tree: TreeId, key: &[u8]) -> IndexError {
    IndexError {
        operation: "read",
        reason: format!(
            "the row {:?} in {tree:?} is damaged",
            String::from_utf8_lossy(key)
        ),
    }
}

fn with_crc(tree: TreeId, key: &[u8], mut body: Vec<u8>) -> Vec<u8> {
    let crc = crc_of(tree, key, &body);
    body.extend_from_slice(&crc.to_le_bytes());
    body
}

fn crc_of(tree: TreeId, key: &[u8], body: &[u8]) -> u32 {
    let crc = crc32c::crc32c_append(u32::from(tree.number()), key);
    crc32c::crc32c_append(crc, body)
}

/// How many rows there are, and an order-independent hash of them: the wrapping sum of each row's hash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) rows: u64,
    pub(super) sum: u64,
}

impl Tally {
    pub(super) fn add(&mut self, tree: TreeId, key: &[u8], stored: &[u8]) {
        self.rows = self.rows.wrapping_add(1);
        self.sum = self.sum.wrapping_add(hash_of(tree, key, stored));
    }

    pub(super) fn take(&mut self, tree: TreeId, key: &[u8], stored: &[u8]) {
        self.rows = self.rows.wrapping_sub(1);
        self.sum = self.sum.wrapping_sub(hash_of(tree, key, stored));
    }
}

/// Fixed for ever, because sums of it are on disk; so it is not the standard library's hasher.
fn hash_of(tree: TreeId, key: &[u8], stored: &[u8]) -> u64 {
    let seed = (key.len() as u64) << 8 | u64::from(tree.number());
    scramble(absorb(absorb(scramble(seed), key), stored))
}

fn absorb(mut hash: u64, bytes: &[u8]) -> u64 {
    const PRIME: u64 = 0x9E37_79B1_85EB_CA87;
    let (words, tail) = bytes.as_chunks::<8>();
    for word in words {
        hash = (hash ^ u64::from_le_bytes(*word)).wrapping_mul(PRIME);
        hash ^= hash >> 32;
    }
    let mut last = [0; 8];
    for (to, from) in last.iter_mut().zip(tail) {
        *to = *from;
    }
    hash = (hash ^ u64::from_le_bytes(last)).wrapping_mul(PRIME);
    hash ^ (hash >> 29) ^ (bytes.len() as u64)
}

/// The finalizer of MurmurHash3: every bit of the input reaches every bit of the output.
fn scramble(mut hash: u64) -> u64 {
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xFF51_AFD7_ED55_8CCD);
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xC4CE_B9FE_1A85_EC53);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(tree: TreeId, key: &str, body_bytes: &str) -> Vec<u8> {
        RowChange::set(tree, key, body_bytes.as_bytes().to_vec())
            .stored
            .unwrap()
    }

    #[test]
    fn a_row_that_changed_or_moved_is_damaged() {
        let row = stored(TreeId::Heads, "a", "body");
        assert_eq!(body(TreeId::Heads, b"a", &row).unwrap(), b"body");
        assert!(body(TreeId::Heads, b"b", &row).is_err());
        assert!(body(TreeId::Facts, b"a", &row).is_err());
        for bit in 0..row.len() * 8 {
            let mut flipped = row.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(body(TreeId::Heads, b"a", &flipped).is_err());
        }
        assert!(body(TreeId::Heads, b"a", &row[..3]).is_err());
    }

    #[test]
    fn the_tally_forgets_the_order_and_nothing_else() {
        let rows = [("a", "one"), ("b", "two"), ("ab", ""), ("", "ab")];
        let tally = |order: &[usize]| {
            let mut tally = Tally::default();
            for at in order {
                let (key, value) = rows[*at];
                tally.add(
                    TreeId::Heads,
                    key.as_bytes(),
                    &stored(TreeId::Heads, key, value),
                );
            }
            tally
        };
        assert_eq!(tally(&[0, 1, 2, 3]), tally(&[3, 1, 0, 2]));
        let mut less = tally(&[0, 1, 2, 3]);
        less.take(TreeId::Heads, b"ab", &stored(TreeId::Heads, "ab", ""));
        assert_eq!(less, tally(&[0, 1, 3]));
        assert_ne!(tally(&[0, 1, 2]), tally(&[0, 1, 3]));
        assert_ne!(
            hash_of(TreeId::Heads, b"ab", b""),
            hash_of(TreeId::Heads, b"a", b"b")
        );
    }

    #[test]
    fn the_hash_is_what_it_was_when_it_was_written_to_disk() {
        assert_eq!(
            hash_of(TreeId::Heads, b"key", b"value"),
            71_908_506_754_405_509
        );
        assert_eq!(
            hash_of(TreeId::Facts, b"", &[7; 21]),
            14_252_115_086_398_427_058
        );
    }
}
