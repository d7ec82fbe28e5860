//! Damage to the files of a database, the same in each run, for the tests of both databases.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::index_tests::copy;

/// Small steps through a sequence of positions that is the same in each run.
pub(super) struct Positions(u64);

impl Positions {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below.max(1)
    }
}

/// Does something to a file and says what.
pub(super) type Damage = fn(&File, &mut Positions) -> String;

/// One bit anywhere.
pub(super) fn flip(file: &File, positions: &mut Positions) -> String {
    let at = positions.next(file.metadata().unwrap().len());
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    byte[0] ^= 1 << positions.next(8);
    file.write_all_at(&byte, at).unwrap();
    format!("bit flipped in byte {at}")
}

/// The rest of the file, from anywhere.
pub(super) fn cut(file: &File, positions: &mut Positions) -> String {
    let at = positions.next(file.metadata().unwrap().len());
    file.set_len(at).unwrap();
    format!("cut at {at}")
}

/// A page of anything anywhere.
pub(super) fn garbage(file: &File, positions: &mut Positions) -> String {
    let at = positions.next(file.metadata().unwrap().len());
    let garbage: Vec<u8> = (0..4_096).map(|_| positions.next(256) as u8).collect();
    file.write_all_at(&garbage, at).unwrap();
    format!("garbage at {at}")
}

/// Makes damaged copies of a data directory, one after another; most are damaged in sled's own file, which
/// is nearly all there is.
pub(super) fn damaged_copies(
    original: &Path,
    database: &str,
    rounds: usize,
    damage: Damage,
) -> impl Iterator<Item = (tempfile::TempDir, String)> {
    let mut positions = Positions(20_261_121);
    (0..rounds).map(move |round| {
        let data = tempfile::tempdir().unwrap();
        copy(original, data.path());
        let files = files(&data.path().join("sled").join(database));
        assert_eq!(files.len(), 4, "{files:?}");
        let at = if round % 4 == 0 { round / 4 % 4 } else { 1 };
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&files[at])
            .unwrap();
        let what = damage(&file, &mut positions);
        let name = files[at].file_name();
        (data, format!("round {round}: {name:?}: {what}"))
    })
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .collect();
    files.sort();
    files
}
