//! The `format` file: which kind of store a data directory has, in which format, and which store it is.

use std::io;
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::disk::{OpenMode, Storage};
use crate::error::OpenError;

/// The newest format of a data directory that this release reads and writes.
pub(crate) const FORMAT: u32 = 1;
/// Its name in the data directory.
pub(crate) const FILE: &str = "format";
/// Far more than the four lines need; a longer file is not ours.
const FILE_BYTES_MAX: usize = 4_096;

/// Where the log of a data directory lies: the two never share one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StoreKind {
    /// In segment files.
    Journal,
    /// In pages of a sled database.
    Pages,
}

impl StoreKind {
    pub(crate) const ALL: [Self; 2] = [Self::Journal, Self::Pages];

    /// The log's folder in the data directory. Not within `sled`: that folder may be deleted at any time.
    pub(crate) fn folder(self) -> &'static str {
        match self {
            Self::Journal => "journal",
            Self::Pages => "log",
        }
    }

    /// What the `format` file begins with, in every format there will be.
    fn first_line(self) -> &'static str {
        match self {
            Self::Journal => "chronicler data directory",
            Self::Pages => "chronicler data directory in sled",
        }
    }

    /// The type that opens such a directory.
    pub(crate) fn store(self) -> &'static str {
        match self {
            Self::Journal => "JournalStore",
            Self::Pages => "SledStore",
        }
    }
}

/// Reads the file; `None` if there is none.
///
/// # Errors
/// [`OpenError::AnotherKind`] when it is a directory of another kind of store.
pub(crate) fn read(
    storage: &dyn Storage,
    kind: StoreKind,
    data: &Path,
) -> Result<Option<Uuid>, OpenError> {
    let path = data.join(FILE);
    let file = match storage.open(&path, OpenMode::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("opening", &path, error)),
    };
    let mut bytes = vec![0; FILE_BYTES_MAX];
    let length = file
        .read_at(&mut bytes, 0)
        .map_err(|error| failed("reading", &path, error))?;
    bytes.truncate(length);
    parse(kind, data, &bytes).map(Some)
}

/// Writes the file for a new store, whole or not at all.
pub(crate) fn create(
    storage: &dyn Storage,
    kind: StoreKind,
    data: &Path,
    store_id: Uuid,
) -> Result<(), OpenError> {
    let (path, new) = (data.join(FILE), data.join("format.new"));
    let write = || -> io::Result<()> {
        let file = storage.open(&new, OpenMode::Create)?;
        file.write_at(text(kind, FORMAT, store_id).as_bytes(), 0)?;
        file.sync_data()?;
        storage.rename(&new, &path)?;
        storage.sync_folder(data)
    };
    write().map_err(|error| failed("writing", &path, error))
}

/// A new store's id.
#[expect(
    clippy::disallowed_methods,
    reason = "the one id that no command carries: it only has to differ from those of all other stores"
)]
pub(crate) fn new_store_id() -> Uuid {
    Uuid::now_v7()
}

/// Three lines and a checksum over them: `format` stands in the second line in every format there will be.
fn text(kind: StoreKind, format: u32, store_id: Uuid) -> String {
    let first_line = kind.first_line();
    let lines = format!("{first_line}\nformat {format}\nstore {store_id}\n");
    let checksum = crc32c::crc32c(lines.as_bytes());
    format!("{lines}checksum {checksum:08x}\n")
}

fn parse(kind: StoreKind, data: &Path, bytes: &[u8]) -> Result<Uuid, OpenError> {
    let wrong = |reason: &str| OpenError::NotADirectory {
        path: data.to_path_buf(),
        reason: format!("its `{FILE}` file {reason}"),
    };
    let content = std::str::from_utf8(bytes).map_err(|_| wrong("is not text"))?;
    let mut lines = content.lines();
    let first_line = lines.next();
    let found = StoreKind::ALL
        .into_iter()
        .find(|kind| first_line == Some(kind.first_line()))
        .ok_or_else(|| wrong("does not begin as one"))?;
    let value = |line: Option<&str>, name: &str| -> Option<String> {
        Some(line?.strip_prefix(name)?.strip_prefix(' ')?.to_owned())
    };
    let (format, store) = (lines.next(), lines.next());
    let format: u32 = value(format, "format")
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| wrong("names no format"))?;
    let end = content.rfind("checksum ").unwrap_or(0);
    let (covered, checksum) = content.split_at(end);
    let stored = value(checksum.lines().next(), "checksum");
    let computed = format!("{:08x}", crc32c::crc32c(covered.as_bytes()));
    if stored.as_deref() != Some(computed.as_str()) {
        return Err(wrong("is damaged: its checksum is wrong"));
    }
    if found != kind {
        return Err(OpenError::AnotherKind {
            path: data.to_path_buf(),
            found: found.store(),
            wanted: kind.store(),
        });
    }
    if format > FORMAT {
        return Err(OpenError::NewerFormat {
            path: data.to_path_buf(),
            found: format,
            known: FORMAT,
        });
    }
    value(store, "store")
        .and_then(|text| Uuid::parse_str(&text).ok())
        .ok_or_else(|| wrong("names no store"))
}

fn failed(doing: &str, path: &Path, source: io::Error) -> OpenError {
    OpenError::Io {
        operation: format!("{doing} {}", PathBuf::from(path).display()),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_reads_back_and_every_flipped_bit_is_noticed() {
        let (kind, data, id) = (StoreKind::Journal, Path::new("data"), Uuid::from_u128(7));
        let whole = text(kind, FORMAT, id);
        assert_eq!(
            whole,
            "chronicler data directory\nformat 1\nstore 00000000-0000-0000-0000-000000000007\nchecksum b8d4c63c\n"
        );
        assert_eq!(parse(kind, data, whole.as_bytes()).unwrap(), id);
        for at in 0..whole.len() - 1 {
            assert!(
                parse(kind, data, &whole.as_bytes()[..at]).is_err(),
                "cut at {at}"
            );
            for bit in 0..8 {
                let mut flipped = whole.clone().into_bytes();
                flipped[at] ^= 1 << bit;
                let read = parse(kind, data, &flipped);
                assert!(read.is_err(), "bit {bit} of byte {at}");
            }
        }
    }

    #[test]
    fn k8_a_newer_format_is_refused_by_name() {
        let kind = StoreKind::Journal;
        let newer = text(kind, 2, Uuid::nil());
        let error = parse(kind, Path::new("data"), newer.as_bytes()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "data has format 2, and this release reads up to format 1: use the release that wrote it, or a newer one"
        );
    }

    #[test]
    fn each_kind_refuses_the_other_by_name() {
        let data = Path::new("data");
        for (kind, other) in [
            (StoreKind::Journal, StoreKind::Pages),
            (StoreKind::Pages, StoreKind::Journal),
        ] {
            let whole = text(kind, FORMAT, Uuid::from_u128(7));
            assert!(parse(kind, data, whole.as_bytes()).is_ok());
            let error = parse(other, data, whole.as_bytes()).unwrap_err();
            let (has, wants) = (kind.store(), other.store());
            assert_eq!(
                error.to_string(),
                format!(
                    "data is a directory of {has}, and {wants} was to open it: open it with {has}"
                )
            );
        }
    }
}
