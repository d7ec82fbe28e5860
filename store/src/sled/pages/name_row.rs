//! The row of a file: its name, its length, and which of two rows of one name counts.

use crate::frame::varint::{self, Cursor};
use crate::index::IndexError;
use crate::sled::row::{self, RowChange, TreeId};

/// The tree of these rows.
pub(super) const TREE: TreeId = TreeId::LogFiles;

/// What the row of a file says. Its key is the file's number, which is never used again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NameRow {
    /// Of two files of one name the one that got it later counts. So creating and renaming over an existing
    /// name are one row each, and a crash leaves either file, whole.
    pub(super) named: u64,
    pub(super) length: u64,
    pub(super) name: String,
}

impl NameRow {
    pub(super) fn set(&self, number: u64) -> RowChange {
        let mut body = Vec::with_capacity(self.name.len() + 20);
        varint::put(&mut body, self.named);
        varint::put(&mut body, self.length);
        body.extend_from_slice(self.name.as_bytes());
        RowChange::set(TREE, number.to_be_bytes(), body)
    }

    pub(super) fn remove(number: u64) -> RowChange {
        RowChange::remove(TREE, number.to_be_bytes())
    }

    /// The number and the row as stored.
    pub(super) fn read(key: &[u8], stored: &[u8]) -> Result<(u64, Self), IndexError> {
        let body = row::body(TREE, key, stored)?;
        Self::decode(key, body).ok_or_else(|| row::damaged(TREE, key))
    }

    fn decode(key: &[u8], body: &[u8]) -> Option<(u64, Self)> {
        let number = u64::from_be_bytes(key.try_into().ok()?);
        let mut cursor = Cursor::new(body);
        let (named, length) = (cursor.varint()?, cursor.varint()?);
        let name = std::str::from_utf8(cursor.rest()).ok()?.to_owned();
        let row = Self {
            named,
            length,
            name,
        };
        Some((number, row))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_reads_back_and_every_flipped_bit_is_noticed() {
        let row = NameRow {
            named: 300,
            length: 64 << 20,
            name: "00000000000000000001.seg".to_owned(),
        };
        let change = row.set(7);
        let stored = change.stored.unwrap();
        assert_eq!(NameRow::read(&change.key, &stored).unwrap(), (7, row));
        for bit in 0..stored.len() * 8 {
            let mut flipped = stored.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(NameRow::read(&change.key, &flipped).is_err());
        }
    }
}
