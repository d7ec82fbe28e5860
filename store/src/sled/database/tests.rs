//! A sled that hangs or fails: an error in time, and nothing enters it again.

use std::fs::OpenOptions;

use super::*;

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
