//! Where the socket lies, and paths that are longer than a socket's may be.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

/// The socket's name in the data directory.
const NAME: &str = "operator.sock";
/// The longest path that fits the system's address of a socket, in bytes.
const PATH_MAX: usize = 100;

/// The socket of a data directory.
pub(super) fn path_in(folder: &Path) -> PathBuf {
    folder.join(NAME)
}

/// A path to the socket that is short enough, for as long as the second value is kept.
pub(super) fn short_path_in(folder: &Path) -> io::Result<(PathBuf, Option<File>)> {
    let path = path_in(folder);
    if path.as_os_str().len() <= PATH_MAX {
        return Ok((path, None));
    }
    let folder = File::open(folder)?;
    let through = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd()));
    Ok((through.join(NAME), Some(folder)))
}
