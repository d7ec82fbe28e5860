//! What the index promises: it answers as of its watermark, or it is set aside and empty.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use chronicler_domain::{LogSequence, StreamVersion, Timestamp};
use tempfile::TempDir;
use uuid::Uuid;

use super::index::{Expectation, IndexReport, SledIndex};
use crate::frame::FactKind;
use crate::index::{FactChange, HeadRow, Index, IndexBatch, Watermark};

const STORE: Uuid = Uuid::from_u128(0xC0FFEE);

fn expectation() -> Expectation<'static> {
    Expectation {
        store_id: STORE,
        end: LogSequence::MAX,
        holds: &|_| Ok(()),
    }
}

pub(super) fn open(data: &Path) -> (SledIndex, IndexReport) {
    SledIndex::open(data, &expectation()).unwrap()
}

pub(super) fn watermark(sequence: u64) -> Watermark {
    Watermark {
        store_id: STORE,
        sequence: LogSequence::new(sequence),
        log_offset: sequence * 200,
        checksum: sequence as u32 ^ 0xABCD,
    }
}

pub(super) fn head(version: u64, sequence: u64) -> HeadRow {
    HeadRow {
        version: StreamVersion::new(version),
        sequence: LogSequence::new(sequence),
        log_offset: sequence * 200,
        commit_id: Uuid::from_u128(u128::from(sequence) << 64 | u128::from(version)),
        first_at: Timestamp::from_micros(1_500_000_000_000_000),
        last_at: Timestamp::from_micros(1_500_000_000_000_000 + sequence),
    }
}

pub(super) fn stream(number: u64) -> Arc<str> {
    format!("\0account\0stream-{number}").into()
}

pub(super) fn fact(kind: FactKind, key: &str, value: Option<Vec<u8>>, sequence: u64) -> FactChange {
    FactChange {
        kind,
        key: Bytes::copy_from_slice(key.as_bytes()),
        value: value.map(Bytes::from),
        sequence: LogSequence::new(sequence),
    }
}

/// Heads of `streams`, all written at `sequence`.
pub(super) fn heads(streams: std::ops::Range<u64>, sequence: u64) -> IndexBatch {
    IndexBatch {
        heads: streams
            .map(|number| (stream(number), head(sequence, sequence)))
            .collect(),
        facts: Vec::new(),
        watermark: watermark(sequence),
    }
}

pub(super) fn facts(changes: Vec<FactChange>, sequence: u64) -> IndexBatch {
    IndexBatch {
        heads: Vec::new(),
        facts: changes,
        watermark: watermark(sequence),
    }
}

pub(super) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn set_aside_reason(report: &IndexReport) -> &str {
    &report.set_aside.as_ref().expect("it was set aside").reason
}

#[test]
fn what_was_applied_is_there_after_a_reopen() {
    let data = tempfile::tempdir().unwrap();
    let (index, report) = open(data.path());
    assert_eq!(report, IndexReport::default());
    assert_eq!(index.watermark(), None);
    assert_eq!(index.head("nobody").unwrap(), None);
    index.apply(&heads(0..500, 1)).unwrap();
    index.apply(&heads(400..600, 2)).unwrap();
    drop(index);

    let (index, report) = open(data.path());
    assert_eq!(report.set_aside, None);
    assert_eq!(report.rows, 600);
    assert_eq!(report.watermark, Some(watermark(2)));
    assert_eq!(index.watermark(), Some(watermark(2)));
    assert_eq!(index.head(&stream(399)).unwrap(), Some(head(1, 1)));
    assert_eq!(index.head(&stream(400)).unwrap(), Some(head(2, 2)));
    assert_eq!(index.head(&stream(600)).unwrap(), None);
}

#[test]
fn facts_are_kept_by_kind_and_key_and_in_order() {
    let data = tempfile::tempdir().unwrap();
    let (index, _) = open(data.path());
    let last_kind = FactKind::new(u16::MAX).unwrap();
    index
        .apply(&facts(
            vec![
                fact(FactKind::TIMER, "b", Some(b"two".to_vec()), 1),
                fact(FactKind::TIMER, "a", Some(b"one".to_vec()), 1),
                fact(FactKind::TIMER, "", Some(Vec::new()), 1),
                fact(FactKind::CURSOR, "z", Some(b"cursor".to_vec()), 1),
                fact(FactKind::OPEN_SAGA, "a", Some(b"saga".to_vec()), 1),
                fact(last_kind, "a", Some(b"last".to_vec()), 1),
            ],
            1,
        ))
        .unwrap();
    index
        .apply(&facts(
            vec![
                fact(FactKind::TIMER, "a", None, 2),
                fact(FactKind::TIMER, "never", None, 2),
                fact(FactKind::TIMER, "c", Some(b"three".to_vec()), 2),
            ],
            2,
        ))
        .unwrap();
    drop(index);
    let (index, report) = open(data.path());
    assert_eq!(report.rows, 6);
    let keys = |after: Option<&[u8]>, limit| {
        let found = index.facts(FactKind::TIMER, after, limit).unwrap();
        found
            .into_iter()
            .map(|(key, value, sequence)| {
                (
                    String::from_utf8(key.to_vec()).unwrap(),
                    String::from_utf8(value.to_vec()).unwrap(),
                    sequence.get(),
                )
            })
            .collect::<Vec<_>>()
    };
    let row = |key: &str, value: &str, sequence| (key.to_owned(), value.to_owned(), sequence);
    let all = [row("", "", 1), row("b", "two", 1), row("c", "three", 2)];
    assert_eq!(keys(None, usize::MAX), all);
    assert_eq!(keys(None, 2), all[..2]);
    assert_eq!(keys(Some(b""), 9), all[1..]);
    assert_eq!(keys(Some(b"b"), 9), all[2..]);
    assert_eq!(keys(Some(b"zz"), 9), []);
    assert_eq!(keys(None, 0), []);
    assert_eq!(index.facts(last_kind, None, 9).unwrap().len(), 1);
    assert_eq!(index.fact(FactKind::TIMER, b"a").unwrap(), None);
    let cursor = index.fact(FactKind::CURSOR, b"z").unwrap();
    assert_eq!(
        cursor,
        Some((Bytes::from_static(b"cursor"), LogSequence::new(1)))
    );
}

#[test]
fn values_of_any_size_are_kept_and_their_chunks_go_with_them() {
    let data = tempfile::tempdir().unwrap();
    let (mut index, _) = open(data.path());
    let key = "k".repeat(1_024);
    let value = |bytes: usize| -> Vec<u8> { (0..bytes).map(|at| (at * 7 % 251) as u8).collect() };
    let sizes = [
        0, 1, 4_093, 4_094, 4_095, 4_096, 4_097, 8_190, 8_191, 8_192, 8_193, 300_000, 12_288, 5,
        70_000,
    ];
    for (sequence, bytes) in (1..).zip(sizes) {
        let change = fact(FactKind::OPEN_SAGA, &key, Some(value(bytes)), sequence);
        index.apply(&facts(vec![change], sequence)).unwrap();
        drop(index);
        let (reopened, report) = open(data.path());
        assert_eq!(report.set_aside, None, "{bytes} bytes");
        let (found, at) = reopened
            .fact(FactKind::OPEN_SAGA, key.as_bytes())
            .unwrap()
            .unwrap();
        assert_eq!(found, value(bytes), "{bytes} bytes");
        assert_eq!(at.get(), sequence);
        index = reopened;
    }
    index
        .apply(&facts(vec![fact(FactKind::OPEN_SAGA, &key, None, 99)], 99))
        .unwrap();
    drop(index);
    let (_, report) = open(data.path());
    assert_eq!((report.rows, report.set_aside), (0, None));
}

#[test]
fn a_row_that_is_changed_twice_in_one_batch_counts_once() {
    let data = tempfile::tempdir().unwrap();
    let (index, _) = open(data.path());
    let mut batch = heads(0..3, 1);
    batch.heads.push((stream(1), head(7, 1)));
    batch.facts = vec![
        fact(FactKind::TIMER, "a", Some(vec![1; 20_000]), 1),
        fact(FactKind::TIMER, "a", Some(vec![2; 10_000]), 1),
        fact(FactKind::TIMER, "b", Some(vec![3; 10_000]), 1),
        fact(FactKind::TIMER, "b", None, 1),
    ];
    index.apply(&batch).unwrap();
    drop(index);
    let (index, report) = open(data.path());
    assert_eq!(report.set_aside, None);
    assert_eq!(index.head(&stream(1)).unwrap(), Some(head(7, 1)));
    let (value, _) = index.fact(FactKind::TIMER, b"a").unwrap().unwrap();
    assert_eq!(value, vec![2; 10_000]);
    assert_eq!(index.fact(FactKind::TIMER, b"b").unwrap(), None);
}

#[test]
fn clear_leaves_nothing_and_goes_on() {
    let data = tempfile::tempdir().unwrap();
    let (index, _) = open(data.path());
    index.apply(&heads(0..100, 5)).unwrap();
    index.clear().unwrap();
    assert_eq!(index.watermark(), None);
    assert_eq!(index.head(&stream(3)).unwrap(), None);
    index.apply(&heads(0..10, 1)).unwrap();
    drop(index);
    let (_, report) = open(data.path());
    assert_eq!((report.rows, report.watermark), (10, Some(watermark(1))));
}

#[test]
fn an_index_of_another_store_or_history_is_set_aside() {
    let data = tempfile::tempdir().unwrap();
    let refused: [(Expectation<'_>, &str); 3] = [
        (
            Expectation {
                store_id: Uuid::from_u128(2),
                ..expectation()
            },
            "another store",
        ),
        (
            Expectation {
                end: LogSequence::new(6),
                ..expectation()
            },
            "the journal ends at 6",
        ),
        (
            Expectation {
                holds: &|watermark| Err(format!("no frame {}", watermark.sequence)),
                ..expectation()
            },
            "no frame 7",
        ),
    ];
    for (expected, reason) in refused {
        let (index, _) = open(data.path());
        index.apply(&heads(0..10, 7)).unwrap();
        drop(index);
        let (index, report) = SledIndex::open(data.path(), &expected).unwrap();
        assert!(set_aside_reason(&report).contains(reason), "{report:?}");
        assert_eq!((report.rows, report.watermark), (0, None));
        assert_eq!(index.head(&stream(1)).unwrap(), None);
        let aside = report.set_aside.unwrap().path.unwrap();
        assert!(aside.join("db").exists());
    }
}

#[test]
fn an_older_copy_of_the_folder_is_taken_as_it_is() {
    let data = tempfile::tempdir().unwrap();
    let (index, _) = open(data.path());
    index.apply(&heads(0..100, 1)).unwrap();
    drop(index);
    let older = tempfile::tempdir().unwrap();
    copy(data.path(), older.path());
    let (index, _) = open(data.path());
    index.apply(&heads(50..150, 2)).unwrap();
    drop(index);
    std::fs::remove_dir_all(data.path().join("sled")).unwrap();
    copy(older.path(), data.path());
    let (index, report) = open(data.path());
    assert_eq!(report.set_aside, None);
    assert_eq!(report.watermark, Some(watermark(1)));
    assert_eq!(index.head(&stream(60)).unwrap(), Some(head(1, 1)));
}

type Alter = fn(&::sled::Db);
type Make = fn(PathBuf);

/// Alters sled's rows behind the index's back.
fn poke(data: &TempDir, alter: impl FnOnce(&::sled::Db)) {
    let db = ::sled::Config::new()
        .path(data.path().join("sled/index"))
        .flush_every_ms(None)
        .open()
        .unwrap();
    alter(&db);
    db.flush().unwrap();
}

/// sled lets go of its file a moment after it was dropped; only a writer's lock says when.
fn wait_until_closed(data: &TempDir) {
    let file = std::fs::File::open(data.path().join("sled/index/db")).unwrap();
    file.lock().unwrap();
}

fn tree(db: &::sled::Db, number: u8) -> ::sled::Tree {
    db.open_tree([number]).unwrap()
}

#[test]
fn an_index_whose_rows_were_altered_is_set_aside() {
    let alterations: [(&str, Alter); 7] = [
        ("a deleted head", |db| {
            tree(db, 2).remove(stream(5).as_bytes()).unwrap().unwrap();
        }),
        ("an altered head", |db| {
            let mut row = tree(db, 2)
                .get(stream(5).as_bytes())
                .unwrap()
                .unwrap()
                .to_vec();
            row[3] ^= 4;
            tree(db, 2).insert(stream(5).as_bytes(), row).unwrap();
        }),
        ("a head under another's key", |db| {
            let row = tree(db, 2).get(stream(5).as_bytes()).unwrap().unwrap();
            tree(db, 2).insert(stream(6).as_bytes(), row).unwrap();
        }),
        ("a whole row too many", |db| {
            let row = super::row::RowChange::set(super::row::TreeId::Heads, "new", vec![1]);
            tree(db, 2).insert(row.key, row.stored.unwrap()).unwrap();
        }),
        ("a deleted chunk of a fact", |db| {
            tree(db, 4).pop_max().unwrap().unwrap();
        }),
        ("no watermark", |db| {
            tree(db, 1).remove("watermark").unwrap().unwrap();
        }),
        ("a watermark of another format", |db| {
            let row =
                super::row::RowChange::set(super::row::TreeId::Meta, "watermark", vec![9; 60]);
            tree(db, 1).insert(row.key, row.stored.unwrap()).unwrap();
        }),
    ];
    for (what, alter) in alterations {
        let data = tempfile::tempdir().unwrap();
        let (index, _) = open(data.path());
        let mut batch = heads(0..100, 1);
        batch.facts = vec![fact(FactKind::TIMER, "a", Some(vec![1; 20_000]), 1)];
        index.apply(&batch).unwrap();
        drop(index);
        wait_until_closed(&data);
        poke(&data, alter);
        let (index, report) = open(data.path());
        assert!(report.set_aside.is_some(), "{what}: {report:?}");
        assert_eq!(index.watermark(), None, "{what}");
        assert_eq!(index.head(&stream(7)).unwrap(), None, "{what}");
    }
}

#[test]
fn what_is_not_a_database_is_set_aside() {
    let garbage: [(&str, Make); 3] = [
        ("a file instead of the folder", |sled| {
            std::fs::write(sled, "garbage").unwrap();
        }),
        ("a file instead of the database", |sled| {
            std::fs::create_dir(&sled).unwrap();
            std::fs::write(sled.join("index"), "garbage").unwrap();
        }),
        ("garbage in all files", |sled| {
            let index = sled.join("index");
            std::fs::create_dir_all(&index).unwrap();
            for name in ["db", "conf", "snap.0000000000000001", "intent"] {
                std::fs::write(index.join(name), [0xA5; 700_000]).unwrap();
            }
        }),
    ];
    for (what, make) in garbage {
        let data = tempfile::tempdir().unwrap();
        make(data.path().join("sled"));
        let (index, report) = open(data.path());
        assert!(report.set_aside.is_some(), "{what}: {report:?}");
        index.apply(&heads(0..10, 1)).unwrap();
        drop(index);
        let (_, report) = open(data.path());
        assert_eq!((report.rows, report.set_aside), (10, None), "{what}");
    }
}

#[test]
fn a_deleted_folder_is_an_empty_index() {
    let data = tempfile::tempdir().unwrap();
    let (index, _) = open(data.path());
    index.apply(&heads(0..10, 1)).unwrap();
    drop(index);
    std::fs::remove_dir_all(data.path().join("sled")).unwrap();
    let (_, report) = open(data.path());
    assert_eq!(report, IndexReport::default());
}

/// 1,000,000 commits of 200 bytes over 10,000 streams, applied after each 32 MiB of journal, are eleven
/// batches of 10,000 rows. The bar is 30 bytes of disk a commit for all that is not journal.
#[test]
fn a_million_commits_cost_less_than_thirty_bytes_each() {
    let data = tempfile::tempdir().unwrap();
    let (index, _) = open(data.path());
    for batch in 1..=11 {
        index.apply(&heads(0..10_000, batch * 90_000)).unwrap();
    }
    drop(index);
    let (_, report) = open(data.path());
    assert_eq!(report.rows, 10_000);
    let bytes: u64 = std::fs::read_dir(data.path().join("sled/index"))
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .sum();
    assert!(bytes < 30_000_000, "{bytes}");
}

#[test]
fn x2_an_index_is_replaced_by_what_was_made_of_an_empty_one() {
    let data = tempfile::tempdir().unwrap();
    let (index, _) = open(data.path());
    let batch = |version, sequence| IndexBatch {
        heads: vec![(stream(1), head(version, sequence))],
        facts: Vec::new(),
        watermark: watermark(sequence),
    };
    index.apply(&batch(1, 1)).unwrap();
    // Half an index takes no one's place.
    let failed = index.rebuild(&mut |fresh| {
        assert_eq!(fresh.head(&stream(1)).unwrap(), None);
        Err(crate::index::IndexError {
            operation: "filling",
            reason: "it is to fail".to_owned(),
        })
    });
    assert!(failed.is_err());
    assert_eq!(index.head(&stream(1)).unwrap(), Some(head(1, 1)));
    index
        .rebuild(&mut |fresh| fresh.apply(&batch(2, 2)))
        .unwrap();
    assert_eq!(index.head(&stream(1)).unwrap(), Some(head(2, 2)));
    index.apply(&batch(3, 3)).unwrap();
    index.close();
    let (index, report) = open(data.path());
    assert_eq!(report.set_aside, None);
    assert_eq!(index.head(&stream(1)).unwrap(), Some(head(3, 3)));
}
