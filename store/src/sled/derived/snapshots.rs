//! Snapshots as rows: by stream and version, the newest few of each stream.

use std::ops::{Bound, ControlFlow};

use bytes::Bytes;
use chronicler_domain::{LogSequence, StreamVersion};
use uuid::Uuid;

use crate::frame::varint::{self, Cursor};
use crate::index::IndexError;
use crate::log::Head;
use crate::sled::cell::{self, CellTrees, Plan};
use crate::sled::database::Database;
use crate::sled::row::{self, TreeId};
use crate::snapshot::Snapshot;

/// How many snapshots of a stream are kept: the newest, and two to fall back to when it is damaged.
pub(super) const KEPT_MAX: usize = 3;

const SNAPSHOTS: CellTrees = CellTrees {
    rows: TreeId::Snapshots,
    chunks: TreeId::SnapshotChunks,
};

/// Plans to keep a snapshot.
pub(super) fn plan_save(
    plan: &mut Plan,
    db: &Database,
    stream_key: &str,
    snapshot: &Snapshot,
) -> Result<(), IndexError> {
    let key = key_of(stream_key, snapshot.version);
    plan.set_cell(db, SNAPSHOTS, &key, &encode(snapshot))
}

/// Plans to remove what is there, or planned, beyond the newest few.
pub(super) fn plan_prune(
    plan: &mut Plan,
    db: &Database,
    stream_key: &str,
) -> Result<(), IndexError> {
    let mut keys = keys_up_to(plan, db, stream_key, StreamVersion::MAX)?;
    keys.truncate(keys.len().saturating_sub(KEPT_MAX));
    for key in keys {
        plan.remove_cell(db, SNAPSHOTS, &key)?;
    }
    Ok(())
}

/// Plans to remove all snapshots of a stream up to a version.
pub(super) fn plan_delete(
    plan: &mut Plan,
    db: &Database,
    stream_key: &str,
    at_most: StreamVersion,
) -> Result<(), IndexError> {
    for key in keys_up_to(plan, db, stream_key, at_most)? {
        plan.remove_cell(db, SNAPSHOTS, &key)?;
    }
    Ok(())
}

/// The newest readable one up to a version that the log bears out.
pub(super) fn load(
    db: &Database,
    stream_key: &str,
    at_most: StreamVersion,
    durable: Head,
) -> Result<Option<Snapshot>, IndexError> {
    let first = key_of(stream_key, StreamVersion::ZERO);
    let last = key_of(stream_key, at_most);
    let mut rows = Vec::new();
    db.scan_back(
        TreeId::Snapshots,
        Bound::Included(&first),
        Bound::Included(&last),
        &mut |key, stored| {
            rows.push((key.to_vec(), stored.to_vec()));
            ControlFlow::Continue(())
        },
    )?;
    for (key, stored) in rows {
        match read(db, &key, &stored) {
            Ok(Some(snapshot)) if snapshot.sequence <= durable.sequence => {
                return Ok(Some(snapshot));
            }
            Ok(Some(snapshot)) => tracing::warn!(
                stream = stream_key,
                version = %snapshot.version,
                "a snapshot beyond the log is passed over"
            ),
            Ok(None) => {}
            Err(error) => tracing::warn!(
                stream = stream_key,
                %error,
                "a damaged snapshot is passed over"
            ),
        }
    }
    Ok(None)
}

fn read(db: &Database, key: &[u8], stored: &[u8]) -> Result<Option<Snapshot>, IndexError> {
    let Some(value) = cell::read_cell(db, SNAPSHOTS, key, stored)? else {
        return Ok(None);
    };
    decode(key, value)
        .map(Some)
        .ok_or_else(|| row::damaged(TreeId::Snapshots, key))
}

/// Keys that are there or planned, ascending.
fn keys_up_to(
    plan: &Plan,
    db: &Database,
    stream_key: &str,
    at_most: StreamVersion,
) -> Result<Vec<Vec<u8>>, IndexError> {
    let first = key_of(stream_key, StreamVersion::ZERO);
    let last = key_of(stream_key, at_most);
    plan.keys(db, TreeId::Snapshots, &first, &last)
}

/// A stream key holds no NUL after its second one, so keys of two streams never share a beginning up to
/// the version.
fn key_of(stream_key: &str, version: StreamVersion) -> Vec<u8> {
    [stream_key.as_bytes(), &[0], &version.get().to_be_bytes()].concat()
}

fn encode(snapshot: &Snapshot) -> Vec<u8> {
    let mut out = Vec::with_capacity(snapshot.payload.len() + 32);
    varint::put(&mut out, snapshot.sequence.get());
    out.extend_from_slice(snapshot.commit_id.as_bytes());
    varint::put(&mut out, u64::from(snapshot.schema_version));
    out.extend_from_slice(&snapshot.payload);
    out
}

pub(crate) fn decode(key: &[u8], value: Vec<u8>) -> Option<Snapshot> {
    let (_, version) = key.split_last_chunk::<8>()?;
    let mut cursor = Cursor::new(&value);
    let sequence = LogSequence::new(cursor.varint()?);
    let commit_id = Uuid::from_bytes(cursor.array()?);
    let schema_version = u32::try_from(cursor.varint()?).ok()?;
    let start = value.len() - cursor.rest().len();
    Some(Snapshot {
        version: StreamVersion::new(u64::from_be_bytes(*version)),
        sequence,
        commit_id,
        schema_version,
        payload: Bytes::from(value).slice(start..),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a log that is 300 commits long has it.
    fn golden() -> (Vec<u8>, Vec<u8>) {
        let snapshot = Snapshot {
            version: StreamVersion::new(200),
            sequence: LogSequence::new(300),
            commit_id: Uuid::from_u128(7),
            schema_version: 2,
            payload: Bytes::from_static(b"the state"),
        };
        (key_of("\0account\0a", snapshot.version), encode(&snapshot))
    }

    #[test]
    fn a_snapshot_is_laid_out_as_ever() {
        let (key, value) = golden();
        let expected = [
            &b"\xac\x02"[..],
            Uuid::from_u128(7).as_bytes(),
            b"\x02the state",
        ]
        .concat();
        assert_eq!(value, expected);
        let read = decode(&key, value).unwrap();
        assert_eq!((read.version.get(), read.sequence.get()), (200, 300));
        assert_eq!(read.payload, "the state");
    }

    #[test]
    fn no_bytes_make_the_decoder_of_snapshots_panic() {
        let (key, value) = golden();
        for at in 0..value.len() {
            assert!(decode(&key, value[..at].to_vec()).is_none() == (at < value.len() - 9));
            for byte in 0..=255 {
                let mut value = value.clone();
                value[at] = byte;
                drop(decode(&key, value));
            }
        }
        for at in 0..key.len() {
            drop(decode(&key[..at], value.clone()));
        }
    }
}
