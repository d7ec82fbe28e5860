//! What becomes of a damaged folder: the index is whole, or it is set aside and empty. It never panics,
//! never hangs, and never answers wrong.

use std::path::Path;

use super::damage::{Damage, cut, damaged_copies, flip, garbage};
use super::index_tests::{fact, head, heads, open, stream, watermark};
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

fn try_damage(rounds: usize, damage: Damage) {
    let original = intact();
    let mut set_aside = 0;
    for (data, what) in damaged_copies(original.path(), "index", rounds, damage) {
        set_aside += usize::from(answers_or_is_empty(data.path(), &what));
    }
    // Otherwise the damage did not reach what it is meant to reach.
    assert!(set_aside > rounds / 4, "{set_aside} of {rounds}");
}

#[test]
fn k3_a_flipped_bit_anywhere_is_noticed_or_harmless() {
    try_damage(120, flip);
}

#[test]
fn k4_a_file_cut_anywhere_is_noticed_or_older() {
    try_damage(60, cut);
}

#[test]
fn k5_garbage_anywhere_is_noticed_or_harmless() {
    try_damage(60, garbage);
}
