//! `backup` copies what is durable beside a writing application, `restore` makes a directory of it again.

use std::fs;
use std::path::{Path, PathBuf};

use chronicler_store::EventLog;
use serde_json::Value;

use crate::directory::{Directory, append, damage, events};
use crate::tool::{json, run};

const COMMITS: u64 = 600;

/// A folder beside the data directory.
fn beside(directory: &Directory, name: &str) -> PathBuf {
    directory.path.with_file_name(name)
}

fn backup(directory: &Directory, dest: &Path) -> (i32, Value) {
    let (exit, lines) = json("backup", &directory.path, &[dest.to_str().unwrap()]);
    (exit, lines.into_iter().next().unwrap_or_default())
}

fn restore(backup: &Path, to: &Path) -> i32 {
    json("restore", backup, &[to.to_str().unwrap()]).0
}

/// All files of a folder and those below it, by name.
fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if !path.ends_with("lock") {
            found.push((path.clone(), fs::read(&path).unwrap()));
        }
    }
    found.sort();
    found
}

#[tokio::test]
async fn a_backup_is_whole_and_what_is_restored_from_it_opens_with_the_same_events() {
    let directory = Directory::with(COMMITS).await;
    let (dest, again) = (beside(&directory, "backup"), beside(&directory, "again"));
    let (exit, report) = backup(&directory, &dest);
    assert_eq!(exit, 0, "{report}");
    assert_eq!(report["commit"], COMMITS);
    assert_eq!(report["copied_segments"], report["segments"]);
    let (exit, verified) = json("verify", &dest, &[]);
    assert_eq!((exit, &verified[0]["commits"]), (0, &COMMITS.into()));
    assert!(!dest.join("sled").exists());

    assert_eq!(restore(&dest, &again), 0);
    let (exit, verified) = json("verify", &again, &[]);
    assert_eq!((exit, &verified[0]["commits"]), (0, &COMMITS.into()));
    assert_eq!(
        verified[0]["store"], report["store"],
        "the store keeps its id"
    );
    assert_eq!(events(&again).await, events(&directory.path).await);
    // It can be written on.
    let store = crate::directory::open(&again);
    append(&store, [COMMITS + 1]).await;
    store.close().await;
    assert_eq!(json("verify", &again, &[]).0, 0);
}

#[tokio::test]
async fn the_second_time_only_what_is_new_is_copied() {
    let directory = Directory::with(COMMITS).await;
    let dest = beside(&directory, "backup");
    let (_, first) = backup(&directory, &dest);
    let segments = first["segments"].as_u64().unwrap();
    let store = directory.open();
    append(&store, COMMITS + 1..=COMMITS + 300).await;
    store.close().await;
    drop(store);
    let untouched = dest.join("journal/00000000000000000001.seg");
    let written_at = fs::metadata(&untouched).unwrap().modified().unwrap();
    let (exit, second) = backup(&directory, &dest);
    assert_eq!(exit, 0, "{second}");
    assert_eq!(second["commit_before"], COMMITS);
    let copied = second["copied_segments"].as_u64().unwrap();
    assert_eq!(copied, second["segments"].as_u64().unwrap() - segments + 1);
    assert_eq!(
        fs::metadata(&untouched).unwrap().modified().unwrap(),
        written_at
    );
    // A file of the backup that is not what it must be is copied again.
    damage(&untouched, 20_000);
    assert_eq!(json("verify", &dest, &[]).0, 1);
    let (exit, third) = backup(&directory, &dest);
    assert_eq!(
        (exit, third["copied_segments"].as_u64()),
        (0, Some(2)),
        "{third}"
    );
    assert_eq!(json("verify", &dest, &[]).0, 0);
    let again = beside(&directory, "again");
    assert_eq!(restore(&dest, &again), 0);
    assert_eq!(events(&again).await, events(&directory.path).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn backups_beside_a_writing_application_are_each_whole() {
    let directory = Directory::with(10).await;
    let store = directory.open();
    let (dest, mut last) = (beside(&directory, "backup"), 10);
    for round in 0..8 {
        let (from, to) = (11 + round * 100, 110 + round * 100);
        let writing = append(&store, from..=to);
        let taking = async {
            tokio::task::block_in_place(|| {
                let (exit, report) = backup(&directory, &dest);
                assert_eq!(exit, 0, "{report}");
                report["commit"].as_u64().unwrap()
            })
        };
        let ((), commit) = futures::join!(writing, taking);
        assert!(
            commit >= last,
            "what was acknowledged before is in it: {commit}"
        );
        let (exit, verified) = json("verify", &dest, &[]);
        assert_eq!(
            (exit, &verified[0]["commits"]),
            (0, &commit.into()),
            "{verified:?}"
        );
        last = to;
    }
    store.close().await;
}

#[tokio::test]
async fn a_damaged_source_is_named_and_leaves_the_earlier_backup() {
    let directory = Directory::with(COMMITS).await;
    let dest = beside(&directory, "backup");
    assert_eq!(backup(&directory, &dest).0, 0);
    let before = files(&dest);
    let store = directory.open();
    append(&store, COMMITS + 1..=COMMITS + 500).await;
    store.close().await;
    drop(store);
    let (_, report) = json("stat", &directory.path, &[]).clone();
    let newest = report[0]["segments"].as_array().unwrap().len() as u64;
    damage(&directory.segment(newest - 1), 30_000);
    let ran = run([
        "backup".as_ref(),
        directory.path.as_os_str(),
        dest.as_os_str(),
    ]);
    assert_eq!(ran.exit, 1, "{ran:?}");
    assert!(
        ran.err
            .contains(&format!("{:020}.seg is damaged at byte", newest - 1)),
        "{ran:?}"
    );
    assert!(files(&dest) == before, "not one byte is another");
    let again = beside(&directory, "again");
    assert_eq!(restore(&dest, &again), 0);
    assert_eq!(events(&again).await.len() as u64, COMMITS + COMMITS / 3);
}

#[tokio::test]
async fn a_backup_that_was_cut_short_while_it_was_put_in_place_is_still_the_earlier_one() {
    let directory = Directory::with(COMMITS).await;
    let (dest, newer) = (beside(&directory, "backup"), beside(&directory, "newer"));
    assert_eq!(backup(&directory, &dest).0, 0);
    let store = directory.open();
    append(&store, COMMITS + 1..=COMMITS + 300).await;
    store.close().await;
    drop(store);
    assert_eq!(backup(&directory, &newer).0, 0);
    // Everything but the manifest has its new name.
    for entry in fs::read_dir(newer.join("journal")).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, dest.join("journal").join(path.file_name().unwrap())).unwrap();
    }
    let again = beside(&directory, "again");
    assert_eq!(restore(&dest, &again), 0);
    assert_eq!(events(&again).await.len() as u64, COMMITS + COMMITS / 3);
    let (exit, report) = backup(&directory, &dest);
    assert_eq!(
        (exit, &report["commit"]),
        (0, &(COMMITS + 300).into()),
        "{report}"
    );
    let last = beside(&directory, "last");
    assert_eq!(restore(&dest, &last), 0);
    assert_eq!(events(&last).await, events(&directory.path).await);
}

#[tokio::test]
async fn a_backup_of_another_store_ahead_or_of_another_history_is_refused_by_name() {
    let directory = Directory::with(100).await;
    let dest = beside(&directory, "backup");
    assert_eq!(backup(&directory, &dest).0, 0);
    let refused = |directory: &Directory, dest: &Path, word: &str| {
        let before = if dest.exists() {
            files(dest)
        } else {
            Vec::new()
        };
        let ran = run([
            "backup".as_ref(),
            directory.path.as_os_str(),
            dest.as_os_str(),
        ]);
        assert_eq!(ran.exit, 3, "{ran:?}");
        assert!(
            ran.err.contains(word) && ran.err.contains(dest.to_str().unwrap()),
            "{ran:?}"
        );
        assert!(files(dest) == before);
    };
    let other = Directory::with(200).await;
    refused(&other, &dest, "another store");
    refused(&directory, &other.path, "not empty and no backup");

    // The log goes back to 100 commits, and then another way.
    let old = beside(&directory, "old");
    assert_eq!(restore(&dest, &old), 0);
    let store = directory.open();
    append(&store, 101..=110).await;
    store.close().await;
    drop(store);
    assert_eq!(backup(&directory, &dest).0, 0);
    fs::remove_dir_all(&directory.path).unwrap();
    fs::rename(&old, &directory.path).unwrap();
    refused(&directory, &dest, "it is ahead");
    let store = directory.open();
    append(&store, 200..=300).await;
    store.close().await;
    drop(store);
    refused(&directory, &dest, "another history");
}

#[tokio::test]
async fn what_is_restored_is_checked_and_only_goes_where_nothing_is() {
    let directory = Directory::with(COMMITS).await;
    let (dest, again) = (beside(&directory, "backup"), beside(&directory, "again"));
    assert_eq!(backup(&directory, &dest).0, 0);
    assert_eq!(restore(&dest, &directory.path), 3, "not over what is there");
    assert_eq!(
        restore(&directory.path, &again),
        3,
        "not from what is no backup"
    );
    let segment = dest.join("journal/00000000000000000002.seg");
    for (file, at) in [
        (segment.clone(), 30_000),
        (segment.clone(), 20),
        (dest.join("manifest.json"), 200),
    ] {
        let whole = fs::read(&file).unwrap();
        damage(&file, at);
        assert_eq!(restore(&dest, &again), 1, "byte {at} of {}", file.display());
        assert!(!again.exists(), "nothing is left behind");
        fs::write(&file, &whole).unwrap();
    }
    fs::rename(&segment, beside(&directory, "aside")).unwrap();
    assert_eq!(restore(&dest, &again), 1);
    fs::rename(beside(&directory, "aside"), &segment).unwrap();
    fs::create_dir(&again).unwrap();
    assert_eq!(restore(&dest, &again), 0, "an empty directory is fine");
}

#[tokio::test]
async fn a_backup_within_the_directory_itself_is_refused() {
    let directory = Directory::with(3).await;
    for within in ["backup", "journal/deep/backup"] {
        let dest = directory.path.join(within);
        let ran = run([
            "backup",
            directory.path.to_str().unwrap(),
            dest.to_str().unwrap(),
        ]);
        assert_eq!(ran.exit, 3, "{}", ran.err);
        assert!(!dest.exists());
    }
}
