//! A disk of the test's own that can stall and fill: ext4 in a file. Takes root.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{FallocateFlags, fallocate};

/// How much fits. The file is sparse: it takes the room that is used.
const BYTES: u64 = 4 << 30;
/// What fills the disk.
const BALLAST: &str = "ballast";
/// The smallest piece of ballast.
const PIECE_MIN: u64 = 4 << 10;

/// A file system in a file.
pub(crate) struct Disk {
    image: PathBuf,
    at: PathBuf,
}

impl Disk {
    /// `None` where it cannot be had.
    pub(crate) fn mount(folder: &Path) -> Option<Self> {
        let (image, at) = (folder.join("image"), folder.join("disk"));
        File::create(&image).unwrap().set_len(BYTES).unwrap();
        fs::create_dir(&at).unwrap();
        let disk = Self { image, at };
        let is_root = rustix::process::geteuid().is_root();
        let mut make = Command::new("mkfs.ext4");
        make.args([
            "-q",
            "-m",
            "0",
            "-E",
            "lazy_itable_init=0,lazy_journal_init=0",
        ]);
        let mut mount = Command::new("mount");
        mount.args(["-o", "loop"]);
        let is_there = is_root
            && succeeds(make.arg(&disk.image))
            && succeeds(mount.arg(&disk.image).arg(&disk.at))
            && succeeds(Command::new("fsfreeze").arg("--version"));
        is_there.then_some(disk)
    }

    /// Where it can be written.
    pub(crate) fn folder(&self) -> &Path {
        &self.at
    }

    /// Every write and every sync waits from now on.
    pub(crate) fn stall(&self) {
        assert!(self.freeze("--freeze"), "the disk does not stall");
    }

    pub(crate) fn go_on(&self) {
        assert!(self.freeze("--unfreeze"), "the disk does not go on");
    }

    fn freeze(&self, how: &str) -> bool {
        succeeds(Command::new("fsfreeze").arg(how).arg(&self.at))
    }

    /// Nothing more fits from now on.
    pub(crate) fn fill(&self) {
        let ballast = File::create(self.at.join(BALLAST)).unwrap();
        let (mut filled, mut piece) = (0, BYTES);
        while piece >= PIECE_MIN {
            match fallocate(&ballast, FallocateFlags::empty(), filled, piece) {
                Ok(()) => filled += piece,
                // Whoever else writes may have been quicker.
                Err(_) => piece /= 2,
            }
        }
    }

    pub(crate) fn make_room(&self) {
        fs::remove_file(self.at.join(BALLAST)).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // It may not stall, and mostly does not.
        self.freeze("--unfreeze");
        succeeds(Command::new("umount").arg("--lazy").arg(&self.at));
    }
}

fn succeeds(command: &mut Command) -> bool {
    let done = command.output();
    done.is_ok_and(|output| output.status.success())
}
