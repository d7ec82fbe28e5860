//! A disk whose reads can be counted and held back, over any other.

use std::io;
use std::path::Path;
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

use super::storage::{Created, OpenMode, Storage, StorageFile};
use crate::threads;

/// A disk whose reads can be counted and held back. Clones are the same disk.
#[derive(Clone, Debug)]
pub(crate) struct WatchedDisk {
    disk: Arc<dyn Storage>,
    watch: Arc<Watch>,
}

#[derive(Debug, Default)]
struct Watch {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Reads that are still let through; `None` lets all.
    granted: Option<u64>,
    /// How many reads wait to be let through.
    held: u64,
    reads: u64,
    reads_elsewhere: u64,
    open: u64,
    open_fails: bool,
}

impl WatchedDisk {
    pub(crate) fn over(disk: Arc<dyn Storage>) -> Self {
        let watch = Arc::default();
        Self { disk, watch }
    }

    /// Only so many more reads come back; `None` ends that.
    pub(crate) fn grant(&self, reads: Option<u64>) {
        self.watch.state.lock().granted = reads;
        self.watch.changed.notify_all();
    }

    /// Whether files cannot be opened to be read, as without descriptors.
    pub(crate) fn fail_open(&self, fails: bool) {
        self.watch.state.lock().open_fails = fails;
    }

    /// Waits until so many reads are held back.
    pub(crate) fn wait_for_held(&self, held: u64) {
        let mut state = self.watch.state.lock();
        while state.held < held {
            self.watch.changed.wait(&mut state);
        }
    }

    /// Waits until no more than so many files are open.
    pub(crate) fn wait_for_open(&self, open: u64) {
        let mut state = self.watch.state.lock();
        while state.open > open {
            self.watch.changed.wait(&mut state);
        }
    }

    /// Reads that came back so far.
    pub(crate) fn reads(&self) -> u64 {
        self.watch.state.lock().reads
    }

    /// Those of them that were made on a thread which is none of a store's.
    pub(crate) fn reads_elsewhere(&self) -> u64 {
        self.watch.state.lock().reads_elsewhere
    }

    /// Files that are open.
    pub(crate) fn open_files(&self) -> u64 {
        self.watch.state.lock().open
    }
}

impl Storage for WatchedDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn StorageFile>> {
        if self.watch.state.lock().open_fails && mode == OpenMode::Read {
            return Err(io::Error::other("too many open files"));
        }
        let file = self.disk.open(path, mode)?;
        self.watch.state.lock().open += 1;
        let watch = Arc::clone(&self.watch);
        Ok(Arc::new(WatchedFile { file, watch }))
    }

    fn create_folder(&self, path: &Path) -> io::Result<Created> {
        self.disk.create_folder(path)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        self.disk.list(folder)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.remove(path)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.disk.sync_folder(folder)
    }

    fn close(&self) {
        self.disk.close();
    }
}

#[derive(Debug)]
struct WatchedFile {
    file: Arc<dyn StorageFile>,
    watch: Arc<Watch>,
}

impl Drop for WatchedFile {
    fn drop(&mut self) {
        self.watch.state.lock().open -= 1;
        self.watch.changed.notify_all();
    }
}

impl StorageFile for WatchedFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = self.watch.state.lock();
        while state.granted == Some(0) {
            state.held += 1;
            self.watch.changed.notify_all();
            self.watch.changed.wait(&mut state);
            state.held -= 1;
        }
        state.granted = state.granted.map(|granted| granted - 1);
        state.reads += 1;
        state.reads_elsewhere += u64::from(!threads::is_own());
        drop(state);
        self.file.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_at(bytes, offset)
    }

    fn preallocate(&self, bytes: u64) -> io::Result<()> {
        self.file.preallocate(bytes)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        self.file.truncate(bytes)
    }

    fn is_whole_at(&self, path: &Path, bytes: u64) -> io::Result<bool> {
        self.file.is_whole_at(path, bytes)
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
}
