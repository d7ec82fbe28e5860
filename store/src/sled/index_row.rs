//! The rows of the index: heads, facts and the watermark, as bytes.

use bytes::Bytes;
use chronicler_domain::{LogSequence, StreamVersion, Timestamp};
use uuid::Uuid;

use super::row::Tally;
use crate::frame::FactKind;
use crate::frame::varint::{self, Cursor};
use crate::index::{HeadRow, Watermark};

/// Raised when any row of the index changes its shape; another number is rebuilt, not read.
const INDEX_FORMAT: u8 = 1;

/// The last time is written as its distance from the first.
pub(super) fn encode_head(row: &HeadRow) -> Vec<u8> {
    let mut out = Vec::with_capacity(48);
    varint::put(&mut out, row.version.get());
    varint::put(&mut out, row.sequence.get());
    varint::put(&mut out, row.log_offset);
    out.extend_from_slice(row.commit_id.as_bytes());
    varint::put(&mut out, row.first_at.as_micros());
    let since = row
        .last_at
        .as_micros()
        .wrapping_sub(row.first_at.as_micros());
    varint::put(&mut out, since);
    out
}

pub(super) fn decode_head(body: &[u8]) -> Option<HeadRow> {
    let mut cursor = Cursor::new(body);
    let version = StreamVersion::new(cursor.varint()?);
    let sequence = LogSequence::new(cursor.varint()?);
    let log_offset = cursor.varint()?;
    let commit_id = Uuid::from_bytes(cursor.array()?);
    let first = cursor.varint()?;
    let last = first.wrapping_add(cursor.varint()?);
    cursor.is_empty().then_some(HeadRow {
        version,
        sequence,
        log_offset,
        commit_id,
        first_at: Timestamp::from_micros(first),
        last_at: Timestamp::from_micros(last),
    })
}

/// Facts of all kinds share a tree, each kind's in one run of it.
pub(super) fn fact_key(kind: FactKind, key: &[u8]) -> Vec<u8> {
    [&kind.number().to_be_bytes(), key].concat()
}

/// The fact's own key within the tree's.
pub(super) fn fact_key_of(row_key: &[u8]) -> Option<&[u8]> {
    row_key.split_first_chunk::<2>().map(|(_, key)| key)
}

pub(super) fn encode_fact(value: &[u8], sequence: LogSequence) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len() + 10);
    varint::put(&mut out, sequence.get());
    out.extend_from_slice(value);
    out
}

pub(super) fn decode_fact(bytes: Vec<u8>) -> Option<(Bytes, LogSequence)> {
    let mut cursor = Cursor::new(&bytes);
    let sequence = LogSequence::new(cursor.varint()?);
    let start = bytes.len() - cursor.rest().len();
    Some((Bytes::from(bytes).slice(start..), sequence))
}

pub(super) fn encode_watermark(watermark: &Watermark, tally: Tally) -> Vec<u8> {
    let mut out = vec![INDEX_FORMAT];
    out.extend_from_slice(watermark.store_id.as_bytes());
    varint::put(&mut out, watermark.sequence.get());
    varint::put(&mut out, watermark.log_offset);
    out.extend_from_slice(&watermark.checksum.to_le_bytes());
    varint::put(&mut out, tally.rows);
    out.extend_from_slice(&tally.sum.to_le_bytes());
    out
}

pub(super) fn decode_watermark(body: &[u8]) -> Option<(Watermark, Tally)> {
    let mut cursor = Cursor::new(body);
    if cursor.byte()? != INDEX_FORMAT {
        return None;
    }
    let watermark = Watermark {
        store_id: Uuid::from_bytes(cursor.array()?),
        sequence: LogSequence::new(cursor.varint()?),
        log_offset: cursor.varint()?,
        checksum: u32::from_le_bytes(cursor.array()?),
    };
    let tally = Tally {
        rows: cursor.varint()?,
        sum: u64::from_le_bytes(cursor.array()?),
    };
    cursor.is_empty().then_some((watermark, tally))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_read_back() {
        let row = HeadRow {
            version: StreamVersion::new(1 << 33),
            sequence: LogSequence::new(u64::MAX),
            log_offset: 1 << 40,
            commit_id: Uuid::from_u128(7),
            first_at: Timestamp::from_micros(9_000),
            last_at: Timestamp::from_micros(8_000),
        };
        let bytes = encode_head(&row);
        assert_eq!(decode_head(&bytes), Some(row));
        assert_eq!(decode_head(&bytes[..bytes.len() - 1]), None);
        let watermark = Watermark {
            store_id: Uuid::from_u128(1),
            sequence: LogSequence::new(2),
            log_offset: 3,
            checksum: 4,
        };
        let tally = Tally { rows: 5, sum: 6 };
        let bytes = encode_watermark(&watermark, tally);
        assert_eq!(decode_watermark(&bytes), Some((watermark, tally)));
        assert_eq!(decode_watermark(&bytes[1..]), None);
        let fact = encode_fact(b"value", LogSequence::new(300));
        let (value, sequence) = decode_fact(fact).unwrap();
        assert_eq!((&*value, sequence.get()), (b"value".as_slice(), 300));
    }
}
