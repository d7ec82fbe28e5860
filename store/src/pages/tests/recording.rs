//! A storage that knows what was synced, and what a disk can hold when the power goes during a sync.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::journal::{Created, OpenMode, Storage, StorageFile};
use crate::pages::storage::PageStorage;

const SECTOR: usize = 512;
/// The files that sled's `fdatasync` of ours makes durable, and the one that has a sync of its own.
const DATABASE: &str = "db";
const MARKER: &str = "head";

/// A generator that a seed determines: splitmix64.
#[derive(Debug)]
pub(super) struct Random(pub u64);

impl Random {
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % limit
    }
}

/// The numbers of the commits that were acknowledged.
pub(super) type Acknowledged = Arc<Mutex<Vec<u128>>>;

/// What the disk can hold after the power went, and what had been acknowledged by then.
#[derive(Debug)]
pub(super) struct PowerCut {
    pub(super) data: tempfile::TempDir,
    pub(super) acknowledged: Vec<u128>,
}

/// A storage that passes everything on, and lets the power go at one of its syncs.
#[derive(Clone, Debug)]
pub(super) struct Recording {
    inner: PageStorage,
    shared: Arc<Mutex<Recorded>>,
}

#[derive(Debug)]
struct Recorded {
    data: PathBuf,
    folder: PathBuf,
    /// What the files of the log's folder held when they were last synced.
    durable: BTreeMap<String, Vec<u8>>,
    acknowledged: Acknowledged,
    /// How many syncs there are before the one at which the power goes.
    syncs_left: u64,
    random: Random,
    cut: Option<PowerCut>,
}

impl Recording {
    pub(super) fn new(
        inner: PageStorage,
        data: &Path,
        folder: &Path,
        acknowledged: Acknowledged,
        syncs_left: u64,
        seed: u64,
    ) -> Self {
        let shared = Recorded {
            data: data.to_owned(),
            folder: folder.to_owned(),
            durable: contents(folder),
            acknowledged,
            syncs_left,
            random: Random(seed),
            cut: None,
        };
        Self {
            inner,
            shared: Arc::new(Mutex::new(shared)),
        }
    }

    /// What the power cut left, if there were so many syncs.
    pub(super) fn take_cut(&self) -> Option<PowerCut> {
        self.shared.lock().cut.take()
    }

    /// Runs a sync of one file. When it is done, nothing of what it syncs can be lost any more; until then
    /// any part of it can.
    fn sync(&self, file: &str, sync: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let mut recorded = self.shared.lock();
        let acknowledged = recorded.acknowledged.lock().clone();
        sync()?;
        if recorded.syncs_left == 0 && recorded.cut.is_none() {
            let data = recorded.cut_power();
            recorded.cut = Some(PowerCut { data, acknowledged });
        }
        recorded.syncs_left = recorded.syncs_left.saturating_sub(1);
        if let Ok(bytes) = std::fs::read(recorded.folder.join(file)) {
            recorded.durable.insert(file.to_owned(), bytes);
        }
        Ok(())
    }
}

impl Recorded {
    fn cut_power(&mut self) -> tempfile::TempDir {
        let cut = tempfile::tempdir().unwrap();
        let folder = cut.path().join(self.folder.file_name().unwrap());
        std::fs::create_dir(&folder).unwrap();
        // The index, snapshots and views are built again; what a power cut makes of them is tried elsewhere.
        if let Ok(format) = std::fs::read(self.data.join("format")) {
            std::fs::write(cut.path().join("format"), format).unwrap();
        }
        // In the worst case all un-synced sectors stay, or none; most often some.
        let kept_of_four = self.random.below(5);
        for (name, now) in contents(&self.folder) {
            let left = if name == DATABASE || name == MARKER {
                let before = self.durable.get(&name).cloned().unwrap_or_default();
                torn(&before, &now, kept_of_four, &mut self.random)
            } else if name.starts_with("snap.") && self.random.below(2) == 0 {
                // sled syncs them itself, and not their names.
                continue;
            } else {
                now
            };
            std::fs::write(folder.join(name), left).unwrap();
        }
        cut
    }
}

/// Some of the sectors that changed, and a length between both.
fn torn(before: &[u8], now: &[u8], kept_of_four: u64, random: &mut Random) -> Vec<u8> {
    let mut left = before.to_vec();
    left.resize(before.len().max(now.len()), 0);
    let sectors = left.chunks_mut(SECTOR).zip(now.chunks(SECTOR));
    for (left, now) in sectors {
        if left != now && random.below(4) < kept_of_four {
            left[..now.len()].copy_from_slice(now);
        }
    }
    if now.len() > before.len() && random.below(3) == 0 {
        let grown = (now.len() - before.len()) as u64;
        left.truncate(before.len() + random.below(grown + 1) as usize);
    }
    left
}

fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return BTreeMap::new();
    };
    let files = entries
        .map(Result::unwrap)
        .filter(|entry| entry.path().is_file());
    files
        .filter_map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            Some((name, std::fs::read(entry.path()).ok()?))
        })
        .collect()
}

#[derive(Debug)]
struct RecordingFile {
    inner: Arc<dyn StorageFile>,
    recording: Recording,
    /// The file whose sync this is.
    synced: String,
}

impl Storage for Recording {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn StorageFile>> {
        let name = path.file_name().unwrap().to_str().unwrap();
        let is_paged = name.ends_with(".seg") || name.ends_with(".new");
        let synced = if is_paged && !name.starts_with("format") {
            DATABASE
        } else {
            name
        };
        Ok(Arc::new(RecordingFile {
            inner: self.inner.open(path, mode)?,
            recording: self.clone(),
            synced: synced.to_owned(),
        }))
    }

    fn create_folder(&self, path: &Path) -> io::Result<Created> {
        self.inner.create_folder(path)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        self.inner.list(folder)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.inner.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.inner.remove(path)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.sync(DATABASE, || self.inner.sync_folder(folder))
    }

    fn close(&self) {
        self.inner.close();
    }
}

impl StorageFile for RecordingFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.inner.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.inner.write_at(bytes, offset)
    }

    fn preallocate(&self, bytes: u64) -> io::Result<()> {
        self.inner.preallocate(bytes)
    }

    fn sync_data(&self) -> io::Result<()> {
        let sync = || self.inner.sync_data();
        self.recording.sync(&self.synced, sync)
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        self.inner.truncate(bytes)
    }

    fn is_whole_at(&self, path: &Path, bytes: u64) -> io::Result<bool> {
        self.inner.is_whole_at(path, bytes)
    }

    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }
}
