//! An open file of a simulated disk.

use std::io;
use std::path::Path;

use super::disk::{Operation, SimulatedDisk, split};
use super::names::FileNumber;
use crate::journal::disk::StorageFile;

#[derive(Debug)]
pub(super) struct SimulatedFile {
    pub disk: SimulatedDisk,
    pub file: FileNumber,
}

impl StorageFile for SimulatedFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.disk.read(|state| {
            let now = &state.files[self.file].now;
            let from = now.len().min(offset as usize);
            let some = &now[from..now.len().min(from + buffer.len())];
            buffer[..some.len()].copy_from_slice(some);
            Ok(some.len())
        })
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.disk.change(Operation::Write, |state, fails| {
            let done = match fails {
                Some(fault) => fault.bytes_done(bytes.len()),
                None => bytes.len(),
            };
            if done > 0 {
                state.files[self.file].write(offset as usize, &bytes[..done]);
            }
        })
    }

    fn preallocate(&self, bytes: u64) -> io::Result<()> {
        self.disk.change(Operation::Reserve, |state, fails| {
            let file = &mut state.files[self.file];
            if fails.is_none() && file.now.len() < bytes as usize {
                file.set_length(bytes as usize);
            }
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.change(Operation::Sync, |state, fails| {
            let file = &mut state.files[self.file];
            match fails {
                Some(_) => file.sync_failed(&mut state.random),
                None => file.sync(),
            }
        })
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        self.disk.change(Operation::Length, |state, fails| {
            if fails.is_none() {
                state.files[self.file].set_length(bytes as usize);
            }
        })
    }

    fn is_whole_at(&self, path: &Path, bytes: u64) -> io::Result<bool> {
        let (folder, name) = split(path);
        self.disk.read(|state| {
            let names = state.folders.get(&folder);
            let is_there = names.and_then(|names| names.now.get(&name)) == Some(&self.file);
            Ok(is_there && state.files[self.file].now.len() as u64 >= bytes)
        })
    }

    fn len(&self) -> io::Result<u64> {
        self.disk
            .read(|state| Ok(state.files[self.file].now.len() as u64))
    }
}
