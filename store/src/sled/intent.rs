//! The file beside a database that says what is about to be written into it, so that a batch is written
//! wholly or written again.
//!
//! Bytes, little-endian: magic (8), number (8), length of the payload (8), CRC32C of number, length and
//! payload (4), payload. The payload is a list of rows: tree (1), flag (1: 1 = set, 0 = remove), key, and
//! if set the stored bytes; both with their length before them as LEB128.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::row::{RowChange, TreeId};
use crate::frame::varint::{self, Cursor};

/// The file is cut back to nothing after a batch that made it longer than this, in bytes.
const KEPT_BYTES_MAX: u64 = 1 << 20;
const MAGIC: &[u8; 8] = b"CHRINT\x00\x01";
const HEADER_BYTES: usize = 28;
/// The name of the file in the database's folder; sled knows nothing of it.
pub(super) const FILE_NAME: &str = "intent";

/// A batch as it was found in the file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Intent {
    pub(super) number: u64,
    /// Empty if the batch has been sealed.
    pub(super) rows: Vec<RowChange>,
}

/// The open file.
#[derive(Debug)]
pub(super) struct IntentFile {
    file: File,
    /// Whether writing fails, as where the disk is full.
    #[cfg(test)]
    pub(super) fails: std::sync::atomic::AtomicBool,
}

impl IntentFile {
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(folder.join(FILE_NAME))?;
        Ok(Self {
            file,
            #[cfg(test)]
            fails: false.into(),
        })
    }

    /// The batch in the file; `None` if there is none, or one that was never wholly written.
    pub(super) fn read(&self) -> io::Result<Option<Intent>> {
        let mut bytes = Vec::new();
        (&self.file).read_to_end(&mut bytes)?;
        Ok(decode(&bytes))
    }

    /// Writes a batch over the one before and makes it durable.
    pub(super) fn write(&self, number: u64, rows: &[&[RowChange]]) -> io::Result<()> {
        #[cfg(test)]
        if self.fails.load(std::sync::atomic::Ordering::SeqCst) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.file.write_all_at(&encode(number, rows), 0)?;
        self.file.sync_data()
    }

    /// Forgets a batch that could not be written or made durable: nobody may complete it later.
    pub(super) fn forget(&self) -> io::Result<()> {
        self.file.set_len(0)
    }

    /// Gives back the room of a large batch that has been sealed; only its number is kept.
    pub(super) fn trim(&self, number: u64) -> io::Result<()> {
        if self.file.metadata()?.len() > KEPT_BYTES_MAX {
            self.file.set_len(0)?;
            self.file.write_all_at(&encode(number, &[]), 0)?;
        }
        Ok(())
    }
}

fn encode(number: u64, rows: &[&[RowChange]]) -> Vec<u8> {
    let mut bytes = vec![0; HEADER_BYTES];
    for row in rows.iter().copied().flatten() {
        bytes.push(row.tree.number());
        bytes.push(u8::from(row.stored.is_some()));
        varint::put_bytes(&mut bytes, &row.key);
        if let Some(stored) = &row.stored {
            varint::put_bytes(&mut bytes, stored);
        }
    }
    let (header, payload) = bytes.split_at_mut(HEADER_BYTES);
    let head = header_of(number, payload);
    header.copy_from_slice(&head);
    bytes
}

fn header_of(number: u64, payload: &[u8]) -> [u8; HEADER_BYTES] {
    let number = number.to_le_bytes();
    let length = (payload.len() as u64).to_le_bytes();
    let crc = crc32c::crc32c_append(crc32c::crc32c(&number), &length);
    let crc = crc32c::crc32c_append(crc, payload).to_le_bytes();
    let parts = [MAGIC.as_slice(), &number, &length, &crc];
    let mut header = [0; HEADER_BYTES];
    for (to, from) in header.iter_mut().zip(parts.into_iter().flatten()) {
        *to = *from;
    }
    header
}

fn decode(bytes: &[u8]) -> Option<Intent> {
    let (header, rest) = bytes.split_first_chunk::<HEADER_BYTES>()?;
    let mut cursor = Cursor::new(header.as_slice());
    if cursor.array::<8>()? != *MAGIC {
        return None;
    }
    let number = u64::from_le_bytes(cursor.array()?);
    let length = usize::try_from(u64::from_le_bytes(cursor.array()?)).ok()?;
    let payload = rest.get(..length)?;
    if header_of(number, payload) != *header {
        return None;
    }
    let mut cursor = Cursor::new(payload);
    let mut rows = Vec::new();
    while !cursor.is_empty() {
        let tree = TreeId::from_number(cursor.byte()?)?;
        let set = cursor.byte()? == 1;
        let key = cursor.bytes()?.to_vec();
        let stored = if set {
            Some(cursor.bytes()?.to_vec())
        } else {
            None
        };
        rows.push(RowChange { tree, key, stored });
    }
    Some(Intent { number, rows })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<RowChange> {
        vec![
            RowChange::set(TreeId::Heads, "a", vec![1, 2, 3]),
            RowChange::remove(TreeId::Facts, "b"),
            RowChange::set(TreeId::Meta, "", vec![9; 300]),
        ]
    }

    #[test]
    fn a_batch_reads_back_and_half_of_one_does_not() {
        let rows = rows();
        let (first, second) = rows.split_at(1);
        let bytes = encode(7, &[first, second]);
        let expected = Intent {
            number: 7,
            rows: rows.clone(),
        };
        assert_eq!(decode(&bytes).as_ref(), Some(&expected));
        let with_tail = [bytes.as_slice(), &[0xAA; 50]].concat();
        assert_eq!(decode(&with_tail), Some(expected));
        for cut in 0..bytes.len() {
            assert_eq!(decode(&bytes[..cut]), None, "cut at {cut}");
        }
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&flipped), None, "bit {bit}");
        }
    }

    #[test]
    fn a_large_batch_gives_its_room_back() {
        let folder = tempfile::tempdir().unwrap();
        let file = IntentFile::open(folder.path()).unwrap();
        assert_eq!(file.read().unwrap(), None);
        let large = vec![RowChange::set(
            TreeId::Heads,
            "a",
            vec![1; KEPT_BYTES_MAX as usize],
        )];
        file.write(1, &[&large]).unwrap();
        drop(file);
        let file = IntentFile::open(folder.path()).unwrap();
        assert_eq!(file.read().unwrap().unwrap().rows, large);
        file.trim(1).unwrap();
        drop(file);
        let file = IntentFile::open(folder.path()).unwrap();
        let kept = file.read().unwrap().unwrap();
        assert_eq!((kept.number, kept.rows), (1, vec![]));
        file.write(2, &[&rows()]).unwrap();
        let length = std::fs::metadata(folder.path().join(FILE_NAME))
            .unwrap()
            .len();
        file.trim(2).unwrap();
        assert!(length < 1_000);
        drop(file);
        let file = IntentFile::open(folder.path()).unwrap();
        assert_eq!(file.read().unwrap().unwrap().number, 2);
    }
}
