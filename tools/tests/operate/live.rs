//! Reading beside an application that has the directory open and writes.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};

use chronicler_store::EventLog;
use serde_json::Value;

use crate::directory::{Directory, append};
use crate::tool::{command, json};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verify_finds_nothing_wrong_while_commits_are_written_and_segments_sealed() {
    let directory = Directory::with(50).await;
    let store = directory.open();
    let done = AtomicBool::new(false);
    let verified = std::thread::scope(|scope| {
        let verifier = scope.spawn(|| {
            let (mut runs, mut last) = (0, 0);
            // At least one run after the last commit, so that the end is seen, too.
            loop {
                let is_last = done.load(Ordering::SeqCst);
                let (exit, lines) = json("verify", &directory.path, &[]);
                assert_eq!(exit, 0, "{:?}", lines[0]);
                let commits = lines[0]["commits"].as_u64().unwrap();
                assert!(commits >= last, "what was durable stays");
                assert_eq!(lines[0]["closed"], false);
                (runs, last) = (runs + 1, commits);
                if is_last {
                    return (runs, last);
                }
            }
        });
        tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(append(&store, 51..=1_500));
        });
        done.store(true, Ordering::SeqCst);
        verifier.join().unwrap()
    });
    assert!(verified.0 > 1);
    assert_eq!(verified.1, 1_500, "every acknowledged commit is seen");
    store.close().await;
}

#[tokio::test]
async fn tail_follows_what_becomes_durable() {
    let directory = Directory::with(3).await;
    let store = directory.open();
    let mut tail = command(["--json", "tail", "-f", "-n", "2"]);
    let mut tail = tail
        .arg(&directory.path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(tail.stdout.take().unwrap()).lines();
    let mut position = move || {
        let line: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        line["position"].as_u64().unwrap()
    };
    assert_eq!([position(), position()], [3, 4]);
    // Over several segments.
    append(&store, 4..=400).await;
    let last = store.head().position.get();
    for wanted in 5..=last {
        assert_eq!(position(), wanted);
    }
    append(&store, 401..=401).await;
    assert_eq!(position(), last + 1);
    tail.kill().unwrap();
    tail.wait().unwrap();
}

#[tokio::test]
async fn a_directory_that_was_not_closed_is_read_up_to_its_marker() {
    let directory = Directory::with(0).await;
    let store = directory.open();
    append(&store, 1..=40).await;
    let copy = Directory::none();
    // As after a kill: nothing is closed, and the marker was written after the last sync.
    copy_tree(&directory.path, &copy.path);
    let (exit, lines) = json("verify", &copy.path, &[]);
    assert_eq!(exit, 0, "{:?}", lines[0]);
    assert_eq!(lines[0]["commits"], 40);
    assert_eq!(lines[0]["closed"], false);
    let (exit, lines) = json("events", &copy.path, &["--stream", "account/a1"]);
    assert_eq!((exit, lines.len()), (0, 5));
}

fn copy_tree(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to.join("journal")).unwrap();
    std::fs::copy(from.join("format"), to.join("format")).unwrap();
    for file in std::fs::read_dir(from.join("journal")).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), to.join("journal").join(file.file_name())).unwrap();
    }
}
