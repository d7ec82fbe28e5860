//! A disk in memory that keeps what was synced apart from what was only written.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::contents::Contents;
use super::fault::{Fault, FaultKind};
use super::file::SimulatedFile;
use super::names::Names;
use super::random::Random;
use crate::journal::disk::{Created, OpenMode, Storage, StorageFile};

/// A disk in memory. Clones are the same disk.
#[derive(Clone, Debug)]
pub(crate) struct SimulatedDisk(Arc<Mutex<State>>);

#[derive(Clone, Debug)]
pub(super) struct State {
    pub files: Vec<Contents>,
    pub folders: BTreeMap<PathBuf, Names>,
    /// Those whose own names are not durable.
    unsynced_folders: BTreeSet<PathBuf>,
    pub random: Random,
    /// Operations that change something, and syncs, counted from 1.
    operations: u64,
    /// From this operation on nothing happens any more.
    power_until: u64,
    fault: Option<Fault>,
    /// What was done, for the words of a failure.
    log: Vec<String>,
}

/// The kinds of operations that count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Create,
    CreateFolder,
    Write,
    Reserve,
    Length,
    Sync,
    SyncFolder,
    Rename,
    Remove,
}

/// How many operations are remembered for the words of a failure.
const LOG_MAX: usize = 24;

impl SimulatedDisk {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State {
            files: Vec::new(),
            folders: BTreeMap::new(),
            unsynced_folders: BTreeSet::new(),
            random: Random::new(seed),
            operations: 0,
            power_until: u64::MAX,
            fault: None,
            log: Vec::new(),
        })))
    }

    /// How many operations that count there were.
    pub(crate) fn operations(&self) -> u64 {
        self.0.lock().operations
    }

    /// The next `operations` still happen, and then none.
    pub(crate) fn power_off_after(&self, operations: u64) {
        let mut state = self.0.lock();
        state.power_until = state.operations.saturating_add(operations);
    }

    /// Whether the power has gone.
    pub(crate) fn is_off(&self) -> bool {
        let state = self.0.lock();
        state.operations >= state.power_until
    }

    /// Lets operations fail.
    pub(crate) fn set_fault(&self, fault: Option<Fault>) {
        self.0.lock().fault = fault;
    }

    /// The disk as it would be if the power went now, with power. This one stays as it is.
    pub(crate) fn cut(&self, seed: u64) -> Self {
        let state = self.0.lock();
        let mut random = Random::new(seed);
        let files = state.files.iter().map(|file| file.cut(&mut random));
        let files = files.collect();
        let unsynced = state.unsynced_folders.iter();
        let gone: Vec<_> = unsynced.filter(|_| random.one_in(2)).collect();
        // Whatever lies in a folder goes with its name.
        let stays = |path: &PathBuf| !gone.iter().any(|gone| path.starts_with(gone));
        let folders = state.folders.iter().filter(|(path, _)| stays(path));
        let folders = folders.map(|(path, names)| (path.clone(), names.cut(&mut random)));
        let folders = folders.collect();
        Self(Arc::new(Mutex::new(State {
            folders,
            unsynced_folders: BTreeSet::new(),
            files,
            random,
            operations: 0,
            power_until: u64::MAX,
            fault: None,
            log: Vec::new(),
        })))
    }

    /// Another disk with the same bytes, synced and not, as if the process had been killed.
    pub(crate) fn copy(&self) -> Self {
        let mut state = self.0.lock().clone();
        state.power_until = u64::MAX;
        state.fault = None;
        Self(Arc::new(Mutex::new(state)))
    }

    /// The last operations, for the words of a failure.
    pub(crate) fn last_operations(&self) -> String {
        self.0.lock().log.join("\n")
    }

    /// What lies under each name, with its length.
    pub(crate) fn listing(&self) -> String {
        let state = self.0.lock();
        let mut lines = Vec::new();
        for (path, names) in &state.folders {
            for (name, file) in &names.now {
                let length = state.files[*file].now.len();
                lines.push(format!("{}/{name}: {length}", path.display()));
            }
        }
        lines.join("\n")
    }

    pub(super) fn read<T>(&self, read: impl FnOnce(&State) -> io::Result<T>) -> io::Result<T> {
        read(&self.0.lock())
    }

    pub(super) fn change<T>(
        &self,
        operation: Operation,
        change: impl FnOnce(&mut State, Option<Hit>) -> T,
    ) -> io::Result<T> {
        let mut state = self.0.lock();
        if state.operations >= state.power_until {
            return Err(io::Error::other("the power is off"));
        }
        state.operations += 1;
        let number = state.operations;
        let hit = state
            .fault
            .filter(|fault| fault.hits(number))
            .and_then(|fault| Hit::of(fault.kind, operation));
        if state.log.len() == LOG_MAX {
            state.log.remove(0);
        }
        state.log.push(format!("{number} {operation:?} {hit:?}"));
        let done = change(&mut state, hit);
        match hit {
            Some(hit) => Err(hit.error()),
            None => Ok(done),
        }
    }
}

/// An operation that a fault hits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hit(FaultKind);

impl Hit {
    fn of(kind: FaultKind, operation: Operation) -> Option<Self> {
        let takes_room = matches!(
            operation,
            Operation::Create | Operation::CreateFolder | Operation::Write | Operation::Reserve
        );
        (kind != FaultKind::NoRoom || takes_room).then_some(Self(kind))
    }

    pub(super) fn bytes_done(&self, wanted: usize) -> usize {
        match self.0 {
            FaultKind::Half => wanted / 2,
            FaultKind::Io | FaultKind::NoRoom => 0,
        }
    }

    fn error(&self) -> io::Error {
        match self.0 {
            FaultKind::NoRoom => io::ErrorKind::StorageFull.into(),
            FaultKind::Io | FaultKind::Half => io::Error::from_raw_os_error(5),
        }
    }
}

impl Storage for SimulatedDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn StorageFile>> {
        let (folder, name) = split(path);
        let found = self.read(|state| {
            let names = state.folders.get(&folder).ok_or(io::ErrorKind::NotFound)?;
            Ok(names.now.get(&name).copied())
        })?;
        let file = match (mode, found) {
            (OpenMode::Create, Some(file)) => self.change(Operation::Create, |state, fails| {
                if fails.is_none() {
                    state.files[file].set_length(0);
                }
                file
            })?,
            (OpenMode::Create, None) => self.change(Operation::Create, |state, fails| {
                let file = state.files.len();
                if fails.is_none() {
                    state.files.push(Contents::default());
                    let names = state.folders.entry(folder.clone()).or_default();
                    names.create(&name, file);
                }
                file
            })?,
            (OpenMode::Read | OpenMode::Write, found) => found.ok_or(io::ErrorKind::NotFound)?,
        };
        Ok(Arc::new(SimulatedFile {
            disk: self.clone(),
            file,
        }))
    }

    fn create_folder(&self, path: &Path) -> io::Result<Created> {
        let is_there = self.read(|state| {
            let lies_in = path.parent().filter(|parent| parent.parent().is_some());
            if lies_in.is_some_and(|parent| !state.folders.contains_key(parent)) {
                return Err(io::ErrorKind::NotFound.into());
            }
            Ok(path.parent().is_none() || state.folders.contains_key(path))
        })?;
        if is_there {
            return Ok(Created::Existing);
        }
        self.change(Operation::CreateFolder, |state, fails| {
            if fails.is_none() {
                state.folders.insert(path.to_owned(), Names::default());
                state.unsynced_folders.insert(path.to_owned());
            }
        })?;
        Ok(Created::New)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        self.read(|state| {
            let names = state.folders.get(folder).ok_or(io::ErrorKind::NotFound)?;
            Ok(names.now.keys().cloned().collect())
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let ((folder, from), (to_folder, to)) = (split(from), split(to));
        assert_eq!(folder, to_folder, "renamed within a folder");
        let file = self.read(|state| {
            let names = state.folders.get(&folder).ok_or(io::ErrorKind::NotFound)?;
            Ok(*names.now.get(&from).ok_or(io::ErrorKind::NotFound)?)
        })?;
        self.change(Operation::Rename, |state, fails| {
            if let Some(names) = state.folders.get_mut(&folder).filter(|_| fails.is_none()) {
                names.rename(&from, &to, file);
            }
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let (folder, name) = split(path);
        self.read(|state| {
            let names = state.folders.get(&folder).ok_or(io::ErrorKind::NotFound)?;
            Ok(*names.now.get(&name).ok_or(io::ErrorKind::NotFound)?)
        })?;
        self.change(Operation::Remove, |state, fails| {
            if let Some(names) = state.folders.get_mut(&folder).filter(|_| fails.is_none()) {
                names.remove(&name);
            }
        })
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.change(Operation::SyncFolder, |state, fails| {
            let State {
                folders,
                unsynced_folders,
                random,
                ..
            } = state;
            if fails.is_none() {
                unsynced_folders.retain(|path| path.parent() != Some(folder));
            }
            if let Some(names) = folders.get_mut(folder) {
                match fails {
                    Some(_) => names.sync_failed(random),
                    None => names.sync(),
                }
            }
        })
    }

    fn close(&self) {}
}

pub(super) fn split(path: &Path) -> (PathBuf, String) {
    let folder = path.parent().map(Path::to_owned).unwrap_or_default();
    let name = path.file_name().map(|name| name.to_string_lossy());
    (folder, name.unwrap_or_default().into_owned())
}
