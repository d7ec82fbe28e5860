//! Whose data this is, and how far into the log anything in it reaches.
//!
//! Snapshots and views are only written when the log's durable end covers them. If the log ends earlier
//! when it is opened again, it is not the log they were made from: what reaches beyond is discarded then,
//! because later the log would have grown past it with other events.

use chronicler_domain::{GlobalPosition, LogSequence};
use uuid::Uuid;

use crate::frame::varint::{self, Cursor};
use crate::log::Head;
use crate::sled::row::{RowChange, TreeId};

/// Raised when any row of snapshots or views changes its shape; another number is built again, not read.
const DERIVED_FORMAT: u8 = 1;
pub(super) const KEY: &[u8] = b"reach";

/// The largest commit and position that anything here was made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reach {
    pub(super) store_id: Uuid,
    pub(super) sequence: LogSequence,
    pub(super) position: GlobalPosition,
}

impl Reach {
    pub(super) fn nothing(store_id: Uuid) -> Self {
        Self {
            store_id,
            sequence: LogSequence::ZERO,
            position: GlobalPosition::ZERO,
        }
    }

    /// The same, if it reaches at least to there.
    pub(super) fn extended(self, sequence: LogSequence, position: GlobalPosition) -> Self {
        Self {
            sequence: self.sequence.max(sequence),
            position: self.position.max(position),
            ..self
        }
    }

    pub(super) fn is_beyond(&self, durable: Head) -> bool {
        self.sequence > durable.sequence || self.position > durable.position
    }

    pub(super) fn set(&self) -> RowChange {
        let mut body = vec![DERIVED_FORMAT];
        body.extend_from_slice(self.store_id.as_bytes());
        varint::put(&mut body, self.sequence.get());
        varint::put(&mut body, self.position.get());
        RowChange::set(TreeId::Meta, KEY, body)
    }

    pub(super) fn read(body: &[u8]) -> Option<Self> {
        let mut cursor = Cursor::new(body);
        if cursor.byte()? != DERIVED_FORMAT {
            return None;
        }
        let reach = Self {
            store_id: Uuid::from_bytes(cursor.array()?),
            sequence: LogSequence::new(cursor.varint()?),
            position: GlobalPosition::new(cursor.varint()?),
        };
        cursor.is_empty().then_some(reach)
    }
}
