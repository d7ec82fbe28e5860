//! The row that says a view exists, how far it has come, and what its rows must add up to.

use std::sync::Arc;

use chronicler_domain::GlobalPosition;

use crate::frame::varint::{self, Cursor};
use crate::index::IndexError;
use crate::sled::row::{self, RowChange, Tally, TreeId};
use crate::view::{ViewCheckpoint, ViewName};

/// Stands for a view's name in the keys of its rows; never used again after the view was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ViewNumber(pub(super) u32);

/// What is known of one generation of a view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ViewState {
    pub(super) number: ViewNumber,
    pub(super) checkpoint: ViewCheckpoint,
    pub(super) tally: Tally,
    /// Whether its rows were found to add up since they were opened, and no damage was seen since.
    pub(super) verified: bool,
}

impl ViewNumber {
    pub(super) fn first_key(self) -> [u8; 4] {
        self.0.to_be_bytes()
    }

    pub(super) fn row_key(self, key: &[u8]) -> Vec<u8> {
        [&self.first_key(), key].concat()
    }

    pub(super) fn of_row(key: &[u8]) -> Option<Self> {
        key.first_chunk::<4>()
            .map(|number| Self(u32::from_be_bytes(*number)))
    }

    pub(super) fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

pub(super) fn set(view: &ViewName, state: &ViewState) -> RowChange {
    let mut body = Vec::with_capacity(48);
    varint::put(&mut body, u64::from(state.number.0));
    varint::put(&mut body, state.checkpoint.position.get());
    body.extend_from_slice(&state.checkpoint.fingerprint.to_le_bytes());
    varint::put(&mut body, state.tally.rows);
    body.extend_from_slice(&state.tally.sum.to_le_bytes());
    RowChange::set(TreeId::Views, key_of(view), body)
}

pub(super) fn remove(view: &ViewName) -> RowChange {
    RowChange::remove(TreeId::Views, key_of(view))
}

pub(super) fn read(key: &[u8], stored: &[u8]) -> Result<(ViewName, ViewState), IndexError> {
    let body = row::body(TreeId::Views, key, stored)?;
    decode(key, body).ok_or_else(|| row::damaged(TreeId::Views, key))
}

/// Two views never share a key: the generation's length is fixed, so equal keys have equal names.
fn key_of(view: &ViewName) -> Vec<u8> {
    [view.name.as_bytes(), &view.generation.to_be_bytes()].concat()
}

fn decode(key: &[u8], body: &[u8]) -> Option<(ViewName, ViewState)> {
    let (name, generation) = key.split_last_chunk::<8>()?;
    let view = ViewName {
        name: Arc::from(std::str::from_utf8(name).ok()?),
        generation: u64::from_be_bytes(*generation),
    };
    let mut cursor = Cursor::new(body);
    let number = ViewNumber(u32::try_from(cursor.varint()?).ok()?);
    let checkpoint = ViewCheckpoint {
        position: GlobalPosition::new(cursor.varint()?),
        fingerprint: u64::from_le_bytes(cursor.array()?),
    };
    let tally = Tally {
        rows: cursor.varint()?,
        sum: u64::from_le_bytes(cursor.array()?),
    };
    let state = ViewState {
        number,
        checkpoint,
        tally,
        verified: false,
    };
    cursor.is_empty().then_some((view, state))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checkpoints_read_back() {
        let view = ViewName {
            name: "bal\0ances".into(),
            generation: 1 << 40,
        };
        let state = ViewState {
            number: ViewNumber(70_000),
            checkpoint: ViewCheckpoint {
                position: GlobalPosition::new(1 << 50),
                fingerprint: u64::MAX,
            },
            tally: Tally { rows: 3, sum: 4 },
            verified: false,
        };
        let row = set(&view, &state);
        let stored = row.stored.unwrap();
        assert_eq!(read(&row.key, &stored).unwrap(), (view, state));
        assert!(read(&row.key, &stored[1..]).is_err());
    }
}
