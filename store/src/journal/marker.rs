//! The head marker: how far the log is known to be durable, in two slots of which one is always durable.

use std::io;
use std::path::Path;
use std::sync::Arc;

use chronicler_domain::{GlobalPosition, LogSequence, Timestamp};
use uuid::Uuid;

use super::disk::{OpenMode, Storage, StorageFile};
use crate::frame::CheckedFrame;
use crate::frame::varint::Cursor;
use crate::log::Head;

/// The file's name in the journal folder.
pub(crate) const FILE: &str = "head";
/// Each slot has a block of its own, so that a torn write of one cannot touch the other.
const SLOT_BYTES: u64 = 4_096;
const MAGIC: &[u8; 8] = b"CHRNHEAD";
const USED_BYTES: usize = 100;
const CLEAN: u32 = 1;

/// The end of what is durable, as recovery needs it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LogEnd {
    /// The last commit.
    pub sequence: LogSequence,
    /// The last event.
    pub position: GlobalPosition,
    /// When the last commit was accepted.
    pub timestamp: Timestamp,
    /// Where the last frame begins, and its checksum; both zero in an empty log.
    pub last_offset: u64,
    pub checksum: u32,
    /// Where the next frame begins.
    pub offset: u64,
}

impl LogEnd {
    /// The end of a log whose last frame this is.
    pub(crate) fn after(frame: &CheckedFrame) -> Self {
        let header = &frame.header;
        Self {
            sequence: header.sequence,
            position: frame.last_position(),
            timestamp: header.timestamp,
            last_offset: frame.log_offset,
            checksum: header.checksum,
            offset: frame.log_offset + u64::from(header.length),
        }
    }
}

impl From<LogEnd> for Head {
    fn from(end: LogEnd) -> Self {
        Self {
            sequence: end.sequence,
            position: end.position,
            timestamp: end.timestamp,
        }
    }
}

/// What a slot holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Marker {
    pub store_id: Uuid,
    /// The segment that holds the end.
    pub segment: u64,
    pub end: LogEnd,
    /// Whether the store was closed: then nothing lies beyond `end`.
    pub clean: bool,
}

/// The open file, and which slot is next.
#[derive(Debug)]
pub(crate) struct MarkerFile {
    file: Arc<dyn StorageFile>,
    generation: u64,
    /// The slot that was synced last. It is left alone until the other one is synced, so that a power cut
    /// which tears a slot always leaves the one before.
    durable_slot: u64,
    /// Whether the other slot was written since.
    is_written: bool,
    /// What was found in the durable slot, until it is certain that it is durable.
    unsettled: Option<Marker>,
    buffer: Vec<u8>,
}

/// What was found in the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct FoundMarker {
    /// The newest readable slot.
    pub marker: Option<Marker>,
    /// Slots that hold something unreadable.
    pub damaged_slots: usize,
}

/// What both slots hold.
#[derive(Debug, Default)]
struct FoundSlots {
    marker: FoundMarker,
    generation: u64,
    /// Where the newest marker is.
    slot: u64,
}

/// Whether the file of markers in a folder can be one: each slot begins as a marker does, as far as it was written.
pub(crate) fn can_be_one(storage: &dyn Storage, folder: &Path) -> io::Result<bool> {
    let file = storage.open(&folder.join(FILE), OpenMode::Read)?;
    for slot in 0..2 {
        let mut begins = [0; MAGIC.len()];
        file.read_at(&mut begins, slot * SLOT_BYTES)?;
        let written = begins
            .iter()
            .rposition(|byte| *byte != 0)
            .map_or(0, |last| last + 1);
        if begins.get(..written) != MAGIC.get(..written) {
            return Ok(false);
        }
    }
    Ok(true)
}

impl MarkerFile {
    /// Creates the file with one marker in it, synced.
    pub(crate) fn create(
        storage: &dyn Storage,
        folder: &Path,
        marker: &Marker,
    ) -> io::Result<Self> {
        Self::create_as(storage, &folder.join(FILE), marker)
    }

    /// Creates the file under another name with one marker in it, synced.
    pub(crate) fn create_as(
        storage: &dyn Storage,
        path: &Path,
        marker: &Marker,
    ) -> io::Result<Self> {
        let file = storage.open(path, OpenMode::Create)?;
        file.truncate(2 * SLOT_BYTES)?;
        let mut created = Self {
            file,
            generation: 0,
            durable_slot: 0,
            is_written: false,
            unsettled: None,
            buffer: Vec::with_capacity(USED_BYTES),
        };
        created.write(marker)?;
        created.sync()?;
        Ok(created)
    }

    /// Opens the file and reads its newest marker; without a file nothing is found.
    pub(crate) fn open(
        storage: &dyn Storage,
        folder: &Path,
    ) -> io::Result<Option<(Self, FoundMarker)>> {
        let file = match storage.open(&folder.join(FILE), OpenMode::Write) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        let found = read_slots(file.as_ref())?;
        let opened = Self {
            file,
            generation: found.generation,
            durable_slot: found.slot,
            is_written: false,
            unsettled: found.marker.marker,
            buffer: Vec::with_capacity(USED_BYTES),
        };
        Ok(Some((opened, found.marker)))
    }

    /// Reads the newest marker without being able to write one; without a file nothing is found.
    pub(crate) fn read(storage: &dyn Storage, folder: &Path) -> io::Result<Option<FoundMarker>> {
        match storage.open(&folder.join(FILE), OpenMode::Read) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
            Ok(file) => Ok(Some(read_slots(file.as_ref())?.marker)),
        }
    }

    /// Writes the marker into the slot that may be lost, without a sync.
    pub(crate) fn write(&mut self, marker: &Marker) -> io::Result<()> {
        self.settle()?;
        self.generation += 1;
        encode(self.generation, marker, &mut self.buffer);
        self.is_written = true;
        let slot = 1 - self.durable_slot;
        self.file.write_at(&self.buffer, slot * SLOT_BYTES)
    }

    /// Makes the last written marker durable.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()?;
        if std::mem::take(&mut self.is_written) {
            self.durable_slot = 1 - self.durable_slot;
        }
        Ok(())
    }

    /// Makes the marker that was found durable before anything is written beside it: what was read may be in
    /// memory only, even after a sync that failed. Written again it can be torn into nothing but itself.
    fn settle(&mut self) -> io::Result<()> {
        let Some(found) = self.unsettled else {
            return Ok(());
        };
        encode(self.generation, &found, &mut self.buffer);
        let at = self.durable_slot * SLOT_BYTES;
        self.file.write_at(&self.buffer, at)?;
        self.file.sync_data()?;
        self.unsettled = None;
        Ok(())
    }
}

/// What both slots hold, and the generation of the newest.
fn read_slots(file: &dyn StorageFile) -> io::Result<FoundSlots> {
    let (mut found, mut unwritten) = (FoundSlots::default(), 0);
    for slot in 0..2 {
        let mut bytes = [0; USED_BYTES];
        file.read_at(&mut bytes, slot * SLOT_BYTES)?;
        match decode(&bytes) {
            Some((generation, marker)) if generation > found.generation => {
                found.generation = generation;
                found.slot = slot;
                found.marker.marker = Some(marker);
            }
            Some(_) => {}
            None if bytes.iter().all(|byte| *byte == 0) => unwritten += 1,
            None => found.marker.damaged_slots += 1,
        }
    }
    // The first generation leaves one slot unwritten, and only that.
    if found.generation != 1 {
        found.marker.damaged_slots += unwritten;
    }
    Ok(found)
}

fn encode(generation: u64, marker: &Marker, out: &mut Vec<u8>) {
    out.clear();
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&generation.to_le_bytes());
    out.extend_from_slice(marker.store_id.as_bytes());
    out.extend_from_slice(&marker.segment.to_le_bytes());
    out.extend_from_slice(&marker.end.sequence.get().to_le_bytes());
    out.extend_from_slice(&marker.end.position.get().to_le_bytes());
    out.extend_from_slice(&marker.end.timestamp.as_micros().to_le_bytes());
    out.extend_from_slice(&marker.end.last_offset.to_le_bytes());
    out.extend_from_slice(&marker.end.offset.to_le_bytes());
    out.extend_from_slice(&marker.end.checksum.to_le_bytes());
    let flags = if marker.clean { CLEAN } else { 0 };
    out.extend_from_slice(&flags.to_le_bytes());
    out.extend_from_slice(&[0; 8]);
    out.extend_from_slice(&crc32c::crc32c(out).to_le_bytes());
}

fn decode(bytes: &[u8; USED_BYTES]) -> Option<(u64, Marker)> {
    let (covered, checksum) = bytes.split_last_chunk::<4>()?;
    if crc32c::crc32c(covered) != u32::from_le_bytes(*checksum) {
        return None;
    }
    let mut cursor = Cursor::new(covered);
    if &cursor.array::<8>()? != MAGIC {
        return None;
    }
    let generation = u64::from_le_bytes(cursor.array()?);
    let store_id = Uuid::from_bytes(cursor.array()?);
    let mut number = || cursor.array().map(u64::from_le_bytes);
    let segment = number()?;
    let (sequence, position, timestamp) = (number()?, number()?, number()?);
    let (last_offset, offset) = (number()?, number()?);
    let checksum = u32::from_le_bytes(cursor.array()?);
    let flags = u32::from_le_bytes(cursor.array()?);
    if flags & !CLEAN != 0 {
        return None;
    }
    let end = LogEnd {
        sequence: LogSequence::new(sequence),
        position: GlobalPosition::new(position),
        timestamp: Timestamp::from_micros(timestamp),
        last_offset,
        checksum,
        offset,
    };
    let marker = Marker {
        store_id,
        segment,
        end,
        clean: flags & CLEAN != 0,
    };
    Some((generation, marker))
}
