//! A disk that holds back what would make the log durable, until a test lets it go on or fail.

use std::io;
use std::path::Path;
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

use crate::journal::disk::{Created, OpenMode, Storage, StorageFile};

/// What is held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Held {
    Writes,
    Syncs,
}

/// A disk over another one, with a gate before what segments are written or synced with. Clones are the same disk.
#[derive(Clone, Debug)]
pub(crate) struct HeldDisk {
    disk: Arc<dyn Storage>,
    gate: Arc<Gate>,
    held: Held,
}

#[derive(Debug, Default)]
struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    is_closed: bool,
    /// Whether whatever comes to the gate fails.
    fails: bool,
    waiting: usize,
}

impl HeldDisk {
    pub(crate) fn new(disk: Arc<dyn Storage>, held: Held) -> Self {
        Self {
            disk,
            gate: Arc::default(),
            held,
        }
    }

    /// From now on nothing passes, until it is let go or the test ends: one that fails would else wait for its own store
    /// to close.
    #[must_use]
    pub(crate) fn hold(&self) -> Holding<'_> {
        self.gate.state.lock().is_closed = true;
        Holding(self)
    }

    /// Waits until something is held back.
    pub(crate) fn wait_until_held(&self) {
        let mut state = self.gate.state.lock();
        while state.waiting == 0 {
            self.gate.changed.wait(&mut state);
        }
    }

    /// What is held back goes on, or fails.
    pub(crate) fn let_go(&self, fails: bool) {
        let mut state = self.gate.state.lock();
        (state.is_closed, state.fails) = (false, fails);
        self.gate.changed.notify_all();
    }
}

/// A disk that is held back.
pub(crate) struct Holding<'a>(&'a HeldDisk);

impl Drop for Holding<'_> {
    fn drop(&mut self) {
        let mut state = self.0.gate.state.lock();
        state.is_closed = false;
        self.0.gate.changed.notify_all();
    }
}

impl Gate {
    fn pass(&self) -> io::Result<()> {
        let mut state = self.state.lock();
        state.waiting += 1;
        self.changed.notify_all();
        while state.is_closed {
            self.changed.wait(&mut state);
        }
        state.waiting -= 1;
        if state.fails {
            return Err(io::Error::other("on purpose"));
        }
        Ok(())
    }
}

impl Storage for HeldDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn StorageFile>> {
        let file = self.disk.open(path, mode)?;
        if path.extension().is_none_or(|extension| extension != "seg") {
            return Ok(file);
        }
        let (gate, held) = (self.gate.clone(), self.held);
        Ok(Arc::new(HeldFile { file, gate, held }))
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
struct HeldFile {
    file: Arc<dyn StorageFile>,
    gate: Arc<Gate>,
    held: Held,
}

impl StorageFile for HeldFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if self.held == Held::Writes {
            self.gate.pass()?;
        }
        self.file.write_at(bytes, offset)
    }

    fn preallocate(&self, bytes: u64) -> io::Result<()> {
        self.file.preallocate(bytes)
    }

    fn sync_data(&self) -> io::Result<()> {
        if self.held == Held::Syncs {
            self.gate.pass()?;
        }
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
