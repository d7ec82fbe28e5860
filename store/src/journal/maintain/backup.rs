//! Copying a log, beside the application that writes it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use uuid::Uuid;

use super::copy::{OnProgress, SegmentCopy};
use super::error::{MaintenanceError, io_failed};
use super::manifest::{MANIFEST, Manifest, ManifestFile, ManifestSegment};
use super::place::{KIND, create_folder};
use super::segment_writer::Fingerprint;
use crate::error::ReadError;
use crate::journal::disk::Storage;
use crate::journal::identity;
use crate::journal::lock::{self, DirectoryLock};
use crate::journal::marker::{self, LogEnd, Marker, MarkerFile};
use crate::journal::open::is_of_any_folder;
use crate::journal::read::FrameReader;
use crate::journal::reader::JournalReader;
use crate::journal::segment::{Segment, Segments, file_name, number_of};
use crate::log::Head;

/// What a file is called until everything is there.
const NEW: &str = ".new";

/// What a backup did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackupReport {
    /// The store's id.
    pub store_id: Uuid,
    /// The end of the log in the backup.
    pub head: Head,
    /// Its segments.
    pub segments: u64,
    /// Those that were copied: the others were there, and are what they must be.
    pub copied: u64,
    /// Bytes of the files that were copied.
    pub copied_bytes: u64,
    /// The last commit that the backup held before.
    pub since: Head,
}

impl JournalReader {
    /// Copies the log up to the durable end into a backup, which is begun if the directory is empty or not there
    /// yet. Segments that are there and are what they must be are not copied again. Every commit that is copied is
    /// checked. Needs no lock of the data directory, and never touches sled.
    ///
    /// A backup is a data directory with a manifest, so it can be read and verified as one. What is new is written
    /// beside what is there and then put in its place: until the end the backup is what it was.
    ///
    /// # Errors
    /// [`MaintenanceError`]: the backup is of another store, of another history or ahead of this log, or something
    /// is damaged.
    pub fn back_up(
        &self,
        backup: &Path,
        progress: OnProgress<'_>,
    ) -> Result<BackupReport, MaintenanceError> {
        let Some(marker) = self.marker.marker else {
            let reason = "the head marker is missing or cannot be read, so it is not known how far the log is durable";
            return Err(ReadError::Damaged {
                segment: self.folder.join(marker::FILE),
                offset: 0,
                position: self.end.position,
                sequence: self.end.sequence,
                reason: reason.to_owned(),
            }
            .into());
        };
        let (segments, broken) = self.chain();
        if let Some(broken) = broken {
            return Err(broken.into());
        }
        let taking = Taking {
            reader: self,
            storage: &self.storage,
            segments: &segments,
            known: marker.end,
            backup,
            folder: backup.join(KIND.folder()),
            progress,
        };
        taking.take()
    }
}

/// A backup that is being taken.
struct Taking<'a> {
    reader: &'a JournalReader,
    storage: &'a Arc<dyn Storage>,
    segments: &'a Segments,
    known: LogEnd,
    backup: &'a Path,
    folder: PathBuf,
    progress: OnProgress<'a>,
}

/// What is to be put in place.
#[derive(Debug, Default)]
struct Prepared {
    segments: Vec<ManifestSegment>,
    /// The files that wait under their new names, in the order in which they take their place.
    renames: Vec<PathBuf>,
    copied_bytes: u64,
}

impl Taking<'_> {
    fn take(&self) -> Result<BackupReport, MaintenanceError> {
        create_folder(self.storage.as_ref(), self.backup)?;
        // Before anything is made in it, and when nobody else makes anything.
        self.check_is_ours()?;
        let _lock = DirectoryLock::take(self.backup)?;
        self.check_is_ours()?;
        let before = self.begin()?;
        self.check_history(&before)?;
        self.remove_new()?;
        let prepared = self.prepare(&before).inspect_err(|_| {
            // What is left is removed by the next backup, too.
            drop(self.remove_new());
        })?;
        let report = BackupReport {
            store_id: self.reader.store_id,
            head: self.known.into(),
            segments: prepared.segments.len() as u64,
            copied: prepared.renames.len() as u64 - 1,
            copied_bytes: prepared.copied_bytes,
            since: LogEnd::from(before.end).into(),
        };
        self.put_in_place(prepared)?;
        Ok(report)
    }

    /// A directory that holds anything and is no backup is not written to.
    fn check_is_ours(&self) -> Result<(), MaintenanceError> {
        let storage = self.storage.as_ref();
        let names = storage
            .list(self.backup)
            .map_err(io_failed("listing", self.backup))?;
        let is_backup = names.iter().any(|name| name == MANIFEST);
        if is_backup
            || names
                .iter()
                .all(|name| name == lock::FILE || name.ends_with(NEW) || is_of_any_folder(name))
        {
            return Ok(());
        }
        let reason = format!("it is not empty and no backup: it has no {MANIFEST}");
        Err(MaintenanceError::refused(self.backup, reason))
    }

    /// The manifest of the backup as it is; of a new one that of nothing, so that it is known to be ours from now
    /// on.
    fn begin(&self) -> Result<Manifest, MaintenanceError> {
        let (storage, store_id) = (self.storage.as_ref(), self.reader.store_id);
        if let Some(found) = Manifest::read(storage, self.backup)? {
            if found.store == store_id {
                return Ok(found);
            }
            let reason = format!(
                "it is the backup of another store: of {}, and this one is {store_id}; use another directory",
                found.store
            );
            return Err(MaintenanceError::refused(self.backup, reason));
        }
        let begun = Manifest::begun(store_id);
        begun
            .write(storage, self.backup)
            .map_err(io_failed("writing the manifest of", self.backup))?;
        Ok(begun)
    }

    /// What the backup holds must be the beginning of this log.
    fn check_history(&self, before: &Manifest) -> Result<(), MaintenanceError> {
        let had: LogEnd = before.end.into();
        if had.sequence > self.known.sequence || had.offset > self.known.offset {
            let reason = format!(
                "it is ahead: it ends with commit {}, and the log with commit {}; use another directory",
                had.sequence, self.known.sequence
            );
            return Err(MaintenanceError::refused(self.backup, reason));
        }
        if had.offset == 0 {
            return Ok(());
        }
        let end = self.known.offset;
        let mut frames = FrameReader::new(self.storage.clone(), self.segments.clone(), end);
        let same = frames
            .frame_at(had.last_offset)?
            .is_ok_and(|commit| LogEnd::after(commit.frame()) == had);
        if same {
            return Ok(());
        }
        let reason = format!(
            "it holds another history: commit {} is not the one in the log (see with `chronicler verify` whether the log is damaged there); use another directory",
            had.sequence
        );
        Err(MaintenanceError::refused(self.backup, reason))
    }

    /// Copies what is not there, under new names. Nothing that the backup consists of is touched.
    fn prepare(&self, before: &Manifest) -> Result<Prepared, MaintenanceError> {
        create_folder(self.storage.as_ref(), &self.folder)?;
        let (mut prepared, mut end) = (Prepared::default(), LogEnd::default());
        for (at, segment) in self.segments.iter().enumerate() {
            let next = self.segments.get(at + 1);
            let path = self.folder.join(file_name(segment.header.number));
            let there = match next {
                Some(next) => self.is_there(before, next, &path)?,
                None => None,
            };
            if let Some(there) = there {
                end = there.end.into();
                prepared.segments.push(there);
                continue;
            }
            let copy = SegmentCopy {
                storage: self.storage,
                segment,
                until: next.map_or(self.known.offset, |next| next.header.base_offset),
                goes_on: next.is_some(),
                log_bytes: self.known.offset,
                progress: self.progress,
            };
            let written = copy.copy(&mut end, &new(&path))?;
            prepared.copied_bytes += written.bytes;
            let number = segment.header.number;
            let name = format!("{}/{}", KIND.folder(), file_name(number));
            prepared.segments.push(ManifestSegment {
                number,
                file: ManifestFile::new(name, written),
                sealed: next.is_some(),
                end: end.into(),
            });
            prepared.renames.push(path);
        }
        if end != self.known {
            let reason = format!(
                "it names commit {}, and the frames end with commit {}",
                self.known.sequence, end.sequence
            );
            let path = self.reader.folder.join(marker::FILE);
            return Err(MaintenanceError::damaged(&path, reason));
        }
        let head = self.folder.join(marker::FILE);
        let marker = Marker {
            store_id: self.reader.store_id,
            segment: self.segments.len() as u64,
            end,
            // Not closed: a backup that is cut short while it is put in place leaves frames behind the marker.
            clean: false,
        };
        MarkerFile::create_as(self.storage.as_ref(), &new(&head), &marker)
            .map_err(io_failed("writing", &head))?;
        prepared.renames.push(head);
        Ok(prepared)
    }

    /// The entry of a sealed segment that is there already, and is what it must be.
    fn is_there(
        &self,
        before: &Manifest,
        next: &Segment,
        path: &Path,
    ) -> Result<Option<ManifestSegment>, MaintenanceError> {
        let number = next.header.number - 1;
        let entry = before
            .segments
            .iter()
            .find(|segment| segment.number == number && segment.sealed);
        let Some(entry) = entry else {
            return Ok(None);
        };
        let mut end: LogEnd = entry.end.into();
        end.last_offset = 0;
        if end != next.header.end_before() {
            return Ok(None);
        }
        match Fingerprint::of(self.storage.as_ref(), path) {
            Ok(found) => Ok(entry.file.is(found).then(|| entry.clone())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(io_failed("reading", path)(error)),
        }
    }

    /// Gives the new files their names and writes the manifest. Cut short it leaves the earlier backup: a file that
    /// takes the place of another begins with everything that the other one held.
    fn put_in_place(&self, prepared: Prepared) -> Result<(), MaintenanceError> {
        let storage = self.storage.as_ref();
        for path in &prepared.renames {
            storage
                .rename(&new(path), path)
                .map_err(io_failed("renaming to", path))?;
        }
        storage
            .sync_folder(&self.folder)
            .map_err(io_failed("syncing", &self.folder))?;
        let found = identity::read(storage, KIND, self.backup);
        if !found.is_ok_and(|found| found == Some(self.reader.store_id)) {
            identity::create(storage, KIND, self.backup, self.reader.store_id)?;
        }
        let head = format!("{}/{}", KIND.folder(), marker::FILE);
        let mut files = Vec::new();
        for name in [identity::FILE.to_owned(), head] {
            let path = self.backup.join(&name);
            let found = Fingerprint::of(storage, &path).map_err(io_failed("reading", &path))?;
            files.push(ManifestFile::new(name, found));
        }
        let manifest = Manifest {
            complete: true,
            end: self.known.into(),
            segments: prepared.segments,
            files,
            ..Manifest::begun(self.reader.store_id)
        };
        manifest
            .write(storage, self.backup)
            .map_err(io_failed("writing the manifest of", self.backup))?;
        self.remove_later()
    }

    /// Removes segments behind the last one, which a recovery of the log made superfluous.
    fn remove_later(&self) -> Result<(), MaintenanceError> {
        let last = self.segments.len() as u64;
        let is_later = |name: &str| number_of(name).is_some_and(|number| number > last);
        self.remove(&is_later)
    }

    fn remove_new(&self) -> Result<(), MaintenanceError> {
        if !self.folder.exists() {
            return Ok(());
        }
        self.remove(&|name| name.ends_with(NEW))
    }

    fn remove(&self, is_wanted: &dyn Fn(&str) -> bool) -> Result<(), MaintenanceError> {
        let storage = self.storage.as_ref();
        let names = storage
            .list(&self.folder)
            .map_err(io_failed("listing", &self.folder))?;
        for name in names.iter().filter(|name| is_wanted(name)) {
            let path = self.folder.join(name);
            storage
                .remove(&path)
                .map_err(io_failed("removing", &path))?;
        }
        Ok(())
    }
}

fn new(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(NEW);
    name.into()
}
