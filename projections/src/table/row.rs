//! How a row lies in the store: its value, and what it was when the table was last written.
//!
//! Rows are written before the checkpoint, so a crash in between leaves rows ahead of it. Such a row falls
//! back to what it was at the checkpoint, which lies beside its value. So after a crash the whole table
//! stands exactly at its checkpoint, and a handler that reads one row to change another folds every event as
//! it did the first time.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::{BufMut, Bytes, BytesMut};
use chronicler_domain::GlobalPosition;
use chronicler_store::codec::{CodecError, decode_shaped, encode_shaped};
use chronicler_store::{StoreError, ViewRow, panic_text};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The longest key of a row, in bytes.
pub const ROW_KEY_BYTES_MAX: usize = 1_024;

const HAS_VALUE: u8 = 1;
const HAS_EARLIER: u8 = 2;

/// A row, or the lack of one, as of a position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Versioned<R> {
    pub(super) row: Option<R>,
    pub(super) position: GlobalPosition,
}

impl<R> Versioned<R> {
    /// There never was a row.
    pub(super) fn absent() -> Self {
        Self {
            row: None,
            position: GlobalPosition::ZERO,
        }
    }
}

/// The bytes of a row, or the lack of one, as of a position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EncodedRow {
    pub(super) bytes: Option<Bytes>,
    position: GlobalPosition,
}

impl EncodedRow {
    /// There is no row.
    pub(super) fn absent() -> Self {
        Self {
            bytes: None,
            position: GlobalPosition::ZERO,
        }
    }

    /// Encodes a row. A row whose `Serialize` panics cannot be encoded.
    pub(super) fn of<R: Serialize>(row: &Versioned<R>) -> Result<Self, CodecError> {
        let encoding = AssertUnwindSafe(|| row.row.as_ref().map(encode_shaped).transpose());
        let encoded = catch_unwind(encoding).unwrap_or_else(|panic| {
            Err(CodecError::Unencodable {
                type_name: std::any::type_name::<R>(),
                reason: format!("it panicked: {}", panic_text(&*panic)),
            })
        });
        Ok(Self {
            bytes: encoded?,
            position: row.position,
        })
    }
}

/// Decodes a row. A row whose `Deserialize` panics cannot be decoded.
pub(super) fn decode_row<R: DeserializeOwned>(bytes: &[u8]) -> Result<R, CodecError> {
    let decoding = AssertUnwindSafe(|| decode_shaped::<R>(bytes));
    catch_unwind(decoding).unwrap_or_else(|panic| {
        Err(CodecError::Undecodable {
            type_name: std::any::type_name::<R>(),
            reason: format!("it panicked: {}", panic_text(&*panic)),
        })
    })
}

/// Why a row of a table was not found or not read.
#[derive(Clone, Debug)]
pub(super) enum RowFault {
    Store(StoreError),
    Codec(CodecError),
    Layout,
}

impl fmt::Display for RowFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(error) => error.fmt(f),
            Self::Codec(error) => error.fmt(f),
            Self::Layout => f.write_str("its layout is unknown"),
        }
    }
}

/// A row for the store; `earlier` is what it was when the table was last written.
pub(super) fn to_store(key: Bytes, now: &EncodedRow, earlier: &EncodedRow) -> ViewRow {
    let mut flags = 0;
    if now.bytes.is_some() {
        flags |= HAS_VALUE;
    }
    if earlier.bytes.is_some() {
        flags |= HAS_EARLIER;
    }
    if flags == 0 {
        return removed(key, now.position);
    }
    let mut out = BytesMut::with_capacity(64);
    out.put_u8(flags);
    if let Some(value) = &earlier.bytes {
        out.put_u64_le(earlier.position.get());
        // A row never comes near four gigabytes: a commit's frame is far smaller.
        out.put_u32_le(u32::try_from(value.len()).unwrap_or(u32::MAX));
        out.put_slice(value);
    }
    if let Some(value) = &now.bytes {
        out.put_slice(value);
    }
    ViewRow {
        key,
        value: Some(out.freeze()),
        position: now.position,
    }
}

/// What says to the store that there is no row.
pub(super) fn removed(key: Bytes, position: GlobalPosition) -> ViewRow {
    ViewRow {
        key,
        value: None,
        position,
    }
}

/// Reads a row as it was at the checkpoint `written`.
pub(super) fn from_store<R: DeserializeOwned>(
    stored: Option<ViewRow>,
    written: GlobalPosition,
) -> Result<Versioned<R>, RowFault> {
    let Some(stored) = stored else {
        return Ok(Versioned::absent());
    };
    let is_ahead = stored.position > written;
    let Some(value) = stored.value else {
        // A removed row without an earlier value was not there at the checkpoint, either.
        return Ok(Versioned {
            row: None,
            position: if is_ahead {
                GlobalPosition::ZERO
            } else {
                stored.position
            },
        });
    };
    let (flags, earlier, now) = split(&value).ok_or(RowFault::Layout)?;
    let read = |bytes: &[u8]| decode_row::<R>(bytes).map_err(RowFault::Codec);
    if !is_ahead {
        let has_value = flags & HAS_VALUE != 0;
        return Ok(Versioned {
            row: has_value.then(|| read(now)).transpose()?,
            position: stored.position,
        });
    }
    match earlier {
        None => Ok(Versioned::absent()),
        Some((position, value)) => Ok(Versioned {
            row: Some(read(value)?),
            position,
        }),
    }
}

type Split<'a> = (u8, Option<(GlobalPosition, &'a [u8])>, &'a [u8]);

fn split(value: &[u8]) -> Option<Split<'_>> {
    let (flags, rest) = value.split_first()?;
    if flags & HAS_EARLIER == 0 {
        return Some((*flags, None, rest));
    }
    let (position, rest) = rest.split_first_chunk::<8>()?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (earlier, now) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    let position = GlobalPosition::new(u64::from_le_bytes(*position));
    Some((*flags, Some((position, earlier)), now))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(row: Option<i64>, position: u64) -> Versioned<i64> {
        Versioned {
            row,
            position: GlobalPosition::new(position),
        }
    }

    fn through(now: &Versioned<i64>, earlier: &Versioned<i64>, written: u64) -> Versioned<i64> {
        let encoded = |row| EncodedRow::of(row).unwrap();
        let stored = to_store(Bytes::from_static(b"k"), &encoded(now), &encoded(earlier));
        from_store(Some(stored), GlobalPosition::new(written)).unwrap()
    }

    #[test]
    fn p1_a_row_ahead_of_the_checkpoint_falls_back_to_what_it_was() {
        let (now, earlier) = (at(Some(7), 9), at(Some(5), 3));
        assert_eq!(through(&now, &earlier, 9), now);
        assert_eq!(through(&now, &earlier, 8), earlier);
        assert_eq!(through(&now, &Versioned::absent(), 8), Versioned::absent());
        let gone = at(None, 9);
        assert_eq!(through(&gone, &earlier, 9), gone);
        assert_eq!(through(&gone, &earlier, 8), earlier);
        assert_eq!(through(&gone, &Versioned::absent(), 8), Versioned::absent());
    }

    #[test]
    fn bytes_that_are_no_row_are_a_fault_and_never_a_panic() {
        let stored = |value: &'static [u8]| {
            let value = Some(Bytes::from_static(value));
            let (key, position) = (Bytes::new(), GlobalPosition::new(1));
            let row = ViewRow {
                key,
                value,
                position,
            };
            from_store::<String>(Some(row), GlobalPosition::new(1))
        };
        let faulty: [&[u8]; 5] = [
            b"",
            &[2],
            &[3, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0],
            &[1],
            &[1, 5],
        ];
        for value in faulty {
            assert!(stored(value).is_err(), "{value:?}");
        }
    }
}
