//! What can happen to a file.

use std::fs;
use std::path::{Path, PathBuf};

/// A file of a data directory.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    path: PathBuf,
    is_last_segment: bool,
}

/// What happens to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Harm {
    FlipBit,
    Zero,
    Garbage,
    Cut,
    Delete,
    Swap,
}

const HARMS: [Harm; 6] = [
    Harm::FlipBit,
    Harm::Zero,
    Harm::Garbage,
    Harm::Cut,
    Harm::Delete,
    Harm::Swap,
];
/// How many bytes are overwritten.
const PATCH_BYTES: usize = 4 << 10;

/// Every file of a directory with every harm.
pub(crate) fn cases(folder: &Path) -> impl Iterator<Item = (Target, Harm)> {
    let paths = files(folder);
    let last = paths.iter().rfind(|path| is_segment(path)).cloned();
    paths.into_iter().flat_map(move |path| {
        let target = Target {
            is_last_segment: Some(&path) == last.as_ref(),
            path,
        };
        HARMS.map(|harm| (target.clone(), harm))
    })
}

/// The files of a directory, by path within it, ascending.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut waiting = vec![folder.to_path_buf()];
    while let Some(next) = waiting.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                waiting.push(path);
            } else {
                found.push(path.strip_prefix(folder).unwrap().to_path_buf());
            }
        }
    }
    found.sort();
    found
}

fn is_segment(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "seg")
}

impl Target {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The kind of file it is.
    pub(crate) fn kind(&self) -> &'static str {
        match self.path.to_str().unwrap() {
            "format" => "`format`",
            "lock" => "`lock`",
            "journal/head" => "head marker",
            path if path.starts_with("sled/index") => "sled, index",
            path if path.starts_with("sled/derived") => "sled, snapshots and views",
            _ if self.is_last_segment => "last segment",
            _ if is_segment(&self.path) => "earlier segment",
            path => panic!("{path} is of no known kind"),
        }
    }
}

impl Harm {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::FlipBit => "one bit flipped",
            Self::Zero => "4 KiB zeroed",
            Self::Garbage => "4 KiB of garbage",
            Self::Cut => "cut",
            Self::Delete => "deleted",
            Self::Swap => "swapped with another",
        }
    }

    /// Does it to a file; where. Each round is somewhere else in the file.
    pub(crate) fn apply(self, folder: &Path, target: &Target, round: u64) -> String {
        let path = folder.join(target.path());
        let mut bytes = fs::read(&path).unwrap();
        let mut chance = Chance(round.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ bytes.len() as u64);
        let at = chance.below(bytes.len() as u64) as usize;
        let patch = at..(at + PATCH_BYTES).min(bytes.len());
        match self {
            Self::FlipBit => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << chance.below(8);
                }
            }
            Self::Zero => bytes[patch].fill(0),
            Self::Garbage => bytes[patch].fill_with(|| chance.below(256) as u8),
            Self::Cut => bytes.truncate(at),
            Self::Delete => {
                fs::remove_file(&path).unwrap();
                return "deleted".to_owned();
            }
            Self::Swap => {
                let others = files(folder);
                let others: Vec<_> = others
                    .iter()
                    .filter(|other| *other != target.path())
                    .collect();
                let other = folder.join(others[chance.below(others.len() as u64) as usize]);
                let theirs = fs::read(&other).unwrap();
                fs::write(&other, bytes).unwrap();
                fs::write(&path, theirs).unwrap();
                return format!("with {}", other.display());
            }
        }
        fs::write(&path, bytes).unwrap();
        format!("byte {at}, round {round}")
    }
}

/// xorshift64*.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.max(1);
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % limit.max(1)
    }
}
