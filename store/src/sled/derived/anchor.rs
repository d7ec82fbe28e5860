//! Which log snapshots and views were made from, by its last frame at the time.
//!
//! They are only written when the log's durable end covers them, so everything here lies at or before the
//! anchor. If the log does not hold that frame when it is opened again, it has lost its end or has another
//! history, and what was made from it is worth nothing, even where the log has grown past it since.

use chronicler_domain::LogSequence;
use uuid::Uuid;

use crate::frame::varint::{self, Cursor};
use crate::index::Watermark;
use crate::sled::row::{RowChange, TreeId};

/// Raised when any row of snapshots or views changes its shape; another number is built again, not read.
const DERIVED_FORMAT: u8 = 1;
pub(super) const KEY: &[u8] = b"anchor";

pub(super) fn set(anchor: &Watermark) -> RowChange {
    let mut body = vec![DERIVED_FORMAT];
    body.extend_from_slice(anchor.store_id.as_bytes());
    varint::put(&mut body, anchor.sequence.get());
    varint::put(&mut body, anchor.log_offset);
    body.extend_from_slice(&anchor.checksum.to_le_bytes());
    RowChange::set(TreeId::Meta, KEY, body)
}

pub(super) fn read(body: &[u8]) -> Option<Watermark> {
    let mut cursor = Cursor::new(body);
    if cursor.byte()? != DERIVED_FORMAT {
        return None;
    }
    let anchor = Watermark {
        store_id: Uuid::from_bytes(cursor.array()?),
        sequence: LogSequence::new(cursor.varint()?),
        log_offset: cursor.varint()?,
        checksum: u32::from_le_bytes(cursor.array()?),
    };
    cursor.is_empty().then_some(anchor)
}
