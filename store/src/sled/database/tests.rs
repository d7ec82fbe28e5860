//! A sled that hangs or fails: an error in time, and nothing enters it again.

use std::fs::OpenOptions;

use super::*;
use crate::sled::folder::{Folder, INDEX};
use crate::threads::GETS_NONE;

const TREES: &[TreeId] = &[TreeId::Meta, TreeId::Heads];

#[test]
fn an_open_that_hangs_is_an_error_in_time() {
    let folder = tempfile::tempdir().unwrap();
    // Whoever opens a pipe to read from it waits for somebody who writes.
    let conf = folder.path().join("conf");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &conf,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        0,
    )
    .unwrap();
    let limit = Duration::from_millis(20);
    let error = Database::open_within(folder.path(), TREES, limit).unwrap_err();
    assert_eq!(error.operation, "open");
    assert!(error.reason.contains("did not answer"), "{error}");
    // Lets the thread that was left behind come to its end.
    drop(OpenOptions::new().write(true).open(conf).unwrap());
}

#[test]
fn nothing_enters_a_database_that_failed() {
    let folder = tempfile::tempdir().unwrap();
    let db = Database::open(folder.path(), TREES).unwrap();
    let set = || Batch::loose(vec![RowChange::set(TreeId::Heads, "a", vec![1])]);
    db.commit(set()).unwrap();
    assert_eq!(db.get(TreeId::Heads, b"a").unwrap(), Some(vec![1]));
    assert!(!db.is_broken());

    let first = db.get(TreeId::Views, b"a").unwrap_err();
    assert!(db.is_broken());
    for error in [
        db.get(TreeId::Heads, b"a").unwrap_err(),
        db.commit(set()).unwrap_err(),
    ] {
        assert_eq!(error.reason, first.reason);
    }
}

#[test]
fn a_panic_in_a_read_breaks_it() {
    let folder = tempfile::tempdir().unwrap();
    let db = Database::open(folder.path(), TREES).unwrap();
    let read = db.enter::<()>("read", |_| panic!("page 7 is gone"));
    let error = read.unwrap_err();
    assert!(error.reason.contains("page 7 is gone"), "{error}");
    assert!(db.is_broken());
}

#[test]
fn x4_without_threads_and_descriptors_a_database_goes_on_and_none_is_set_aside() {
    let data = tempfile::tempdir().unwrap();
    let folder = Folder::new(data.path(), INDEX);
    let row = |value| Batch {
        rows: vec![RowChange::set(TreeId::Heads, "a", vec![value])],
        ..Batch::default()
    };
    let db = folder.open(TREES, |_| Ok(())).unwrap().db;
    GETS_NONE.set(true);
    db.commit(row(1)).unwrap();
    db.put(row(2).rows).unwrap();
    db.sync().unwrap();
    drop(db);
    let error = folder.open(TREES, |_| Ok(())).unwrap_err();
    assert!(error.is_not_begun(), "{error}");
    GETS_NONE.set(false);
    let opened = folder.open(TREES, |_| Ok(())).unwrap();
    assert_eq!(opened.set_aside, None);
    assert_eq!(opened.db.get(TreeId::Heads, b"a").unwrap(), Some(vec![2]));
}

#[test]
fn x4_a_batch_that_cannot_be_announced_costs_nothing_but_itself() {
    let folder = tempfile::tempdir().unwrap();
    let db = Database::open(folder.path(), TREES).unwrap();
    let row = |value: Vec<u8>| Batch {
        rows: vec![RowChange::set(TreeId::Heads, "a", value)],
        ..Batch::default()
    };
    db.commit(row(vec![1])).unwrap();
    db.usable().unwrap().fail_announcements(true);
    let error = db.commit(row(vec![2])).unwrap_err();
    assert!(error.is_not_begun() && !db.is_broken(), "{error}");
    assert_eq!(db.get(TreeId::Heads, b"a").unwrap(), Some(vec![1]));
    db.usable().unwrap().fail_announcements(false);
    db.commit(row(vec![3])).unwrap();
    drop(db);
    let db = Database::open(folder.path(), TREES).unwrap();
    assert_eq!(db.get(TreeId::Heads, b"a").unwrap(), Some(vec![3]));
}
