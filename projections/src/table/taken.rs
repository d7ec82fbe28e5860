//! The mark of a table that has taken up events which were set aside: their positions, and the rows as they are since then.
//!
//! Such an event lies before the checkpoint, so its rows cannot say by their position that they are ahead of it. Therefore
//! they are written twice. First they stand in the mark, one row under the empty key that no row of an application has.
//! From then on the events count as taken up, and whoever opens the table writes the rows of the mark once more, which
//! changes nothing if they are there. The mark is removed when the log has forgotten that the events were set aside.

use bytes::{BufMut, Bytes, BytesMut};
use chronicler_domain::GlobalPosition;
use chronicler_store::ViewRow;

use super::row;
use crate::error::RunError;

/// Under which key the mark lies.
pub(super) const KEY: Bytes = Bytes::new();

/// The layout of a mark.
const LAYOUT: u8 = 1;

/// The positions that were taken up, and the rows as they are since then.
pub(super) type Mark = (Vec<GlobalPosition>, Vec<ViewRow>);

/// The mark for these positions and rows, of a table whose checkpoint is at `position`.
pub(super) fn mark(
    positions: &[GlobalPosition],
    rows: &[ViewRow],
    position: GlobalPosition,
) -> Result<ViewRow, RunError> {
    let mut out = BytesMut::with_capacity(64);
    out.put_u8(LAYOUT);
    out.put_u32_le(length(positions.len())?);
    for taken in positions {
        out.put_u64_le(taken.get());
    }
    out.put_u32_le(length(rows.len())?);
    for row in rows {
        out.put_u64_le(row.position.get());
        out.put_u32_le(length(row.key.len())?);
        out.put_slice(&row.key);
        out.put_u8(u8::from(row.value.is_some()));
        let value = row.value.as_deref().unwrap_or_default();
        out.put_u32_le(length(value.len())?);
        out.put_slice(value);
    }
    Ok(ViewRow {
        key: KEY,
        value: Some(out.freeze()),
        position,
    })
}

/// What says that there is no mark.
pub(super) fn cleared(position: GlobalPosition) -> ViewRow {
    row::removed(KEY, position)
}

/// The positions and rows of a mark; `None` if there is none.
pub(super) fn read(stored: Option<ViewRow>) -> Result<Option<Mark>, RunError> {
    let Some(value) = stored.and_then(|row| row.value) else {
        return Ok(None);
    };
    let read = decode(value).ok_or_else(|| RunError::Row("its mark is unreadable".into()))?;
    Ok(Some(read))
}

fn decode(value: Bytes) -> Option<Mark> {
    let mut rest = value;
    if take(&mut rest, 1)?.first() != Some(&LAYOUT) {
        return None;
    }
    let mut positions = Vec::new();
    for _ in 0..take_u32(&mut rest)? {
        positions.push(GlobalPosition::new(take_u64(&mut rest)?));
    }
    let mut rows = Vec::new();
    for _ in 0..take_u32(&mut rest)? {
        let position = GlobalPosition::new(take_u64(&mut rest)?);
        let length = take_u32(&mut rest)? as usize;
        let key = take(&mut rest, length)?;
        let has_value = take(&mut rest, 1)?.first() == Some(&1);
        let length = take_u32(&mut rest)? as usize;
        let value = take(&mut rest, length)?;
        rows.push(ViewRow {
            key,
            value: has_value.then_some(value),
            position,
        });
    }
    rest.is_empty().then_some((positions, rows))
}

fn take(rest: &mut Bytes, length: usize) -> Option<Bytes> {
    (length <= rest.len()).then(|| rest.split_to(length))
}

fn take_u32(rest: &mut Bytes) -> Option<u32> {
    let bytes = take(rest, 4)?;
    bytes.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}

fn take_u64(rest: &mut Bytes) -> Option<u64> {
    let bytes = take(rest, 8)?;
    bytes.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
}

fn length(length: usize) -> Result<u32, RunError> {
    // What one step takes up is far below four gigabytes.
    u32::try_from(length).map_err(|_| RunError::Row("too much was taken up at a time".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(position: u64) -> GlobalPosition {
        GlobalPosition::new(position)
    }

    fn rows() -> Vec<ViewRow> {
        let value = Some(Bytes::from_static(b"value"));
        let row = |key: &'static str, value| ViewRow {
            key: Bytes::from_static(key.as_bytes()),
            value,
            position: at(9),
        };
        vec![row("a", value), row("b", None)]
    }

    #[test]
    fn n11_a_mark_reads_back_and_its_bytes_never_change() {
        let positions = vec![at(3), at(7)];
        let written = mark(&positions, &rows(), at(9)).unwrap();
        assert_eq!((&written.key, written.position), (&KEY, at(9)));
        let bytes = written.value.clone().unwrap();
        let expected = [
            &[1, 2, 0, 0, 0][..],
            &[3, 0, 0, 0, 0, 0, 0, 0],
            &[7, 0, 0, 0, 0, 0, 0, 0],
            &[2, 0, 0, 0],
            &[9, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, b'a', 1, 5, 0, 0, 0],
            b"value",
            &[9, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, b'b', 0, 0, 0, 0, 0],
        ];
        assert_eq!(bytes, expected.concat());
        assert_eq!(read(Some(written)).unwrap(), Some((positions, rows())));
        assert_eq!(read(Some(cleared(at(9)))).unwrap(), None);
        assert_eq!(read(None).unwrap(), None);
    }

    #[test]
    fn n11_bytes_that_are_no_mark_are_an_error_and_never_a_panic() {
        let whole = mark(&[at(3)], &rows(), at(9)).unwrap();
        let bytes = whole.value.clone().unwrap();
        for length in 0..bytes.len() {
            let value = Some(bytes.slice(..length));
            let cut = ViewRow {
                value,
                ..whole.clone()
            };
            assert!(read(Some(cut)).is_err(), "{length}");
        }
    }
}
