//! A process whose disk fails it: writes stop with a reason, reads go on, it lives, and nothing answered is lost.
//!
//! The disk is the machine's own here. `store/src/journal/tests` has a simulated one, that fails at every operation
//! in turn and also with errors that no test can have of a real one.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

#[path = "driver/client.rs"]
mod client;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use client::{Client, Said};
use rustix::process::{Resource, Rlimit, getrlimit, prlimit};
use serde_json::{Value, json};

/// Appends under way at a time.
const UNDER_WAY: u64 = 16;
/// Appends after which a disk must have failed that was to fail.
const APPENDS_MAX: u64 = 100_000;

/// What was asked, and what was answered.
#[derive(Default)]
struct Written {
    asked: u64,
    answered: Vec<u64>,
}

impl Written {
    /// Appends until the log takes no more; the error.
    fn fill(&mut self, driver: &mut Client) -> Value {
        let told = driver.send("health", json!({ "wait": true }));
        let (mut reason, mut failed, mut under_way) = (None, None, 0);
        while failed.is_none() || reason.is_none() || under_way > 0 {
            while failed.is_none() && under_way < UNDER_WAY {
                assert!(self.asked < APPENDS_MAX, "the disk never failed");
                self.asked += 1;
                self.append(driver);
                under_way += 1;
            }
            match driver.hear().expect("the process lives") {
                Said::Answer(id, answer) if id == told => reason = Some(answer.unwrap()),
                Said::Answer(_, answer) => {
                    under_way -= 1;
                    match answer {
                        Ok(appended) => self.answered.push(appended["pos"][0].as_u64().unwrap()),
                        Err(error) => failed = Some(error),
                    }
                }
                Said::Push(..) => panic!("nobody subscribed"),
            }
        }
        // The application was told why, without asking.
        assert_eq!(driver.call("health", json!({})).unwrap(), reason.unwrap());
        failed.unwrap()
    }

    /// Appends until one is refused because the log cannot grow; the error. That is no end: nobody is told of one.
    fn fill_up(&mut self, driver: &mut Client) -> Value {
        loop {
            assert!(self.asked < APPENDS_MAX, "the disk never failed");
            for _ in 0..UNDER_WAY {
                self.asked += 1;
                self.append(driver);
            }
            let mut refused = None;
            for _ in 0..UNDER_WAY {
                match driver.next().1 {
                    Ok(appended) => self.answered.push(appended["pos"][0].as_u64().unwrap()),
                    Err(error) => refused = Some(error),
                }
            }
            if let Some(error) = refused {
                return error;
            }
        }
    }

    /// Every write is refused, and can be tried again.
    fn check_refused_for_now(&mut self, driver: &mut Client, reason: &str) {
        for _ in 0..3 {
            let error = self.fill_up(driver);
            assert_eq!(error["kind"], "unavailable");
            let message = error["msg"].as_str().unwrap();
            assert!(
                message.contains("cannot grow at present") && message.contains(reason),
                "{message}"
            );
        }
        let health = driver.call("health", json!({})).unwrap();
        assert_eq!(health, json!({ "read_only": null }));
    }

    fn append_one(&mut self, driver: &mut Client) {
        self.asked += 1;
        self.append(driver);
        let appended = driver.next().1.unwrap();
        self.answered.push(appended["pos"][0].as_u64().unwrap());
    }

    /// Appends once the log has tried again to grow.
    fn append_when_it_grows(&mut self, driver: &mut Client) {
        let until = Instant::now() + Duration::from_secs(60);
        let appended = loop {
            assert!(Instant::now() < until, "it does not grow");
            self.asked += 1;
            self.append(driver);
            match driver.next().1 {
                Ok(appended) => break appended,
                Err(error) => {
                    let message = error["msg"].as_str().unwrap();
                    assert!(message.contains("cannot grow at present"), "{message}");
                }
            }
        };
        self.answered.push(appended["pos"][0].as_u64().unwrap());
    }

    fn append(&self, driver: &mut Client) -> u64 {
        let events =
            json!([{ "type": "Filled", "data": format!("{}-{}", self.asked, "x".repeat(2_000)) }]);
        let stream = format!("s{}", self.asked % 7);
        driver.send(
            "append",
            json!({ "stream": stream, "expected": "any", "events": events }),
        )
    }

    /// Writes are refused, each with the reason.
    fn check_refused(&mut self, driver: &mut Client, reason: &str) {
        for _ in 0..3 {
            self.asked += 1;
            let id = self.append(driver);
            let (answered, answer) = driver.next();
            assert_eq!(answered, id);
            let error = answer.unwrap_err();
            assert_eq!(error["kind"], "unavailable");
            let message = error["msg"].as_str().unwrap();
            assert!(
                message.contains("until it is opened again") && message.contains(reason),
                "{message}"
            );
        }
    }

    /// Everything answered is read back.
    fn check_there(&self, driver: &mut Client) {
        let log = driver.call("read_all", json!({})).unwrap();
        let found: Vec<u64> = log["events"]
            .as_array()
            .unwrap()
            .iter()
            .map(|event| event["pos"].as_u64().unwrap())
            .collect();
        assert!(
            found.iter().copied().eq(1..=found.len() as u64),
            "positions have a gap"
        );
        let last = self.answered.iter().copied().max().unwrap_or(0);
        assert!(
            found.len() as u64 >= last,
            "{last} were answered, {} are there",
            found.len()
        );
        assert_eq!(driver.call("verify", json!({})).unwrap()["ok"], true);
    }

    /// It is opened again, where nothing fails: what was answered is there, and it is gone on with.
    fn check_opened_again(&mut self, dir: &Path) {
        let mut driver = Client::open(dir);
        self.check_there(&mut driver);
        self.append_one(&mut driver);
        assert_eq!(
            driver.call("health", json!({})).unwrap(),
            json!({ "read_only": null })
        );
        driver.end();
    }
}

fn small() -> Value {
    json!({ "segment_bytes": 256 << 10 })
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A file system of its own, with little room.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path, options: &str) -> Option<Self> {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(at);
        let mounted = is_root() && mount.status().is_ok_and(|status| status.success());
        mounted.then(|| Self(at.to_owned()))
    }

    fn remount(&self, options: &str) {
        let mut mount = Command::new("mount");
        mount
            .args(["-o", &format!("remount,{options}")])
            .arg(&self.0);
        assert!(mount.status().unwrap().success());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("--lazy").arg(&self.0).status());
    }
}

#[test]
fn k6_a_full_disk_stops_writes_and_not_reads_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(folder.path(), "size=12m") else {
        return println!("skipped: a small disk can be mounted by root only");
    };
    for store in ["journal", "sled"] {
        let dir = folder.path().join(store);
        let mut options = small();
        options["store"] = store.into();
        let (mut driver, opened) = Client::start_through(&[], &dir, options.clone());
        opened.unwrap().unwrap();
        let mut written = Written::default();
        if store == "journal" {
            written.fill_up(&mut driver);
            written.check_refused_for_now(&mut driver, "No space left on device");
            written.check_there(&mut driver);
            // There is room again, and it goes on by itself.
            disk.remount("size=64m");
            written.append_when_it_grows(&mut driver);
            written.check_there(&mut driver);
        } else {
            written.fill(&mut driver);
            written.check_refused(&mut driver, "No space left on device");
            disk.remount("size=64m");
        }
        driver.ends_well();
        let (mut driver, opened) = Client::start_through(&[], &dir, options);
        opened.unwrap().unwrap();
        written.check_there(&mut driver);
        driver.end();
        fs::remove_dir_all(dir).unwrap();
        disk.remount("size=12m");
    }
}

#[test]
fn k6_without_file_descriptors_writes_wait_and_reads_go_on_and_nothing_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let (mut driver, opened) = Client::start_through(&[], folder.path(), small());
    opened.unwrap().unwrap();
    let mut written = Written::default();
    for _ in 0..50 {
        written.append_one(&mut driver);
    }
    // Whatever it has open it keeps, and gets nothing more.
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let limit = |current| Rlimit { current, maximum };
    prlimit(Some(driver.pid()), Resource::Nofile, limit(Some(3))).unwrap();
    written.fill_up(&mut driver);
    written.check_refused_for_now(&mut driver, "Too many open files");
    // Reads that need no file go on; others say why not.
    let read = driver.call("read_all", json!({})).unwrap_err();
    assert!(
        read["msg"]
            .as_str()
            .unwrap()
            .contains("Too many open files"),
        "{read}"
    );
    prlimit(Some(driver.pid()), Resource::Nofile, limit(current)).unwrap();
    written.check_there(&mut driver);
    // Whoever has descriptors again goes on where it was.
    written.append_when_it_grows(&mut driver);
    written.check_there(&mut driver);
    assert!(driver.ends_well());
    written.check_opened_again(folder.path());
}

#[test]
fn k6_a_directory_that_is_deleted_in_use_is_noticed_by_the_next_write() {
    let folder = tempfile::tempdir().unwrap();
    let mut driver = Client::open(folder.path());
    let mut written = Written::default();
    for _ in 0..100 {
        written.append_one(&mut driver);
    }
    // The driver may make a file in a folder that is just being emptied.
    let is_gone = |removed: std::io::Result<()>| match removed {
        Err(error) if error.kind() == std::io::ErrorKind::DirectoryNotEmpty => false,
        removed => {
            removed.unwrap();
            true
        }
    };
    while !is_gone(fs::remove_dir_all(folder.path().join("chronicler"))) {}
    let answered = written.answered.len();
    // It is not one segment later, or never, that this is told: no write is answered into a file without a name.
    let error = written.fill(&mut driver);
    assert_eq!(written.answered.len(), answered);
    assert!(
        error["msg"].as_str().unwrap().contains("deleted"),
        "{error}"
    );
    written.check_refused(&mut driver, "deleted");
    // What is not in memory cannot be read any more, and that is said, too.
    let read = driver.call("read_all", json!({})).unwrap_err();
    assert!(
        read["msg"].as_str().unwrap().contains("No such file"),
        "{read}"
    );
    assert!(driver.ends_well());
}

#[test]
fn k6_a_directory_that_is_moved_or_replaced_in_use_is_noticed_and_loses_nothing() {
    for is_replaced in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        fs::create_dir(&from).unwrap();
        let (mut driver, opened) = Client::start_through(&[], &from, small());
        opened.unwrap().unwrap();
        let mut written = Written::default();
        for _ in 0..200 {
            written.append_one(&mut driver);
        }
        let answered = written.answered.len();
        fs::rename(&from, &to).unwrap();
        if is_replaced {
            // As when an older copy is put in its place.
            let copied = Command::new("cp").arg("-r").args([&to, &from]).status();
            assert!(copied.unwrap().success());
        }
        written.fill(&mut driver);
        assert_eq!(written.answered.len(), answered);
        written.check_refused(&mut driver, "moved, replaced");
        driver.kill();
        written.check_opened_again(&to);
    }
}

#[test]
fn k6_a_segment_that_is_cut_in_use_is_noticed_by_the_next_write() {
    let folder = tempfile::tempdir().unwrap();
    let mut driver = Client::open(folder.path());
    let mut written = Written::default();
    for _ in 0..100 {
        written.append_one(&mut driver);
    }
    let journal = folder.path().join("chronicler/journal");
    // As a tool for ordinary logs does that copies a file and then empties it.
    let segment = fs::OpenOptions::new()
        .write(true)
        .open(journal.join("00000000000000000001.seg"));
    segment.unwrap().set_len(0).unwrap();
    let answered = written.answered.len();
    written.fill(&mut driver);
    assert_eq!(written.answered.len(), answered);
    written.check_refused(&mut driver, "cut");
    assert!(driver.ends_well());
    // What is lost is named, and is not begun anew.
    let again = Client::start_through(&[], folder.path(), small()).1;
    let error = again.unwrap().unwrap_err();
    let text = error["msg"].as_str().unwrap();
    assert!(text.contains("00000000000000000001.seg"), "{text}");
}

#[test]
fn k4_what_is_no_file_is_refused_by_name_and_nobody_waits_for_it() {
    for name in ["format", "journal/head", "journal/00000000000000000001.seg"] {
        let folder = tempfile::tempdir().unwrap();
        let mut driver = Client::open(folder.path());
        Written::default().append_one(&mut driver);
        driver.end();
        let path = folder.path().join("chronicler").join(name);
        fs::remove_file(&path).unwrap();
        assert!(
            Command::new("mkfifo")
                .arg(&path)
                .status()
                .unwrap()
                .success()
        );
        let opened = Client::start_through(&[], folder.path(), small()).1;
        let error = opened.unwrap().unwrap_err();
        let text = error["msg"].as_str().unwrap();
        assert!(
            text.contains(path.to_str().unwrap()) && text.contains("no file"),
            "{text}"
        );
    }
}

#[test]
fn k6_a_directory_that_may_not_be_written_is_refused_by_name_and_not_changed() {
    let folder = tempfile::tempdir().unwrap();
    let mut driver = Client::open(folder.path());
    let mut written = Written::default();
    written.append_one(&mut driver);
    driver.end();
    let data = folder.path().join("chronicler");
    let before = contents(&data);
    // Whatever a user may not write, root may.
    let as_user: &[&str] = match is_root() {
        true => &[
            "setpriv",
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
        ],
        false => &[],
    };
    set_permissions(folder.path(), 0o555, 0o444);
    // The driver keeps a file of its own beside it.
    fs::set_permissions(
        folder.path().join("gateway.jsonl"),
        Permissions::from_mode(0o666),
    )
    .unwrap();
    let (driver, opened) = Client::start_through(as_user, folder.path(), json!({}));
    let error = opened.unwrap().unwrap_err();
    let message = error["msg"].as_str().unwrap();
    assert!(
        message.contains("chronicler") && message.contains("Permission denied"),
        "{message}"
    );
    driver.ends_well();
    assert_eq!(contents(&data), before);
    set_permissions(folder.path(), 0o755, 0o644);
    written.check_opened_again(folder.path());
}

fn set_permissions(path: &Path, folders: u32, files: u32) {
    let is_folder = path.is_dir();
    let set = |mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    if is_folder {
        set(0o755);
        for entry in fs::read_dir(path).unwrap() {
            set_permissions(&entry.unwrap().path(), folders, files);
        }
    }
    set(if is_folder { folders } else { files });
}

/// Every file below, with what is in it.
fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(contents(&path));
        } else {
            all.push((path.clone(), fs::read(path).unwrap()));
        }
    }
    all.sort();
    all
}
