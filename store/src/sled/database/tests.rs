//! A sled that hangs or fails: an error in time, and nothing enters it again.

use std::fs::OpenOptions;
use std::process::Command;

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

/// A file system of its own with little room; gone with this.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        let options = ["-t", "tmpfs", "-o", "size=8m", "tmpfs"];
        let mounted = mount.args(options).arg(folder.path()).output();
        let is_mounted = mounted.is_ok_and(|mounted| mounted.status.success());
        is_mounted.then(|| Self(folder))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let mut unmount = Command::new("umount");
        drop(unmount.arg("--lazy").arg(self.0.path()).output());
    }
}

#[test]
fn x4_where_no_room_is_left_an_opening_is_refused_and_nothing_is_set_aside() {
    let Some(disk) = SmallDisk::mount() else {
        return println!("skipped: a small disk can be mounted by root only");
    };
    let folder = Folder::new(disk.0.path(), INDEX);
    let db = folder.open(TREES, |_| Ok(())).unwrap().db;
    let row = RowChange::set(TreeId::Heads, "a", vec![1]);
    let rows = vec![row];
    db.commit(Batch {
        rows,
        ..Batch::default()
    })
    .unwrap();
    drop(db);
    let filler = disk.0.path().join("filler");
    let mut file = std::fs::File::create(&filler).unwrap();
    let filled = std::io::copy(&mut std::io::repeat(1), &mut file).unwrap_err();
    assert_eq!(filled.kind(), std::io::ErrorKind::StorageFull);
    // sled writes a snapshot when it opens.
    let refused = folder.open(TREES, |_| Ok(())).unwrap_err();
    assert!(refused.is_not_begun(), "{refused}");
    drop(file);
    std::fs::remove_file(filler).unwrap();
    let opened = folder.open(TREES, |_| Ok(())).unwrap();
    assert_eq!(opened.set_aside, None);
    assert_eq!(opened.db.get(TreeId::Heads, b"a").unwrap(), Some(vec![1]));
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
