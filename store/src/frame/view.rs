//! A frame read in place: checked once as a whole, then looked at without copying.

use std::collections::BTreeMap;

use bytes::Bytes;
use chronicler_domain::{
    GlobalPosition, LogSequence, Metadata, SchemaVersion, StreamId, StreamVersion, Timestamp,
};
use uuid::Uuid;

use super::encode::{
    HAS_CAUSATION, HAS_CORRELATION, HAS_DEPTH, HAS_EXTRA, HAS_ID, HAS_METADATA, HAS_PRINCIPAL,
};
use super::header::{self, FrameHeader, HEADER_BYTES};
use super::record::RecordRef;
use super::varint::Cursor;
use crate::codec::CodecId;

/// Why bytes are not a frame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The length field is zero: nothing was ever written here.
    #[error("there is no frame here: the length is zero")]
    Absent,
    /// Fewer bytes than the frame's own length.
    #[error("the frame wants {wanted} bytes and {present} are there")]
    Short {
        /// What the length field says.
        wanted: u64,
        /// What is there.
        present: u64,
    },
    /// The length field cannot be right.
    #[error("the length {length} is below that of a header")]
    Length {
        /// What the length field says.
        length: u32,
    },
    /// The bytes are not those that were written.
    #[error("the checksum is {stored:#010x}, and the bytes give {computed:#010x}")]
    Checksum {
        /// What the frame says.
        stored: u32,
        /// What its bytes give.
        computed: u32,
    },
    /// A version or feature that this release does not know: a newer release wrote the frame.
    #[error("the frame has version {version} and features {features:#04x}; this release reads version {known} without features", known = super::FRAME_VERSION)]
    Newer {
        /// What the frame says.
        version: u8,
        /// Its features that a reader must know.
        features: u8,
    },
    /// The checksum is right and the structure is not: written by faulty code.
    #[error("the structure of {what} is wrong")]
    Structure {
        /// Which part of the frame.
        what: &'static str,
    },
}

/// A commit as it lies in the log. Cheap to clone: the bytes are shared.
///
/// Reads in place. Every accessor that parses was checked when the value was made, so none can fail.
#[derive(Clone, Debug)]
pub struct RecordedCommit {
    bytes: Bytes,
    header: FrameHeader,
    log_offset: u64,
    parts_at: u32,
    records_at: u32,
    event_count: u32,
}

impl FrameError {
    /// Whether the bytes can be what a write that was cut short leaves behind. If not, the frame was
    /// written whole, by a newer or a faulty release, and must never be cut off as a torn tail.
    pub fn can_be_torn(&self) -> bool {
        !matches!(self, Self::Newer { .. } | Self::Structure { .. })
    }
}

impl RecordedCommit {
    /// Checks the frame at the front of `bytes` (checksum and structure) and takes it; what follows it is
    /// left out.
    ///
    /// # Errors
    /// [`FrameError`], which says what is wrong. No bytes make this panic.
    pub fn parse(bytes: &Bytes, log_offset: u64) -> Result<Self, FrameError> {
        let present = bytes.len() as u64;
        let short = |wanted: u64| FrameError::Short { wanted, present };
        let mut front = Cursor::new(bytes);
        let length = u32::from_le_bytes(front.array().ok_or(short(4))?);
        if length == 0 {
            return Err(FrameError::Absent);
        }
        let size = length as usize;
        if size < HEADER_BYTES {
            return Err(FrameError::Length { length });
        }
        let frame = bytes.get(..size).ok_or(short(u64::from(length)))?;
        let stored = u32::from_le_bytes(front.array().ok_or(short(8))?);
        let computed = header::checksum(frame).ok_or(short(u64::from(length)))?;
        if stored != computed {
            return Err(FrameError::Checksum { stored, computed });
        }
        let header = FrameHeader::read(frame).ok_or_else(|| FrameError::Newer {
            version: frame.get(12).copied().unwrap_or(0),
            features: frame.get(13).copied().unwrap_or(0),
        })?;
        let mut commit = Self {
            bytes: bytes.slice(..size),
            header,
            log_offset,
            parts_at: 0,
            records_at: 0,
            event_count: 0,
        };
        commit.check_structure()?;
        Ok(commit)
    }

    /// Walks the whole body once and remembers where its sections begin.
    fn check_structure(&mut self) -> Result<(), FrameError> {
        let wrong = |what| FrameError::Structure { what };
        if self.header.sequence == LogSequence::ZERO
            || self.header.first_position == GlobalPosition::ZERO
        {
            return Err(wrong("its sequence or position: they count from 1"));
        }
        let bytes = self.bytes.clone();
        let at = |cursor: &Cursor<'_>| (bytes.len() - cursor.rest().len()) as u32;
        let mut cursor = Cursor::new(bytes.get(HEADER_BYTES..).unwrap_or_default());
        read_metadata(&mut cursor, self.header.commit_id, false).ok_or(wrong("its metadata"))?;
        self.parts_at = at(&cursor);
        let parts = cursor.varint().ok_or(wrong("its stream parts"))?;
        for _ in 0..parts {
            let part = read_part(&mut cursor).ok_or(wrong("a stream part"))?;
            let back = part.back;
            if back > self.log_offset {
                return Err(wrong("a back-link"));
            }
            if part.first_version == 0 {
                return Err(wrong("a stream version: they count from 1"));
            }
            if !has_three_parts(part.stream_key) {
                return Err(wrong("a stream key"));
            }
            for _ in 0..part.count {
                read_event(&mut cursor).ok_or(wrong("an event"))?;
            }
            self.event_count = self
                .event_count
                .saturating_add(u32::try_from(part.count).unwrap_or(u32::MAX));
        }
        self.records_at = at(&cursor);
        let records = cursor.varint().ok_or(wrong("its side records"))?;
        for _ in 0..records {
            RecordRef::read(&mut cursor).ok_or(wrong("a side record"))?;
        }
        if cursor.is_empty() {
            Ok(())
        } else {
            Err(wrong("its end"))
        }
    }

    /// The fixed front.
    pub fn header(&self) -> &FrameHeader {
        &self.header
    }

    /// The number of this commit.
    pub fn sequence(&self) -> LogSequence {
        self.header.sequence
    }

    /// When it was accepted.
    pub fn timestamp(&self) -> Timestamp {
        self.header.timestamp
    }

    /// The id of its command or effect.
    pub fn commit_id(&self) -> Uuid {
        self.header.commit_id
    }

    /// Where the frame begins in the log.
    pub fn log_offset(&self) -> u64 {
        self.log_offset
    }

    /// How many events it has, over all its streams.
    pub fn event_count(&self) -> u32 {
        self.event_count
    }

    /// The position of its first event; without events, the position that the next event will get.
    pub fn first_position(&self) -> GlobalPosition {
        self.header.first_position
    }

    /// The position of its last event; without events, the one before
    /// [`first_position`](Self::first_position).
    pub fn last_position(&self) -> GlobalPosition {
        self.header
            .first_position
            .plus(u64::from(self.event_count))
            .previous()
    }

    /// Its bytes, whole.
    pub fn as_bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Who caused it, and what caused that.
    pub fn metadata(&self) -> Metadata {
        let mut cursor = Cursor::new(self.bytes.get(HEADER_BYTES..).unwrap_or_default());
        read_metadata(&mut cursor, self.header.commit_id, true)
            .flatten()
            .unwrap_or_else(|| Metadata::origin(self.header.commit_id))
    }

    /// Its stream parts, in order.
    pub fn parts(&self) -> impl Iterator<Item = PartRef<'_>> {
        let mut cursor = Cursor::new(self.bytes.get(self.parts_at as usize..).unwrap_or_default());
        let count = cursor.varint().unwrap_or(0);
        let mut index = 0_u32;
        (0..count).map_while(move |_| {
            let raw = read_part(&mut cursor)?;
            let part = PartRef {
                commit: self,
                stream_key: raw.stream_key,
                first_version: StreamVersion::new(raw.first_version),
                previous_offset: (raw.back > 0).then(|| self.log_offset - raw.back),
                count: raw.count,
                first_index: index,
                events: cursor,
            };
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
                .get(self.records_at as usize..)
                .unwrap_or_default(),
        );
        let count = cursor.varint().unwrap_or(0);
        (0..count).map_while(move |_| RecordRef::read(&mut cursor))
    }
}

/// What a commit appended to one stream.
#[derive(Clone, Copy, Debug)]
pub struct PartRef<'a> {
    commit: &'a RecordedCommit,
    stream_key: &'a str,
    first_version: StreamVersion,
    previous_offset: Option<u64>,
    count: u64,
    first_index: u32,
    events: Cursor<'a>,
}

impl<'a> PartRef<'a> {
    /// The stream's key, as [`StreamId::key`] gives it.
    pub fn stream_key(&self) -> &'a str {
        self.stream_key
    }

    /// The stream.
    pub fn stream(&self) -> Option<StreamId> {
        StreamId::from_key(self.stream_key)
    }

    /// The stream's category.
    pub fn category(&self) -> &'a str {
        self.stream_key.split('\0').nth(1).unwrap_or("")
    }

    /// The stream's tenant; empty for the default tenant.
    pub fn tenant(&self) -> &'a str {
        self.stream_key.split('\0').next().unwrap_or("")
    }

    /// The aggregate's id.
    pub fn id(&self) -> &'a str {
        self.stream_key.split('\0').nth(2).unwrap_or("")
    }

    /// The version of the first event here; without events, the version the next event will get.
    pub fn first_version(&self) -> StreamVersion {
        self.first_version
    }

    /// The stream's version after this part.
    pub fn last_version(&self) -> StreamVersion {
        self.first_version.plus(self.count).previous()
    }

    /// Where the frame with this stream's previous part begins; `None` if this is its first.
    pub fn previous_offset(&self) -> Option<u64> {
        self.previous_offset
    }

    /// How many events it has here.
    pub fn event_count(&self) -> u64 {
        self.count
    }

    /// Its events here, in order.
    pub fn events(self) -> impl Iterator<Item = EventRef<'a>> {
        let mut cursor = self.events;
        (0..self.count).map_while(move |offset| {
            let raw = read_event(&mut cursor)?;
            let index = self.first_index + offset as u32;
            Some(EventRef {
                part: self,
                raw,
                index,
                version: self.first_version.plus(offset),
            })
        })
    }
}

/// One event as it lies in a frame.
#[derive(Clone, Copy, Debug)]
pub struct EventRef<'a> {
    part: PartRef<'a>,
    raw: RawEvent<'a>,
    index: u32,
    version: StreamVersion,
}

impl<'a> EventRef<'a> {
    /// The commit it belongs to.
    pub fn commit(&self) -> &'a RecordedCommit {
        self.part.commit
    }

    /// The stream part it belongs to.
    pub fn part(&self) -> &PartRef<'a> {
        &self.part
    }

    /// Its id: the one it was appended with, else derived from commit, stream and version, since commit
    /// ids are unique in their streams only.
    pub fn id(&self) -> Uuid {
        self.raw.id.unwrap_or_else(|| {
            derived_event_id(
                self.part.commit.commit_id(),
                self.part.stream_key,
                self.version,
            )
        })
    }

    /// The id it was appended with, if it had one.
    pub fn explicit_id(&self) -> Option<Uuid> {
        self.raw.id
    }

    /// Its place in its stream.
    pub fn version(&self) -> StreamVersion {
        self.version
    }

    /// Its place in the log.
    pub fn position(&self) -> GlobalPosition {
        self.part
            .commit
            .header
            .first_position
            .plus(u64::from(self.index))
    }

    /// The stable name of its type.
    pub fn event_type(&self) -> &'a str {
        self.raw.event_type
    }

    /// The schema version of its payload.
    pub fn schema_version(&self) -> SchemaVersion {
        SchemaVersion::new(self.raw.schema_version)
    }

    /// How its payload is encoded.
    pub fn codec(&self) -> CodecId {
        CodecId::new(self.raw.codec)
    }

    /// Its payload.
    pub fn payload(&self) -> &'a [u8] {
        self.raw.payload
    }

    /// Metadata of this event alone; empty if it has none.
    pub fn metadata(&self) -> &'a [u8] {
        self.raw.metadata
    }

    /// When its commit was accepted.
    pub fn timestamp(&self) -> Timestamp {
        self.part.commit.header.timestamp
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct RawPart<'a> {
    pub(super) stream_key: &'a str,
    pub(super) first_version: u64,
    pub(super) back: u64,
    pub(super) count: u64,
}

pub(super) fn read_part<'a>(cursor: &mut Cursor<'a>) -> Option<RawPart<'a>> {
    Some(RawPart {
        stream_key: cursor.text()?,
        first_version: cursor.varint()?,
        back: cursor.varint()?,
        count: cursor.varint()?,
    })
}

#[derive(Clone, Copy, Debug)]
pub(super) struct RawEvent<'a> {
    id: Option<Uuid>,
    codec: u8,
    event_type: &'a str,
    schema_version: u32,
    payload: &'a [u8],
    metadata: &'a [u8],
}

pub(super) fn read_event<'a>(cursor: &mut Cursor<'a>) -> Option<RawEvent<'a>> {
    let flags = cursor.byte()?;
    if flags & !(HAS_ID | HAS_METADATA) != 0 {
        return None;
    }
    let id = if flags & HAS_ID != 0 {
        Some(Uuid::from_bytes(cursor.array()?))
    } else {
        None
    };
    Some(RawEvent {
        id,
        codec: cursor.byte()?,
        event_type: cursor.text()?,
        schema_version: u32::try_from(cursor.varint()?).ok()?,
        payload: cursor.bytes()?,
        metadata: if flags & HAS_METADATA != 0 {
            cursor.bytes()?
        } else {
            &[]
        },
    })
}

/// Reads the metadata; with `wanted` false it only checks and skips, and gives `Some(None)`.
pub(super) fn read_metadata(
    cursor: &mut Cursor<'_>,
    commit_id: Uuid,
    wanted: bool,
) -> Option<Option<Metadata>> {
    let flags = cursor.byte()?;
    if flags & !(HAS_CORRELATION | HAS_CAUSATION | HAS_PRINCIPAL | HAS_DEPTH | HAS_EXTRA) != 0 {
        return None;
    }
    let mut id = |bit: u8| -> Option<Option<Uuid>> {
        if flags & bit == 0 {
            Some(None)
        } else {
            Some(Some(Uuid::from_bytes(cursor.array()?)))
        }
    };
    let correlation_id = id(HAS_CORRELATION)?.unwrap_or(commit_id);
    let causation_id = id(HAS_CAUSATION)?;
    let principal = if flags & HAS_PRINCIPAL != 0 {
        Some(cursor.text()?)
    } else {
        None
    };
    let depth = if flags & HAS_DEPTH != 0 {
        cursor.varint()?
    } else {
        0
    };
    let mut extra = BTreeMap::new();
    if flags & HAS_EXTRA != 0 {
        for _ in 0..cursor.varint()? {
            let (name, value) = (cursor.text()?, cursor.text()?);
            if wanted {
                extra.insert(name.to_owned(), value.to_owned());
            }
        }
    }
    let causation_depth = u16::try_from(depth).ok()?;
    Some(wanted.then(|| Metadata {
        correlation_id,
        causation_id,
        principal: principal.map(Into::into),
        causation_depth,
        extra,
    }))
}

/// The id of an event that was appended without one.
pub fn derived_event_id(commit_id: Uuid, stream_key: &str, version: StreamVersion) -> Uuid {
    let mut name = Vec::with_capacity(stream_key.len() + 9);
    name.extend_from_slice(stream_key.as_bytes());
    name.push(0);
    name.extend_from_slice(&version.get().to_le_bytes());
    Uuid::new_v5(&commit_id, &name)
}

/// Whether a text has the three parts of a stream key, category and id not empty.
fn has_three_parts(key: &str) -> bool {
    let mut parts = key.split('\0').skip(1);
    let named = |part: Option<&str>| part.is_some_and(|part| !part.is_empty());
    named(parts.next()) && named(parts.next()) && parts.next().is_none()
}

#[cfg(test)]
mod tests {
    use chronicler_domain::Timestamp;

    use super::*;
    use crate::append::{Append, Expected, NewEvent};
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
