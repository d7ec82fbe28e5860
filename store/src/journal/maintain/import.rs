//! A log written anew, commit by commit, each with the numbers that it had.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use chronicler_domain::{GlobalPosition, LogSequence, StreamVersion};
use uuid::Uuid;

use super::error::{MaintenanceError, io_failed};
use super::place::EmptyPlace;
use super::segment_writer::SegmentWriter;
use crate::acceptance::check;
use crate::append::Append;
use crate::error::AppendError;
use crate::frame::{FramePlace, RecordedCommit, encode};
use crate::journal::disk::{RealStorage, Storage};
use crate::journal::identity;
use crate::journal::marker::LogEnd;
use crate::journal::options::JournalOptions;
use crate::journal::segment::{SegmentHeader, file_name};
use crate::journal::unfinished::Work;
use crate::log::Head;

/// The version of a part's first event, and the log offset of the stream's part before.
type Place = Option<(StreamVersion, Option<u64>)>;

/// A commit with the numbers that it is to have.
#[derive(Clone, Debug)]
pub struct ImportedCommit {
    /// The number of the commit.
    pub sequence: LogSequence,
    /// The position of its first event; without events, the position that the next event will get.
    pub first_position: GlobalPosition,
    /// For each part of the append, the version of its first event; without events, the one that the next will get.
    pub first_versions: Vec<StreamVersion>,
    /// What it holds. `at` is when it was accepted; what the parts expect is not looked at.
    pub append: Append,
}

/// A new store in the making, whose log consists of commits that another store had. Holds in memory the head of
/// every stream. Dropped before [`finish`](Self::finish), it leaves the directory as it was.
#[derive(Debug)]
pub struct JournalImport {
    storage: Arc<dyn Storage>,
    place: EmptyPlace,
    store_id: Uuid,
    segment_bytes: u64,
    segment: u64,
    path: PathBuf,
    writer: SegmentWriter,
    end: LogEnd,
    /// Version and log offset of the last part of each stream.
    heads: HashMap<String, (StreamVersion, u64)>,
    buffer: Vec<u8>,
}

impl JournalImport {
    /// Begins a store in a directory that is empty or not there yet, with segments of the length that the options
    /// say. Its id is new.
    ///
    /// # Errors
    /// [`MaintenanceError`]: the directory is not empty, or cannot be written to.
    pub fn begin(data: &Path, options: &JournalOptions) -> Result<Self, MaintenanceError> {
        let storage: Arc<dyn Storage> = Arc::new(RealStorage);
        let place = EmptyPlace::take(storage.as_ref(), data, Work::Import)?;
        let (store_id, end) = (identity::new_store_id(), LogEnd::default());
        let header = SegmentHeader::following(1, store_id, &end);
        let path = place.folder.join(file_name(1));
        let writer = SegmentWriter::create(storage.as_ref(), &path, header)
            .map_err(io_failed("creating", &path))?;
        Ok(Self {
            storage,
            place,
            store_id,
            segment_bytes: options.segment_bytes,
            segment: 1,
            path,
            writer,
            end,
            heads: HashMap::new(),
            buffer: Vec::new(),
        })
    }

    /// Writes the next commit.
    ///
    /// # Errors
    /// [`MaintenanceError::NotReproducible`]: its numbers are not those that it would get here, or it is none that a
    /// log can hold.
    pub fn push(&mut self, commit: &ImportedCommit) -> Result<(), MaintenanceError> {
        self.check_numbers(commit)?;
        check(&commit.append).map_err(|error| match error {
            AppendError::Invalid { reason } => no(reason),
            other => no(other.to_string()),
        })?;
        let parts = self.places(commit)?;
        self.buffer.clear();
        let place = FramePlace {
            previous_checksum: self.end.checksum,
            sequence: commit.sequence,
            first_position: commit.first_position,
            timestamp: commit.append.at,
            log_offset: self.end.offset,
            parts: &parts,
        };
        encode(&commit.append, &place, &mut self.buffer)
            .ok_or_else(|| no("it is too long for a frame"))?;
        let bytes = Bytes::copy_from_slice(&self.buffer);
        let recorded = RecordedCommit::parse(&bytes, self.end.offset)
            .map_err(|wrong| no(wrong.to_string()))?;
        let is_first = self.end.offset == self.writer.base_offset();
        if !is_first && self.writer.bytes() + bytes.len() as u64 > self.segment_bytes {
            self.begin_next()?;
        }
        self.writer
            .push(&recorded)
            .map_err(io_failed("writing", &self.path))?;
        for part in recorded.parts() {
            let head = (part.last_version(), recorded.log_offset());
            match self.heads.get_mut(part.stream_key()) {
                Some(known) => *known = head,
                None => drop(self.heads.insert(part.stream_key().to_owned(), head)),
            }
        }
        self.end = LogEnd::after(recorded.frame());
        Ok(())
    }

    /// The id of the new store.
    pub fn store_id(&self) -> Uuid {
        self.store_id
    }

    /// Makes everything durable and the directory a data directory. Its index is built when it is first opened.
    ///
    /// # Errors
    /// [`MaintenanceError::Io`].
    pub fn finish(self) -> Result<Head, MaintenanceError> {
        self.writer
            .finish(&self.end, false)
            .map_err(io_failed("writing", &self.path))?;
        self.place
            .settle(self.storage.as_ref(), self.store_id, self.end, self.segment)?;
        Ok(self.end.into())
    }

    fn check_numbers(&self, commit: &ImportedCommit) -> Result<(), MaintenanceError> {
        let (sequence, position) = (self.end.sequence.next(), self.end.position.next());
        if commit.sequence != sequence {
            let found = commit.sequence;
            return Err(no(format!(
                "it is commit {found}, and {sequence} is the next"
            )));
        }
        if commit.first_position != position {
            let found = commit.first_position;
            return Err(no(format!(
                "it begins at position {found}, and {position} is the next"
            )));
        }
        if commit.append.at < self.end.timestamp {
            let (found, before) = (commit.append.at, self.end.timestamp);
            return Err(no(format!(
                "its time {found} is before that of the commit before, {before}"
            )));
        }
        Ok(())
    }

    /// For each part its first version, and where the stream's part before lies.
    fn places(&self, commit: &ImportedCommit) -> Result<Vec<Place>, MaintenanceError> {
        let parts = &commit.append.parts;
        if parts.len() != commit.first_versions.len() {
            return Err(no("it has not as many first versions as parts"));
        }
        let place = |(part, version): (&crate::append::StreamAppend, &StreamVersion)| {
            let head = self.heads.get(part.stream.key());
            let next = head.map_or(StreamVersion::ZERO, |head| head.0).next();
            if *version != next {
                return Err(no(format!(
                    "stream {} goes on with version {version}, and {next} is the next",
                    part.stream
                )));
            }
            Ok(Some((next, head.map(|head| head.1))))
        };
        parts
            .iter()
            .zip(&commit.first_versions)
            .map(place)
            .collect()
    }

    fn begin_next(&mut self) -> Result<(), MaintenanceError> {
        self.segment += 1;
        let header = SegmentHeader::following(self.segment, self.store_id, &self.end);
        let path = self.place.folder.join(file_name(self.segment));
        let next = SegmentWriter::create(self.storage.as_ref(), &path, header)
            .map_err(io_failed("creating", &path))?;
        let full = std::mem::replace(&mut self.writer, next);
        let full_path = std::mem::replace(&mut self.path, path);
        full.finish(&self.end, true)
            .map_err(io_failed("writing", &full_path))?;
        Ok(())
    }
}

fn no(reason: impl Into<String>) -> MaintenanceError {
    MaintenanceError::NotReproducible {
        reason: reason.into(),
    }
}

#[cfg(test)]
mod tests {
    use chronicler_domain::{SchemaVersion, StreamId, Timestamp};

    use super::*;
    use crate::append::{Expected, NewEvent};
    use crate::codec::CodecId;
    use crate::journal::JournalReader;
    use crate::query::Start;

    fn commit(number: u64) -> ImportedCommit {
        let event = NewEvent {
            id: None,
            event_type: "Deposited".into(),
            schema_version: SchemaVersion::FIRST,
            codec: CodecId::RAW,
            payload: Bytes::from(vec![7; 1_000]),
            metadata: Bytes::new(),
        };
        let stream = StreamId::of("account", "alice").unwrap();
        let append = Append::new(
            Uuid::from_u128(number.into()),
            Timestamp::from_micros(number),
        );
        ImportedCommit {
            sequence: LogSequence::new(number),
            first_position: GlobalPosition::new(number),
            first_versions: vec![StreamVersion::new(number)],
            append: append.stream(stream, Expected::Any, vec![event]),
        }
    }

    #[test]
    fn segments_are_begun_and_sealed_as_the_store_does() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let options = JournalOptions::default().segment_bytes(64 << 10);
        let mut import = JournalImport::begin(&data, &options).unwrap();
        for number in 1..=300 {
            import.push(&commit(number)).unwrap();
        }
        let head = import.finish().unwrap();
        assert_eq!(head.sequence, LogSequence::new(300));
        let reader = JournalReader::open(&data).unwrap();
        let segments = reader.segments();
        assert!(segments.len() > 4, "{segments:?}");
        let sealed = segments.iter().filter(|segment| segment.sealed).count();
        assert_eq!(sealed, segments.len() - 1);
        assert!(segments.iter().all(|segment| segment.file_bytes < 80 << 10));
        let verified = reader.verify(&|_| {});
        assert!(verified.is_whole(), "{verified:?}");
        let commits = reader.commits(Start::Sequence(LogSequence::ZERO));
        assert_eq!(commits.map(Result::unwrap).count(), 300);
    }

    #[test]
    fn an_import_that_is_not_finished_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let mut import = JournalImport::begin(&data, &JournalOptions::default()).unwrap();
        import.push(&commit(1)).unwrap();
        assert!(import.push(&commit(3)).is_err());
        drop(import);
        assert!(!data.exists());
    }
}
