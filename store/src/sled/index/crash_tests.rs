//! What a crash in the middle of a batch leaves: the batch, or what was before it; never a rebuild.

use std::path::Path;

use crate::frame::FactKind;
use crate::index::{Index, IndexBatch};
use crate::sled::index::{ROWS_AT_ONCE, beginning, pieces, rows_of};
use crate::sled::index_tests::{fact, facts, head, heads, open, stream, watermark};
use crate::sled::intent::FILE_NAME;
use crate::sled::row::TreeId;

fn before() -> IndexBatch {
    let mut batch = heads(0..50, 1);
    batch.facts = facts(
        vec![
            fact(FactKind::TIMER, "gone", Some(vec![1; 9_000]), 1),
            fact(FactKind::TIMER, "longer", Some(vec![1; 3]), 1),
            fact(FactKind::TIMER, "shorter", Some(vec![1; 20_000]), 1),
        ],
        1,
    )
    .facts;
    batch
}

fn after() -> IndexBatch {
    let mut batch = heads(25..75, 2);
    batch.facts = facts(
        vec![
            fact(FactKind::TIMER, "gone", None, 2),
            fact(FactKind::TIMER, "longer", Some(vec![2; 30_000]), 2),
            fact(FactKind::TIMER, "shorter", Some(vec![2; 3]), 2),
        ],
        2,
    )
    .facts;
    batch
}

/// Leaves the first `rows` rows of the second batch, and says how many it has.
fn crash_after(data: &Path, rows: usize) -> usize {
    let (index, _) = open(data);
    index.apply(&before()).unwrap();
    let all = index
        .with(|db, state| {
            let (after, tally) = (after(), state.mark.lock().tally);
            let piece = pieces(&after).remove(0);
            let (batch, _) = rows_of(db, &piece, &after.watermark, tally)?;
            db.commit_interrupted(&batch, rows)?;
            Ok(batch.rows.len() + batch.seal.len())
        })
        .unwrap();
    drop(index);
    all
}

fn value(index: &impl Index, key: &str) -> Option<Vec<u8>> {
    let found = index.fact(FactKind::TIMER, key.as_bytes()).unwrap();
    found.map(|(value, _)| value.to_vec())
}

#[test]
fn a_batch_that_a_crash_interrupted_is_completed() {
    let data = tempfile::tempdir().unwrap();
    let all = crash_after(data.path(), 0);
    assert!(all > 60, "{all}");
    for rows in (0..=all).step_by(3).chain([all - 1, all]) {
        let data = tempfile::tempdir().unwrap();
        crash_after(data.path(), rows);
        let (index, report) = open(data.path());
        assert_eq!(report.set_aside, None, "after {rows}");
        assert_eq!(report.watermark, Some(watermark(2)), "after {rows}");
        assert_eq!(index.head(&stream(24)).unwrap(), Some(head(1, 1)));
        assert_eq!(index.head(&stream(25)).unwrap(), Some(head(2, 2)));
        assert_eq!(value(&index, "gone"), None);
        assert_eq!(value(&index, "longer"), Some(vec![2; 30_000]));
        assert_eq!(value(&index, "shorter"), Some(vec![2; 3]));
        index.apply(&heads(0..75, 3)).unwrap();
        drop(index);
        let (_, report) = open(data.path());
        assert_eq!(
            (report.watermark, report.set_aside),
            (Some(watermark(3)), None)
        );
    }
}

#[test]
fn a_batch_whose_intent_was_not_wholly_written_did_not_begin() {
    let data = tempfile::tempdir().unwrap();
    crash_after(data.path(), 0);
    let intent = data.path().join("sled/index").join(FILE_NAME);
    let bytes = std::fs::metadata(&intent).unwrap().len();
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(&intent)
        .unwrap();
    file.set_len(bytes - 1).unwrap();
    let (index, report) = open(data.path());
    assert_eq!(
        (report.watermark, report.set_aside),
        (Some(watermark(1)), None)
    );
    assert_eq!(index.head(&stream(25)).unwrap(), Some(head(1, 1)));
    assert_eq!(value(&index, "gone"), Some(vec![1; 9_000]));
}

#[test]
fn rows_of_a_batch_without_its_intent_are_noticed() {
    let data = tempfile::tempdir().unwrap();
    crash_after(data.path(), 10);
    std::fs::remove_file(data.path().join("sled/index").join(FILE_NAME)).unwrap();
    let (index, report) = open(data.path());
    assert!(report.set_aside.is_some());
    assert_eq!(index.watermark(), None);
}

#[test]
fn a_database_that_lost_a_sealed_batch_is_noticed() {
    let data = tempfile::tempdir().unwrap();
    let older = tempfile::tempdir().unwrap();
    let (index, _) = open(data.path());
    index.apply(&heads(0..10, 1)).unwrap();
    drop(index);
    crate::sled::index_tests::copy(data.path(), older.path());
    let (index, _) = open(data.path());
    index.apply(&heads(0..10, 2)).unwrap();
    index.apply(&heads(0..10, 3)).unwrap();
    drop(index);
    let intent = Path::new("sled/index").join(FILE_NAME);
    std::fs::copy(data.path().join(&intent), older.path().join(&intent)).unwrap();
    let (index, report) = open(older.path());
    let reason = report.set_aside.unwrap().reason;
    assert!(reason.contains("lost batches 2 to 2"), "{reason}");
    assert_eq!(index.watermark(), None);
}

#[test]
fn a_long_batch_is_written_in_pieces_and_one_that_ends_in_the_middle_is_gone_on_with() {
    let streams = 2 * ROWS_AT_ONCE as u64 + 5;
    let value = |n: u64| Some(n.to_le_bytes().to_vec());
    let facts_of = |sequence| {
        let names = 0..streams;
        let fact = |n: u64| fact(FactKind::TIMER, &format!("f{n:08}"), value(n), sequence);
        names.map(fact).collect()
    };
    let batch = |sequence| IndexBatch {
        facts: facts_of(sequence),
        ..heads(0..streams, sequence)
    };
    let (first, second) = (batch(1), batch(2));
    let lengths: Vec<_> = pieces(&first)
        .iter()
        .map(|piece| (piece.heads.len(), piece.facts.len()))
        .collect();
    let all = ROWS_AT_ONCE;
    assert_eq!(lengths, [(all, 0), (all, 0), (5, all), (0, all), (0, 5)]);
    let data = tempfile::tempdir().unwrap();
    let (index, _) = open(data.path());
    index.apply(&first).unwrap();
    drop(index);
    for done in 0..5 {
        let (index, report) = open(data.path());
        let found = (report.watermark, report.set_aside);
        assert_eq!(found, (Some(watermark(1)), None), "after {done}");
        assert_eq!(report.rows, 2 * streams);
        // Some pieces go in, and then the process ends.
        let (state, second) = (index.state.read(), pieces(&second));
        let mut mark = state.mark.lock();
        let db = state.db.as_ref().unwrap();
        for piece in &second[..done] {
            let (rows, tally) = rows_of(db, piece, &watermark(1), mark.tally).unwrap();
            db.commit(rows).unwrap();
            mark.tally = tally;
        }
    }
    let (index, _) = open(data.path());
    index.apply(&second).unwrap();
    drop(index);
    let (index, report) = open(data.path());
    assert_eq!(
        (report.watermark, report.rows),
        (Some(watermark(2)), 2 * streams)
    );
    assert_eq!(index.head(&stream(streams - 1)).unwrap(), Some(head(2, 2)));
}

#[test]
fn the_first_batch_may_end_in_the_middle_of_its_pieces() {
    let data = tempfile::tempdir().unwrap();
    let (index, _) = open(data.path());
    let batch = heads(0..ROWS_AT_ONCE as u64 + 1, 1);
    let begun = beginning(batch.watermark.store_id);
    let piece = pieces(&batch).remove(0);
    let written = index.with(|db, _| {
        let (rows, _) = rows_of(db, &piece, &begun, Default::default())?;
        db.commit(rows)
    });
    written.unwrap();
    drop(index);
    let (index, report) = open(data.path());
    assert_eq!((report.watermark, report.set_aside), (Some(begun), None));
    index.apply(&batch).unwrap();
    assert_eq!(index.watermark(), Some(watermark(1)));
}

#[test]
fn an_index_that_failed_answers_again_after_a_clear() {
    let data = tempfile::tempdir().unwrap();
    let (index, _) = open(data.path());
    index.apply(&before()).unwrap();
    // A tree that this database does not have.
    let failed = index.with(|db, _| db.get(TreeId::Views, b"a"));
    failed.unwrap_err();
    index.head(&stream(1)).unwrap_err();
    index.apply(&after()).unwrap_err();
    index.clear().unwrap();
    assert_eq!(index.watermark(), None);
    assert_eq!(index.head(&stream(1)).unwrap(), None);
    index.apply(&before()).unwrap();
    drop(index);
    let (_, report) = open(data.path());
    assert_eq!(
        (report.watermark, report.set_aside),
        (Some(watermark(1)), None)
    );
}
