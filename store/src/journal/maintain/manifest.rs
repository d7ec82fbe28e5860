//! What a backup consists of, and what each of its files must hold.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use chronicler_domain::{GlobalPosition, LogSequence, Timestamp};

use super::error::{MaintenanceError, io_failed};
use super::segment_writer::Fingerprint;
use crate::journal::disk::{OpenMode, Storage};
use crate::journal::identity::FORMAT;
use crate::journal::marker::LogEnd;

/// The manifest's name in the folder of a backup.
pub(crate) const MANIFEST: &str = "manifest.json";
const MANIFEST_NEW: &str = "manifest.json.new";
/// The newest kind of manifest that this release reads and writes.
const VERSION: u32 = 1;

/// What a backup consists of. Written last, so that what it names is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Manifest {
    pub chronicler_backup: u32,
    /// The format of the data directory.
    pub format: u32,
    pub store: Uuid,
    /// False until the first backup has come to its end.
    pub complete: bool,
    pub end: ManifestEnd,
    pub segments: Vec<ManifestSegment>,
    /// The files that are no segments.
    pub files: Vec<ManifestFile>,
}

/// The end of the log that was copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ManifestEnd {
    pub commit: u64,
    pub position: u64,
    pub time_micros: u64,
    last_offset: u64,
    pub offset: u64,
    checksum: u32,
}

/// A file, and what it must hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ManifestFile {
    pub file: String,
    pub bytes: u64,
    /// 8 hexadecimal digits.
    pub crc32c: String,
}

/// A segment of the backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ManifestSegment {
    pub number: u64,
    #[serde(flatten)]
    pub file: ManifestFile,
    /// Whether the log goes on in another segment, so that this one will never change.
    pub sealed: bool,
    pub end: ManifestEnd,
}

/// The whole file: the manifest as text, and the checksum of that text.
#[derive(Serialize, Deserialize)]
struct Envelope {
    backup: Box<RawValue>,
    crc32c: String,
}

impl Manifest {
    /// Of a backup that is about to be taken.
    pub(super) fn begun(store: Uuid) -> Self {
        Self {
            chronicler_backup: VERSION,
            format: FORMAT,
            store,
            complete: false,
            end: ManifestEnd::default(),
            segments: Vec::new(),
            files: Vec::new(),
        }
    }

    /// Reads the manifest of a backup; `None` if there is none.
    ///
    /// # Errors
    /// When it is damaged, or of a newer release.
    pub(super) fn read(
        storage: &dyn Storage,
        backup: &Path,
    ) -> Result<Option<Self>, MaintenanceError> {
        let path = backup.join(MANIFEST);
        let read = || -> io::Result<Vec<u8>> {
            let file = storage.open(&path, OpenMode::Read)?;
            let mut bytes = vec![0; usize::try_from(file.len()?).unwrap_or(0)];
            let read = file.read_at(&mut bytes, 0)?;
            bytes.truncate(read);
            Ok(bytes)
        };
        let bytes = match read() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(io_failed("reading", &path))?,
        };
        Self::parse(&bytes).map(Some).map_err(|reason| {
            let what_to_do = "use another backup; a new one goes into an empty folder";
            MaintenanceError::damaged(&path, format!("{reason}: {what_to_do}"))
        })
    }

    /// Writes it beside the one that is there, and puts it in its place.
    pub(super) fn write(&self, storage: &dyn Storage, backup: &Path) -> io::Result<()> {
        let (path, new) = (backup.join(MANIFEST), backup.join(MANIFEST_NEW));
        let text = serde_json::to_string_pretty(self)?;
        let whole = serde_json::to_string(&Envelope {
            crc32c: hex(crc32c::crc32c(text.as_bytes())),
            backup: RawValue::from_string(text)?,
        })?;
        let file = storage.open(&new, OpenMode::Create)?;
        file.write_at(format!("{whole}\n").as_bytes(), 0)?;
        file.sync_data()?;
        storage.rename(&new, &path)?;
        storage.sync_folder(backup)
    }

    fn parse(bytes: &[u8]) -> Result<Self, String> {
        let wrong = |error: serde_json::Error| format!("it is not a manifest ({error})");
        let envelope: Envelope = serde_json::from_slice(bytes).map_err(wrong)?;
        let text = envelope.backup.get();
        if hex(crc32c::crc32c(text.as_bytes())) != envelope.crc32c {
            return Err("its checksum is wrong".to_owned());
        }
        let manifest: Self = serde_json::from_str(text).map_err(wrong)?;
        if manifest.chronicler_backup > VERSION || manifest.format > FORMAT {
            return Err("a newer release wrote it".to_owned());
        }
        Ok(manifest)
    }
}

impl ManifestFile {
    pub(super) fn new(file: String, found: Fingerprint) -> Self {
        Self {
            file,
            bytes: found.bytes,
            crc32c: hex(found.checksum),
        }
    }

    /// Whether the file is what it must be.
    pub(super) fn is(&self, found: Fingerprint) -> bool {
        self.bytes == found.bytes && self.crc32c == hex(found.checksum)
    }
}

impl From<LogEnd> for ManifestEnd {
    fn from(end: LogEnd) -> Self {
        Self {
            commit: end.sequence.get(),
            position: end.position.get(),
            time_micros: end.timestamp.as_micros(),
            last_offset: end.last_offset,
            offset: end.offset,
            checksum: end.checksum,
        }
    }
}

impl From<ManifestEnd> for LogEnd {
    fn from(end: ManifestEnd) -> Self {
        Self {
            sequence: LogSequence::new(end.commit),
            position: GlobalPosition::new(end.position),
            timestamp: Timestamp::from_micros(end.time_micros),
            last_offset: end.last_offset,
            checksum: end.checksum,
            offset: end.offset,
        }
    }
}

fn hex(checksum: u32) -> String {
    format!("{checksum:08x}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::disk::RealStorage;

    #[test]
    fn it_reads_back_and_every_flipped_bit_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let manifest = Manifest::begun(Uuid::from_u128(7));
        manifest.write(&RealStorage, folder.path()).unwrap();
        let read = Manifest::read(&RealStorage, folder.path()).unwrap();
        assert_eq!(read, Some(manifest));
        let whole = std::fs::read(folder.path().join(MANIFEST)).unwrap();
        for at in 0..whole.len() - 1 {
            assert!(Manifest::parse(&whole[..at]).is_err(), "cut at {at}");
            for bit in 0..8 {
                let mut flipped = whole.clone();
                flipped[at] ^= 1 << bit;
                assert!(Manifest::parse(&flipped).is_err(), "bit {bit} of byte {at}");
            }
        }
    }
}
