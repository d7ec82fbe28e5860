//! `export` writes everything that a log holds, and `import` makes the same log of it again.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use bytes::Bytes;
use chronicler_domain::{LogSequence, Metadata, SchemaVersion, StreamId, Timestamp};
use chronicler_store::codec::CodecId;
use chronicler_store::journal::JournalReader;
use chronicler_store::{
    Append, EventLog, Expected, FactKind, OutcomeRecord, OutcomeResult, SideRecord, Start,
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::directory::{Directory, NOON, damage, event, events};
use crate::tool::{command, json as run_json, run};

/// A directory with one of everything that a frame can hold, among others.
async fn rich() -> Directory {
    let directory = Directory::with(200).await;
    let store = directory.open();
    for (number, append) in (1_000..).zip(rich_commits()) {
        let at = Timestamp::from_micros(NOON + number * 1_000_000 + 7);
        store.append(Append { at, ..append }).await.unwrap();
    }
    store.close().await;
    directory
}

fn rich_commits() -> Vec<Append> {
    let stream = |key: &str| StreamId::from_key(key).unwrap();
    let new = |number: u128| Append::new(Uuid::from_u128(number << 64), Timestamp::EPOCH);
    let mut both = event("Sent", CodecId::JSON, Bytes::from_static(b"\xff not text"));
    both.id = Some(Uuid::from_u128(99));
    both.metadata = Bytes::from_static(b"\0own");
    both.schema_version = SchemaVersion::new(7);
    let spaced = event("Sent", CodecId::JSON, Bytes::from_static(b"{ \"a\":\n 1 }"));
    let odd = event("Odd", CodecId::new(200), Bytes::new());
    let mut caused = new(1)
        .stream(
            stream("acme\0account\0a"),
            Expected::Any,
            vec![both, spaced],
        )
        .stream(stream("\0account\0b/c:d \u{e4}"), Expected::Any, vec![odd]);
    caused.metadata = Metadata {
        correlation_id: Uuid::from_u128(5),
        causation_id: Some(Uuid::from_u128(6)),
        principal: Some("ann".into()),
        causation_depth: 3,
        extra: [("k\n".to_owned(), "v\"".to_owned())].into(),
    };
    let outcome = |result, codec, payload: &'static [u8]| {
        SideRecord::Outcome(OutcomeRecord {
            result,
            decided_at: Some(LogSequence::new(3)),
            command_hash: Some(u64::MAX - 1),
            type_name: "Refused".to_owned(),
            schema_version: SchemaVersion::new(2),
            codec,
            payload: Bytes::from_static(payload),
        })
    };
    let fact = |key: &'static [u8], value: Option<&'static [u8]>| SideRecord::Fact {
        kind: FactKind::TIMER,
        key: Bytes::from_static(key),
        value: value.map(Bytes::from_static),
    };
    vec![
        caused,
        new(2)
            .stream(stream("acme\0account\0a"), Expected::Any, Vec::new())
            .record(outcome(OutcomeResult::Rejection, CodecId::BINCODE, b"\x01")),
        new(3)
            .stream(
                stream("acme\0account\0a"),
                Expected::Any,
                vec![event("Sent", CodecId::RAW, Bytes::from_static(b"x"))],
            )
            .record(outcome(OutcomeResult::Reply, CodecId::JSON, b"null"))
            .record(SideRecord::Effect(Bytes::from_static(b"do it")))
            .record(fact(b"\0key", Some(b""))),
        new(4).record(fact(b"\0key", None)),
    ]
}

/// The bytes of every commit.
fn frames(path: &Path) -> Vec<Bytes> {
    let reader = JournalReader::open(path).unwrap();
    let commits = reader.commits(Start::Sequence(LogSequence::ZERO));
    commits
        .map(|commit| commit.unwrap().as_bytes().clone())
        .collect()
}

fn export(directory: &Path, file: &Path) -> i32 {
    run_json("export", directory, &[file.to_str().unwrap()]).0
}

fn import(directory: &Path, file: &Path) -> i32 {
    run_json("import", directory, &[file.to_str().unwrap()]).0
}

fn beside(directory: &Directory, name: &str) -> PathBuf {
    directory.path.with_file_name(name)
}

#[tokio::test]
async fn an_import_has_the_same_commits_byte_for_byte_under_a_new_store_id() {
    let directory = rich().await;
    let (file, again) = (beside(&directory, "log.jsonl"), beside(&directory, "again"));
    assert_eq!(export(&directory.path, &file), 0);
    assert_eq!(import(&again, &file), 0);
    let (exit, verified) = run_json("verify", &again, &[]);
    assert_eq!(exit, 0, "{verified:?}");
    // Positions, sequences, times, versions, ids, links to the part before: all of it is in the frames.
    assert_eq!(frames(&again), frames(&directory.path));
    let (_, before) = run_json("stat", &directory.path, &[]);
    assert_ne!(verified[0]["store"], before[0]["store"]);
    let second = beside(&directory, "again.jsonl");
    assert_eq!(export(&again, &second), 0);
    assert!(fs::read(&file).unwrap() == fs::read(&second).unwrap());
    // And a store takes it.
    assert_eq!(events(&again).await, events(&directory.path).await);
    assert_eq!(run_json("verify", &again, &[]).0, 0);
}

#[tokio::test]
async fn standard_output_and_standard_input_do_as_well_as_files() {
    let directory = rich().await;
    let (file, again) = (beside(&directory, "log.jsonl"), beside(&directory, "again"));
    assert_eq!(export(&directory.path, &file), 0);
    let printed = run(["export".as_ref(), directory.path.as_os_str()]);
    assert_eq!(printed.exit, 0);
    assert!(printed.out.into_bytes() == fs::read(&file).unwrap());
    let mut reading = command(["import".as_ref(), again.as_os_str()]);
    let input = Stdio::from(File::open(&file).unwrap());
    assert!(reading.stdin(input).output().unwrap().status.success());
    assert_eq!(frames(&again), frames(&directory.path));
}

#[tokio::test]
async fn an_empty_log_is_exported_and_imported() {
    let directory = Directory::with(0).await;
    let (file, again) = (beside(&directory, "log.jsonl"), beside(&directory, "again"));
    assert_eq!(
        (export(&directory.path, &file), import(&again, &file)),
        (0, 0)
    );
    assert_eq!(fs::metadata(&file).unwrap().len(), 0);
    assert_eq!(events(&again).await, []);
}

#[tokio::test]
async fn what_would_not_become_the_same_is_refused_with_its_line_and_nothing_is_left() {
    let directory = rich().await;
    let (file, again) = (beside(&directory, "log.jsonl"), beside(&directory, "again"));
    assert_eq!(export(&directory.path, &file), 0);
    let whole = fs::read_to_string(&file).unwrap();
    let lines: Vec<_> = whole.lines().collect();
    let refused = |content: &str, line: usize, reason: &str| {
        fs::write(&file, content).unwrap();
        let ran = run(["import".as_ref(), again.as_os_str(), file.as_os_str()]);
        assert_eq!(ran.exit, 3, "{ran:?}");
        assert!(ran.err.contains(&format!("line {line}:")), "{ran:?}");
        assert!(ran.err.contains(reason), "{reason}: {ran:?}");
        assert!(!again.exists());
    };
    let edited = |line: usize, edit: &dyn Fn(&mut Value)| {
        let mut value: Value = serde_json::from_str(lines[line - 1]).unwrap();
        edit(&mut value);
        let text = value.to_string();
        let all = lines.iter().enumerate();
        let all = all.map(|(n, old)| if n == line - 1 { &text } else { *old });
        all.map(|line| format!("{line}\n")).collect::<String>()
    };
    let last = lines.len();
    let missing = whole.replacen(&format!("{}\n", lines[4]), "", 1);
    refused(&missing, 5, "commit 6, and 5 is the next");
    refused(&whole[..whole.len() - 1], last, "cut short");
    refused(&whole[..whole.len() - 9], last, "cut short");
    refused(
        &edited(7, &|line| line["first_position"] = json!(1)),
        7,
        "position",
    );
    refused(
        &edited(7, &|line| line["time_micros"] = json!(NOON)),
        7,
        "time",
    );
    refused(
        &edited(7, &|line| line["parts"][0]["first_version"] = json!(9)),
        7,
        "version",
    );
    refused(
        &edited(7, &|line| line["parts"][0]["category"] = json!("")),
        7,
        "no name",
    );
    refused(
        &edited(7, &|line| line["more"] = json!(1)),
        7,
        "unknown field",
    );
    refused(
        &edited(7, &|line| line["parts"][0]["events"][0]["type"] = json!("")),
        7,
        "event type",
    );
    let unknown = json!([{"record": "unknown", "kind": 9, "body_hex": "00"}]);
    refused(
        &edited(7, &|line| line["records"] = unknown.clone()),
        7,
        "kind 9",
    );
    let odd = |line: &mut Value| line["parts"][0]["events"][0]["payload_hex"] = json!("abc");
    refused(&edited(8, &odd), 8, "odd");
}

#[tokio::test]
async fn nothing_is_written_over_and_a_damaged_log_leaves_no_file() {
    let directory = Directory::with(600).await;
    let file = beside(&directory, "log.jsonl");
    assert_eq!(export(&directory.path, &file), 0);
    assert_eq!(export(&directory.path, &file), 3);
    assert_eq!(import(&directory.path, &file), 3);
    fs::remove_file(&file).unwrap();
    damage(&directory.segment(2), 30_000);
    assert_eq!(export(&directory.path, &file), 1);
    assert!(!file.exists() && !beside(&directory, "log.jsonl.new").exists());
}

#[tokio::test]
async fn l5_an_export_is_written_over_nothing_and_says_what_is_in_its_way() {
    let directory = Directory::with(20).await;
    let folder = tempfile::tempdir().unwrap();
    let (file, new) = (folder.path().join("log"), folder.path().join("log.new"));
    fs::write(&new, "somebody's").unwrap();
    let arguments = [
        "export".as_ref(),
        directory.path.as_os_str(),
        file.as_os_str(),
    ];
    let ran = run(arguments);
    assert_eq!(ran.exit, 3, "{}", ran.err);
    assert!(ran.err.contains("log.new is there already"), "{}", ran.err);
    assert_eq!(fs::read_to_string(&new).unwrap(), "somebody's");
    fs::remove_file(&new).unwrap();
    let ran = run(arguments);
    assert_eq!(ran.exit, 0, "{}", ran.err);
    assert!(file.exists() && !new.exists());
}
