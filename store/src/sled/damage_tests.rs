//! What becomes of a damaged folder: the index is whole, or it is set aside and empty. It never panics,
//! never hangs, and never answers wrong.

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::index_tests::{copy, fact, head, heads, open, stream, watermark};
use crate::frame::FactKind;
use crate::index::Index;

const STREAMS: u64 = 1_000;

/// A data directory whose index was written in three batches, and closed.
fn intact() -> tempfile::TempDir {
    let data = tempfile::tempdir().unwrap();
    let (index, _) = open(data.path());
    let mut index = Some(index);
    for sequence in 1..=3 {
        // The second time sled finds something, and writes its own snapshot of where its pages are.
        if sequence == 3 {
            drop(index.take());
            index = Some(open(data.path()).0);
        }
        let mut batch = heads(0..STREAMS, sequence);
        let value = vec![sequence as u8; 30_000];
        batch.facts = vec![fact(FactKind::TIMER, "a", Some(value), sequence)];
        index.as_ref().unwrap().apply(&batch).unwrap();
    }
    drop(index);
    data
}

/// Small steps through a sequence of positions that is the same in each run.
struct Positions(u64);

impl Positions {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below.max(1)
    }
}

fn files(data: &Path) -> Vec<PathBuf> {
    let folder = data.join("sled/index");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .collect();
    files.sort();
    files
}

/// Opens a damaged copy; it answers as one of the three batches left it, or it is empty.
/// Says whether it was set aside.
fn answers_or_is_empty(data: &Path, what: &str) -> bool {
    let (index, report) = open(data);
    let aside = report.set_aside.is_some();
    match index.watermark() {
        None => {
            assert_eq!(report.rows, 0, "{what}");
            assert_eq!(index.head(&stream(1)).unwrap(), None, "{what}");
        }
        Some(found) => {
            assert_eq!(report.set_aside, None, "{what}");
            let sequence = found.sequence.get();
            assert_eq!(found, watermark(sequence), "{what}");
            for number in 0..STREAMS {
                let row = index.head(&stream(number)).unwrap();
                assert_eq!(row, Some(head(sequence, sequence)), "{what}");
            }
            let (value, _) = index.fact(FactKind::TIMER, b"a").unwrap().unwrap();
            assert_eq!(value, vec![sequence as u8; 30_000], "{what}");
        }
    }
    // It takes up its work again.
    index.apply(&heads(0..10, 4)).unwrap();
    drop(index);
    // A damaged sled may lose that, but says so, and is good for nothing more.
    let (index, report) = open(data);
    let expected = report.set_aside.is_none().then(|| watermark(4));
    assert_eq!(index.watermark(), expected, "{what}");
    aside
}

fn damaged_copies(rounds: u64, damage: impl Fn(&Path, &mut Positions) -> String) {
    let original = intact();
    let names = files(original.path());
    assert_eq!(names.len(), 4, "{names:?}");
    let mut positions = Positions(20_261_121);
    let mut set_aside = 0;
    for round in 0..rounds {
        let data = tempfile::tempdir().unwrap();
        copy(original.path(), data.path());
        // Most of them in sled's own file, which is nearly all there is.
        let copies = files(data.path());
        let at = if round % 4 == 0 {
            round as usize / 4 % copies.len()
        } else {
            1
        };
        let what = damage(&copies[at], &mut positions);
        let what = format!("round {round}: {:?}: {what}", copies[at].file_name());
        set_aside += u64::from(answers_or_is_empty(data.path(), &what));
    }
    // Otherwise the damage did not reach what it is meant to reach.
    assert!(set_aside > rounds / 4, "{set_aside} of {rounds}");
}

#[test]
fn k3_a_flipped_bit_anywhere_is_noticed_or_harmless() {
    damaged_copies(120, |file, positions| {
        let handle = std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open(file)
            .unwrap();
        let at = positions.next(handle.metadata().unwrap().len());
        let mut byte = [0];
        handle.read_exact_at(&mut byte, at).unwrap();
        byte[0] ^= 1 << positions.next(8);
        handle.write_all_at(&byte, at).unwrap();
        format!("byte {at}")
    });
}

#[test]
fn k4_a_file_cut_anywhere_is_noticed_or_older() {
    damaged_copies(60, |file, positions| {
        let handle = std::fs::OpenOptions::new().write(true).open(file).unwrap();
        let cut = positions.next(handle.metadata().unwrap().len());
        handle.set_len(cut).unwrap();
        format!("cut at {cut}")
    });
}

#[test]
fn k5_garbage_anywhere_is_noticed_or_harmless() {
    damaged_copies(60, |file, positions| {
        let handle = std::fs::OpenOptions::new().write(true).open(file).unwrap();
        let at = positions.next(handle.metadata().unwrap().len());
        let garbage: Vec<u8> = (0..4_096).map(|_| positions.next(256) as u8).collect();
        handle.write_all_at(&garbage, at).unwrap();
        format!("garbage at {at}")
    });
}
