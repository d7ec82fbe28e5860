//! From an accepted append to the bytes of its frame.

use chronicler_domain::{GlobalPosition, LogSequence, Metadata, StreamVersion, Timestamp};
use uuid::Uuid;

use super::header::{self, FrameHeader};
use super::varint;
use crate::append::{Append, NewEvent};

/// What the writer assigns to an append when it accepts it.
#[derive(Clone, Debug)]
pub struct FramePlace<'a> {
    /// The checksum of the frame before.
    pub previous_checksum: u32,
    /// The number of this commit.
    pub sequence: LogSequence,
    /// The position of its first event.
    pub first_position: GlobalPosition,
    /// When it was accepted.
    pub timestamp: Timestamp,
    /// Where the frame begins in the log.
    pub log_offset: u64,
    /// For each stream of the append, in order: its first version here, and the log offset of the frame
    /// with its previous part. `None` leaves the stream out of the frame: it was only checked.
    pub parts: &'a [Option<(StreamVersion, Option<u64>)>],
}

/// Appends the frame to `out` and returns its checksum; `None` if it is longer than `u32::MAX` bytes, or
/// `place` does not fit the append: a place for each part, no back-link past the frame itself.
pub fn encode(append: &Append, place: &FramePlace<'_>, out: &mut Vec<u8>) -> Option<u32> {
    if place.parts.len() != append.parts.len() {
        return None;
    }
    let start = out.len();
    let header = FrameHeader {
        length: 0,
        checksum: 0,
        previous_checksum: place.previous_checksum,
        sequence: place.sequence,
        first_position: place.first_position,
        timestamp: place.timestamp,
        commit_id: append.commit_id,
    };
    header.write_open(out);
    metadata(out, append.commit_id, &append.metadata);
    let recorded = place.parts.iter().filter(|part| part.is_some()).count();
    varint::put(out, recorded as u64);
    for (part, placed) in append.parts.iter().zip(place.parts) {
        let Some((first_version, previous)) = placed else {
            continue;
        };
        varint::put_bytes(out, part.stream.key().as_bytes());
        varint::put(out, first_version.get());
        let back = match previous {
            Some(offset) => place
                .log_offset
                .checked_sub(*offset)
                .filter(|back| *back > 0)?,
            None => 0,
        };
        varint::put(out, back);
        varint::put(out, part.events.len() as u64);
        for new in &part.events {
            event(out, new);
        }
    }
    varint::put(out, append.records.len() as u64);
    let mut scratch = Vec::new();
    for record in &append.records {
        record.write(out, &mut scratch);
    }
    header::seal(out, start)
}

pub(super) const HAS_CORRELATION: u8 = 1;
pub(super) const HAS_CAUSATION: u8 = 2;
pub(super) const HAS_PRINCIPAL: u8 = 4;
pub(super) const HAS_DEPTH: u8 = 8;
pub(super) const HAS_EXTRA: u8 = 16;

fn metadata(out: &mut Vec<u8>, commit_id: Uuid, metadata: &Metadata) {
    let flag = |present: bool, bit: u8| if present { bit } else { 0 };
    out.push(
        flag(metadata.correlation_id != commit_id, HAS_CORRELATION)
            | flag(metadata.causation_id.is_some(), HAS_CAUSATION)
            | flag(metadata.principal.is_some(), HAS_PRINCIPAL)
            | flag(metadata.causation_depth > 0, HAS_DEPTH)
            | flag(!metadata.extra.is_empty(), HAS_EXTRA),
    );
    if metadata.correlation_id != commit_id {
        out.extend_from_slice(metadata.correlation_id.as_bytes());
    }
    if let Some(causation) = metadata.causation_id {
        out.extend_from_slice(causation.as_bytes());
    }
    if let Some(principal) = &metadata.principal {
        varint::put_bytes(out, principal.as_bytes());
    }
    if metadata.causation_depth > 0 {
        varint::put(out, u64::from(metadata.causation_depth));
    }
    if !metadata.extra.is_empty() {
        varint::put(out, metadata.extra.len() as u64);
        for (name, value) in &metadata.extra {
            varint::put_bytes(out, name.as_bytes());
            varint::put_bytes(out, value.as_bytes());
        }
    }
}

pub(super) const HAS_ID: u8 = 1;
pub(super) const HAS_METADATA: u8 = 2;

fn event(out: &mut Vec<u8>, event: &NewEvent) {
    let explicit = if event.id.is_some() { HAS_ID } else { 0 };
    let metadata = if event.metadata.is_empty() {
        0
    } else {
        HAS_METADATA
    };
    out.push(explicit | metadata);
    if let Some(id) = event.id {
        out.extend_from_slice(id.as_bytes());
    }
    out.push(event.codec.number());
    varint::put_bytes(out, event.event_type.as_bytes());
    varint::put(out, u64::from(event.schema_version.get()));
    varint::put_bytes(out, &event.payload);
    if !event.metadata.is_empty() {
        varint::put_bytes(out, &event.metadata);
    }
}
