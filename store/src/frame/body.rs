//! What lies behind the header, read piece by piece: metadata, stream parts, events.

use chronicler_domain::Metadata;
use uuid::Uuid;

use super::encode::{
    HAS_CAUSATION, HAS_CORRELATION, HAS_DEPTH, HAS_EXTRA, HAS_ID, HAS_METADATA, HAS_PRINCIPAL,
};
use super::varint::Cursor;

/// The metadata as it lies in a frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct RawMetadata<'a> {
    correlation_id: Option<Uuid>,
    causation_id: Option<Uuid>,
    principal: Option<&'a str>,
    causation_depth: u16,
    /// Names and values, in turn.
    extra: Cursor<'a>,
    extra_count: u64,
}

impl<'a> RawMetadata<'a> {
    #[inline(always)]
    pub(super) fn read(cursor: &mut Cursor<'a>) -> Option<Self> {
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
        let correlation_id = id(HAS_CORRELATION)?;
        let causation_id = id(HAS_CAUSATION)?;
        let principal = if flags & HAS_PRINCIPAL != 0 {
            Some(cursor.text()?)
        } else {
            None
        };
        let causation_depth = if flags & HAS_DEPTH != 0 {
            u16::try_from(cursor.varint()?).ok()?
        } else {
            0
        };
        let extra_count = if flags & HAS_EXTRA != 0 {
            cursor.varint()?
        } else {
            0
        };
        let extra = *cursor;
        for _ in 0..extra_count {
            cursor.text()?;
            cursor.text()?;
        }
        Some(Self {
            correlation_id,
            causation_id,
            principal,
            causation_depth,
            extra,
            extra_count,
        })
    }

    /// The metadata of a commit with this id.
    pub(super) fn to_metadata(self, commit_id: Uuid) -> Metadata {
        let mut extra = self.extra;
        let entry = |_| Some((extra.text()?.to_owned(), extra.text()?.to_owned()));
        Metadata {
            correlation_id: self.correlation_id.unwrap_or(commit_id),
            causation_id: self.causation_id,
            principal: self.principal.map(Into::into),
            causation_depth: self.causation_depth,
            extra: (0..self.extra_count).map_while(entry).collect(),
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct RawPart<'a> {
    /// A text, as everything that is called so here once the frame was checked.
    pub(super) stream_key: &'a [u8],
    pub(super) first_version: u64,
    pub(super) back: u64,
    pub(super) count: u64,
}

#[inline(always)]
pub(super) fn read_part<'a>(cursor: &mut Cursor<'a>) -> Option<RawPart<'a>> {
    Some(RawPart {
        stream_key: cursor.bytes()?,
        first_version: cursor.varint()?,
        back: cursor.varint()?,
        count: cursor.varint()?,
    })
}

#[derive(Clone, Copy, Debug)]
pub(super) struct RawEvent<'a> {
    pub(super) id: Option<Uuid>,
    pub(super) codec: u8,
    /// A text.
    pub(super) event_type: &'a [u8],
    pub(super) schema_version: u32,
    pub(super) payload: &'a [u8],
    pub(super) metadata: &'a [u8],
}

#[inline(always)]
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
        event_type: cursor.bytes()?,
        schema_version: u32::try_from(cursor.varint()?).ok()?,
        payload: cursor.bytes()?,
        metadata: if flags & HAS_METADATA != 0 {
            cursor.bytes()?
        } else {
            &[]
        },
    })
}
