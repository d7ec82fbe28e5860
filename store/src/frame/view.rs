//! A frame read in place: checked once as a whole, then looked at without copying.

use bytes::Bytes;
use chronicler_domain::{GlobalPosition, LogSequence, Metadata, Timestamp};
use uuid::Uuid;

use super::body::{RawMetadata, read_event, read_part};
use super::check::CheckedFrame;
use super::error::FrameError;
use super::header::{FrameHeader, HEADER_BYTES};
use super::part::{EventRef, PartRef};
use super::record::RecordRef;
use super::varint::Cursor;

/// A commit as it lies in the log. Cheap to clone: the bytes are shared.
///
/// Reads in place. Every accessor that parses was checked when the value was made, so none can fail.
#[derive(Clone, Debug)]
pub struct RecordedCommit {
    bytes: Bytes,
    frame: CheckedFrame,
}

impl RecordedCommit {
    /// Checks the frame at the front of `bytes` (checksum and structure) and takes it; what follows it is
    /// left out.
    ///
    /// # Errors
    /// [`FrameError`], which says what is wrong. No bytes make this panic.
    pub fn parse(bytes: &Bytes, log_offset: u64) -> Result<Self, FrameError> {
        let frame = CheckedFrame::check(bytes, log_offset)?;
        Ok(Self {
            bytes: bytes.slice(..frame.header.length as usize),
            frame,
        })
    }

    /// Keeps the frame in other memory, which has the same bytes.
    pub(crate) fn move_to(&mut self, bytes: Bytes) {
        self.bytes = bytes;
    }

    /// What was found when it was checked.
    pub(crate) fn frame(&self) -> &CheckedFrame {
        &self.frame
    }

    /// The fixed front.
    pub fn header(&self) -> &FrameHeader {
        &self.frame.header
    }

    /// The number of this commit.
    pub fn sequence(&self) -> LogSequence {
        self.frame.header.sequence
    }

    /// When it was accepted.
    pub fn timestamp(&self) -> Timestamp {
        self.frame.header.timestamp
    }

    /// The id of its command or effect.
    pub fn commit_id(&self) -> Uuid {
        self.frame.header.commit_id
    }

    /// Where the frame begins in the log.
    pub fn log_offset(&self) -> u64 {
        self.frame.log_offset
    }

    /// How many events it has, over all its streams.
    pub fn event_count(&self) -> u32 {
        self.frame.event_count()
    }

    /// The position of its first event; without events, the position that the next event will get.
    pub fn first_position(&self) -> GlobalPosition {
        self.frame.header.first_position
    }

    /// The position of its last event; without events, the one before
    /// [`first_position`](Self::first_position).
    pub fn last_position(&self) -> GlobalPosition {
        self.frame.last_position()
    }

    /// Its bytes, whole.
    pub fn as_bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Who caused it, and what caused that.
    pub fn metadata(&self) -> Metadata {
        let mut cursor = Cursor::new(self.bytes.get(HEADER_BYTES..).unwrap_or_default());
        let commit_id = self.commit_id();
        RawMetadata::read(&mut cursor).map_or_else(
            || Metadata::origin(commit_id),
            |raw| raw.to_metadata(commit_id),
        )
    }

    /// Its stream parts, in order.
    pub fn parts(&self) -> impl Iterator<Item = PartRef<'_>> {
        let mut cursor = Cursor::new(
            self.bytes
                .get(self.frame.sections.parts_at as usize..)
                .unwrap_or_default(),
        );
        let count = cursor.varint().unwrap_or(0);
        let mut index = 0_u32;
        (0..count).map_while(move |_| {
            let raw = read_part(&mut cursor)?;
            let part = PartRef::new(self, raw, index, cursor);
            for _ in 0..raw.count {
                read_event(&mut cursor)?;
            }
            index = index.saturating_add(u32::try_from(raw.count).ok()?);
            Some(part)
        })
    }

    /// Its events over all its streams, in the order of their positions.
    pub fn events(&self) -> impl Iterator<Item = EventRef<'_>> {
        self.parts().flat_map(|part| part.events())
    }

    /// Its side records, in order.
    pub fn records(&self) -> impl Iterator<Item = RecordRef<'_>> {
        let mut cursor = Cursor::new(
            self.bytes
                .get(self.frame.sections.records_at as usize..)
                .unwrap_or_default(),
        );
        let count = cursor.varint().unwrap_or(0);
        (0..count).map_while(move |_| RecordRef::read(&mut cursor))
    }
}

#[cfg(test)]
mod tests {
    use chronicler_domain::{SchemaVersion, StreamId, StreamVersion};

    use super::*;
    use crate::append::{Append, Expected, NewEvent};
    use crate::codec::CodecId;
    use crate::frame::{FactKind, FramePlace, OutcomeRecord, OutcomeResult, SideRecord, encode};

    fn commit() -> Append {
        let event = |event_type: &'static str, id| NewEvent {
            id,
            event_type: event_type.into(),
            schema_version: SchemaVersion::new(3),
            codec: CodecId::BINCODE,
            payload: Bytes::from_static(b"payload"),
            metadata: Bytes::from_static(b"{}"),
        };
        let mut append = Append::new(Uuid::from_u128(7), Timestamp::from_micros(5))
            .stream(
                StreamId::of("account", "alice").unwrap(),
                Expected::Any,
                vec![
                    event("Opened", None),
                    event("Deposited", Some(Uuid::from_u128(9))),
                ],
            )
            .stream(
                StreamId::of("account", "bob").unwrap(),
                Expected::Any,
                vec![event("Closed", None)],
            )
            .record(SideRecord::Outcome(OutcomeRecord {
                result: OutcomeResult::Rejection,
                decided_at: Some(LogSequence::new(300)),
                command_hash: Some(u64::MAX - 1),
                type_name: "No".into(),
                schema_version: SchemaVersion::FIRST,
                codec: CodecId::JSON,
                payload: Bytes::from_static(b"no"),
            }))
            .record(SideRecord::Fact {
                kind: FactKind::CURSOR,
                key: Bytes::from_static(b"reader"),
                value: None,
            })
            .record(SideRecord::Effect(Bytes::from_static(b"effect")));
        append.metadata.principal = Some("clerk".into());
        append.metadata.causation_id = Some(Uuid::from_u128(1));
        append.metadata.causation_depth = 2;
        append.metadata.extra.insert("ip".into(), "::1".into());
        append
    }

    fn frame() -> Vec<u8> {
        let mut out = Vec::new();
        let place = FramePlace {
            previous_checksum: 0xdead_beef,
            sequence: LogSequence::new(4),
            first_position: GlobalPosition::new(10),
            timestamp: Timestamp::from_micros(6),
            log_offset: 1_000,
            parts: &[
                Some((StreamVersion::new(2), Some(400))),
                Some((StreamVersion::new(1), None)),
            ],
        };
        encode(&commit(), &place, &mut out).unwrap();
        out
    }

    #[test]
    fn a_frame_reads_back_as_it_was_written() {
        let read = RecordedCommit::parse(&Bytes::from(frame()), 1_000).unwrap();
        assert_eq!(read.sequence(), LogSequence::new(4));
        assert_eq!(read.metadata(), commit().metadata);
        assert_eq!(
            (read.event_count(), read.last_position()),
            (3, GlobalPosition::new(12))
        );
        let parts: Vec<_> = read.parts().collect();
        assert_eq!(parts[0].previous_offset(), Some(400));
        assert_eq!((parts[1].category(), parts[1].id()), ("account", "bob"));
        assert_eq!(parts[1].previous_offset(), None);
        let events: Vec<_> = read
            .events()
            .map(|e| {
                (
                    e.event_type(),
                    e.version().get(),
                    e.position().get(),
                    e.explicit_id(),
                )
            })
            .collect();
        assert_eq!(
            events,
            [
                ("Opened", 2, 10, None),
                ("Deposited", 3, 11, Some(Uuid::from_u128(9))),
                ("Closed", 1, 12, None)
            ]
        );
        let records: Vec<_> = read.records().collect();
        assert!(
            matches!(records[0], RecordRef::Outcome { decided_at: Some(at), payload: b"no", .. } if at.get() == 300)
        );
        assert!(matches!(
            records[1],
            RecordRef::Fact {
                key: b"reader",
                value: None,
                ..
            }
        ));
        assert_eq!(records[2], RecordRef::Effect(b"effect"));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let whole = frame();
        for at in 0..whole.len() {
            let cut = Bytes::copy_from_slice(&whole[..at]);
            assert!(RecordedCommit::parse(&cut, 1_000).is_err(), "cut at {at}");
            for bit in 0..8 {
                let mut flipped = whole.clone();
                flipped[at] ^= 1 << bit;
                let read = RecordedCommit::parse(&Bytes::from(flipped), 1_000);
                assert!(read.is_err(), "bit {bit} of byte {at}");
            }
        }
    }
}
