//! Checking a frame once as a whole: checksum and structure.

use chronicler_domain::{GlobalPosition, LogSequence};

use super::body::{RawMetadata, read_event, read_part};
use super::error::FrameError;
use super::header::{self, FrameHeader, HEADER_BYTES};
use super::record::RecordRef;
use super::text::{is_stream_key, is_text};
use super::varint::Cursor;

/// A frame that was found whole: its header, and where its sections begin. Its bytes are elsewhere.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CheckedFrame {
    pub header: FrameHeader,
    /// Where it begins in the log.
    pub log_offset: u64,
    pub(super) sections: Sections,
}

/// Where the sections of a frame's body begin, in bytes from the front of the frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sections {
    pub(super) parts_at: u32,
    pub(super) records_at: u32,
    event_count: u32,
}

impl CheckedFrame {
    /// Checks the frame at the front of `bytes`; what follows it is left out.
    #[inline(always)]
    pub(crate) fn check(bytes: &[u8], log_offset: u64) -> Result<Self, FrameError> {
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
        if header.sequence == LogSequence::ZERO || header.first_position == GlobalPosition::ZERO {
            let what = "its sequence or position: they count from 1";
            return Err(FrameError::Structure { what });
        }
        let sections =
            Sections::walk(frame, log_offset).map_err(|what| FrameError::Structure { what })?;
        Ok(Self {
            header,
            log_offset,
            sections,
        })
    }

    /// How many events it has, over all its streams.
    pub(crate) fn event_count(&self) -> u32 {
        self.sections.event_count
    }

    /// The position of its last event; without events, the one before its first.
    pub(crate) fn last_position(&self) -> GlobalPosition {
        self.header
            .first_position
            .plus(u64::from(self.sections.event_count))
            .previous()
    }
}

impl Sections {
    /// Walks the whole body once; what is wrong with it, if anything is.
    fn walk(frame: &[u8], log_offset: u64) -> Result<Self, &'static str> {
        let at = |cursor: &Cursor<'_>| (frame.len() - cursor.rest().len()) as u32;
        let mut cursor = Cursor::new(frame.get(HEADER_BYTES..).unwrap_or_default());
        RawMetadata::read(&mut cursor).ok_or("its metadata")?;
        let parts_at = at(&cursor);
        let parts = cursor.varint().ok_or("its stream parts")?;
        let mut event_count = 0_u32;
        for _ in 0..parts {
            let part = read_part(&mut cursor).ok_or("a stream part")?;
            if part.back > log_offset {
                return Err("a back-link");
            }
            if part.first_version == 0 {
                return Err("a stream version: they count from 1");
            }
            if !is_stream_key(part.stream_key) {
                return Err("a stream key");
            }
            for _ in 0..part.count {
                let event = read_event(&mut cursor).ok_or("an event")?;
                if !is_text(event.event_type) {
                    return Err("the type of an event");
                }
            }
            event_count = event_count.saturating_add(u32::try_from(part.count).unwrap_or(u32::MAX));
        }
        let records_at = at(&cursor);
        let records = cursor.varint().ok_or("its side records")?;
        for _ in 0..records {
            RecordRef::read(&mut cursor).ok_or("a side record")?;
        }
        if !cursor.is_empty() {
            return Err("its end");
        }
        Ok(Self {
            parts_at,
            records_at,
            event_count,
        })
    }
}
