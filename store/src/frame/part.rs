//! The events of a commit, stream by stream, looked at in place.

use chronicler_domain::{GlobalPosition, SchemaVersion, StreamId, StreamVersion, Timestamp};
use uuid::Uuid;

use super::body::{RawEvent, RawPart, read_event};
use super::varint::Cursor;
use super::view::RecordedCommit;
use crate::codec::CodecId;

/// What a commit appended to one stream.
#[derive(Clone, Copy, Debug)]
pub struct PartRef<'a> {
    commit: &'a RecordedCommit,
    stream_key: &'a [u8],
    first_version: StreamVersion,
    previous_offset: Option<u64>,
    count: u64,
    first_index: u32,
    events: Cursor<'a>,
}

impl<'a> PartRef<'a> {
    /// A part whose first event is the `first_index`-th of the commit; `events` stands before it.
    pub(super) fn new(
        commit: &'a RecordedCommit,
        raw: RawPart<'a>,
        first_index: u32,
        events: Cursor<'a>,
    ) -> Self {
        let back = (raw.back > 0).then_some(raw.back);
        Self {
            commit,
            stream_key: raw.stream_key,
            first_version: StreamVersion::new(raw.first_version),
            previous_offset: back.and_then(|back| commit.log_offset().checked_sub(back)),
            count: raw.count,
            first_index,
            events,
        }
    }

    /// The stream's key, as [`StreamId::key`] gives it.
    pub fn stream_key(&self) -> &'a str {
        text(self.stream_key)
    }

    /// The stream.
    pub fn stream(&self) -> Option<StreamId> {
        StreamId::from_key(self.stream_key())
    }

    /// The stream's category.
    pub fn category(&self) -> &'a str {
        self.stream_key().split('\0').nth(1).unwrap_or("")
    }

    /// The stream's tenant; empty for the default tenant.
    pub fn tenant(&self) -> &'a str {
        self.stream_key().split('\0').next().unwrap_or("")
    }

    /// The aggregate's id.
    pub fn id(&self) -> &'a str {
        self.stream_key().split('\0').nth(2).unwrap_or("")
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
                self.part.stream_key(),
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
            .first_position()
            .plus(u64::from(self.index))
    }

    /// The stable name of its type.
    pub fn event_type(&self) -> &'a str {
        text(self.raw.event_type)
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
        self.part.commit.timestamp()
    }
}

/// What was found to be a text when the frame was checked.
fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

/// The id of an event that was appended without one.
pub fn derived_event_id(commit_id: Uuid, stream_key: &str, version: StreamVersion) -> Uuid {
    let mut name = Vec::with_capacity(stream_key.len() + 9);
    name.extend_from_slice(stream_key.as_bytes());
    name.push(0);
    name.extend_from_slice(&version.get().to_le_bytes());
    Uuid::new_v5(&commit_id, &name)
}
