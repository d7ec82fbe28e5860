//! The file system of the operating system.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{AtFlags, CWD, FallocateFlags, Statx, StatxFlags, fallocate, statx};
use rustix::io::Errno;

use super::storage::{Created, OpenMode, Storage, StorageFile};

/// The file system of the operating system.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RealStorage;

impl Storage for RealStorage {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn StorageFile>> {
        // Opening a pipe waits for its other end, for ever.
        if let Ok(there) = fs::metadata(path)
            && !there.is_file()
        {
            return Err(io::Error::other("it is there, and it is no file"));
        }
        let mut options = OpenOptions::new();
        options.read(true);
        match mode {
            OpenMode::Read => {}
            OpenMode::Write => {
                options.write(true);
            }
            OpenMode::Create => {
                options.write(true).create(true).truncate(true);
            }
        }
        Ok(Arc::new(RealFile(options.open(path)?)))
    }

    fn create_folder(&self, path: &Path) -> io::Result<Created> {
        match fs::create_dir(path) {
            Ok(()) => Ok(Created::New),
            // Whatever else keeps it from being created: it need not be.
            Err(_) if path.is_dir() => Ok(Created::Existing),
            Err(error) => Err(error),
        }
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        let name = |entry: io::Result<fs::DirEntry>| {
            entry.map(|entry| entry.file_name().to_string_lossy().into_owned())
        };
        fs::read_dir(folder)?.map(name).collect()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        File::open(folder)?.sync_all()
    }

    fn close(&self) {}
}

#[derive(Debug)]
struct RealFile(File);

impl StorageFile for RealFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut done = 0;
        while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
            match self.0.read_at(rest, offset + done as u64) {
                Ok(0) => break,
                Ok(read) => done += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn preallocate(&self, bytes: u64) -> io::Result<()> {
        match fallocate(&self.0, FallocateFlags::empty(), 0, bytes) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => self.0.set_len(bytes),
            other => Ok(other?),
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        self.0.set_len(bytes)
    }

    fn is_whole_at(&self, path: &Path, bytes: u64) -> io::Result<bool> {
        // Only the numbers and the length, and not `metadata`: whoever looks at the change time makes the next write give the inode a
        // new one (Linux from 6.13 on), which took 60 µs of every batch that came alone.
        let found = match statx(CWD, path, AtFlags::empty(), StatxFlags::INO) {
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(false),
            found => found?,
        };
        let wanted = StatxFlags::INO | StatxFlags::SIZE;
        let ours = statx(&self.0, "", AtFlags::EMPTY_PATH, wanted)?;
        let which = |file: &Statx| (file.stx_dev_major, file.stx_dev_minor, file.stx_ino);
        Ok(which(&found) == which(&ours) && ours.stx_size >= bytes)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
}
