//! The table of expectations and repetitions, over a log that is a map of frames.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use bytes::Bytes;
use chronicler_domain::{
    GlobalPosition, LogSequence, SchemaVersion, StreamId, StreamVersion, Timestamp,
};
use uuid::Uuid;

use super::{
    LOOK_BACK_COMMITS_MAX, Past, Reach, RecentCommits, Verdict, accepted_parts, judge,
    recorded_parts,
};
use crate::append::{Append, AppendResult, Appended, Expected, NewEvent, Positions};
use crate::codec::CodecId;
use crate::error::{AppendError, ReadError};
use crate::frame::{FramePlace, OutcomeRecord, OutcomeResult, RecordedCommit, SideRecord, encode};
use crate::index::HeadRow;

#[derive(Default)]
struct Frames(BTreeMap<u64, RecordedCommit>);

impl Past for Frames {
    fn commit_at(&self, log_offset: u64) -> Result<RecordedCommit, ReadError> {
        Ok(self.0[&log_offset].clone())
    }
}

/// The smallest log that can judge.
struct Model {
    frames: Frames,
    /// How far back it is looked, and how often that was not enough to tell.
    reach: usize,
    went_on: usize,
    heads: HashMap<String, HeadRow>,
    recent: RecentCommits,
    end: u64,
    events: u64,
}

impl Default for Model {
    fn default() -> Self {
        Self {
            frames: Frames::default(),
            reach: LOOK_BACK_COMMITS_MAX,
            went_on: 0,
            heads: HashMap::new(),
            recent: RecentCommits::default(),
            end: 0,
            events: 0,
        }
    }
}

impl Model {
    fn append(&mut self, append: &Append) -> AppendResult {
        let heads: Vec<_> = append
            .parts
            .iter()
            .map(|part| self.heads.get(part.stream.key()).copied())
            .collect();
        let reach = Reach::commits(self.reach);
        match judge(append, &heads, &self.frames, &mut self.recent, reach)? {
            Verdict::Repetition(original) => return Ok(original),
            Verdict::FurtherBack(refusal) => {
                self.went_on += 1;
                return Err(refusal);
            }
            Verdict::New => {}
        }
        let sequence = LogSequence::new(self.frames.0.len() as u64 + 1);
        let first_position = GlobalPosition::new(self.events + 1);
        let parts = accepted_parts(append, &heads, first_position);
        let mut places = Vec::new();
        for (((part, placed), head), recorded) in append
            .parts
            .iter()
            .zip(&parts)
            .zip(&heads)
            .zip(recorded_parts(append))
        {
            places
                .push(recorded.then_some((placed.first_version, head.map(|head| head.log_offset))));
            self.events += part.events.len() as u64;
            if recorded {
                let row = HeadRow {
                    version: placed.last_version,
                    sequence,
                    log_offset: self.end,
                    commit_id: append.commit_id,
                    first_at: append.at,
                    last_at: append.at,
                };
                self.heads.insert(part.stream.key().to_owned(), row);
            }
        }
        let place = FramePlace {
            previous_checksum: 0,
            sequence,
            first_position,
            timestamp: append.at,
            log_offset: self.end,
            parts: &places,
        };
        let mut frame = Vec::new();
        encode(append, &place, &mut frame).unwrap();
        let frame = Bytes::from(frame);
        self.frames
            .0
            .insert(self.end, RecordedCommit::parse(&frame, self.end).unwrap());
        self.end += frame.len() as u64;
        Ok(Appended {
            sequence,
            timestamp: append.at,
            parts,
            duplicate: false,
        })
    }

    fn version(&self, id: &str) -> u64 {
        self.heads
            .get(alice(id).key())
            .map_or(0, |head| head.version.get())
    }
}

fn alice(id: &str) -> StreamId {
    StreamId::of("account", id).unwrap()
}

fn event(event_type: &'static str, id: Option<u128>) -> NewEvent {
    NewEvent {
        id: id.map(Uuid::from_u128),
        event_type: event_type.into(),
        schema_version: SchemaVersion::FIRST,
        codec: CodecId::RAW,
        payload: Bytes::from_static(b"payload"),
        metadata: Bytes::new(),
    }
}

fn commit(id: u128) -> Append {
    Append::new(Uuid::from_u128(id), Timestamp::from_micros(1))
}

fn version(version: u64) -> Expected {
    Expected::Version(StreamVersion::new(version))
}

fn decided(version: u64, commit: Option<u128>) -> Expected {
    Expected::Decided {
        version: StreamVersion::new(version),
        commit_id: commit.map(Uuid::from_u128),
    }
}

fn outcome() -> SideRecord {
    SideRecord::Outcome(OutcomeRecord {
        result: OutcomeResult::Rejection,
        decided_at: None,
        command_hash: None,
        type_name: "No".into(),
        schema_version: SchemaVersion::FIRST,
        codec: CodecId::RAW,
        payload: Bytes::new(),
    })
}

#[test]
fn j25_the_idempotency_table_of_the_field() {
    let shared = std::env::var_os("CHRONICLER_SHARED").map(PathBuf::from);
    let shared =
        shared.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared"));
    let Ok(text) = std::fs::read_to_string(shared.join("vectors/append_matrix.json")) else {
        println!(
            "skipped: there is no append_matrix.json under {}",
            shared.display()
        );
        return;
    };
    let table: serde_json::Value = serde_json::from_str(&text).unwrap();
    let cases = table["cases"].as_array().unwrap();
    for case in cases {
        let mut model = Model::default();
        let (mut last, mut commits) = (None, 1_000);
        for step in case["steps"].as_array().unwrap() {
            let ids = step[1].as_array().unwrap().iter();
            let events = ids
                .map(|id| event("Happened", Some(u128::from(id.as_u64().unwrap()) + 1)))
                .collect();
            let expected = match step[2].as_str() {
                Some("any") => Expected::Any,
                Some("no_stream") => Expected::NoStream,
                _ => version(step[2].as_u64().unwrap() + 1),
            };
            commits += 1;
            last = Some(model.append(&commit(commits).stream(alice("a"), expected, events)));
        }
        let (name, expect) = (&case["name"], &case["expect"]);
        if expect["error"].is_string() {
            assert!(
                matches!(last, Some(Err(AppendError::WrongExpectedVersion { .. }))),
                "{name}: {last:?}"
            );
        } else {
            assert!(matches!(last, Some(Ok(_))), "{name}: {last:?}");
            assert_eq!(
                model.version("a"),
                expect["count"].as_u64().unwrap(),
                "{name}"
            );
        }
    }
    assert_eq!(cases.len(), 14);
}

#[test]
fn j22_each_expectation_right_and_wrong_on_a_missing_and_an_existing_stream() {
    let missing = [
        (Expected::Any, true),
        (Expected::NoStream, true),
        (Expected::Exists, false),
        (version(0), true),
        (version(1), false),
        (decided(0, None), true),
        (decided(0, Some(1)), false),
    ];
    let existing = [
        (Expected::Any, true),
        (Expected::NoStream, false),
        (Expected::Exists, true),
        (version(1), true),
        (version(0), false),
        (version(2), false),
        (decided(1, Some(1)), true),
        (decided(1, Some(2)), false),
        (decided(0, None), false),
    ];
    for (table, exists) in [(&missing[..], false), (&existing[..], true)] {
        for (expected, accepted) in table {
            let mut model = Model::default();
            if exists {
                model
                    .append(&commit(1).stream(
                        alice("a"),
                        Expected::Any,
                        vec![event("Opened", None)],
                    ))
                    .unwrap();
            }
            let result =
                model.append(&commit(9).stream(alice("a"), *expected, vec![event("Closed", None)]));
            assert_eq!(
                result.is_ok(),
                *accepted,
                "{expected:?} with a stream: {exists}: {result:?}"
            );
        }
    }
}

#[test]
fn a_commit_id_that_lies_there_is_a_repetition_or_reused() {
    for expected in [Expected::NoStream, Expected::Any, decided(0, None)] {
        let first = commit(1).stream(
            alice("a"),
            expected,
            vec![event("Opened", None), event("Named", None)],
        );
        let mut model = Model::default();
        let original = model.append(&first).unwrap();
        model
            .append(&commit(2).stream(alice("a"), version(2), vec![event("Closed", None)]))
            .unwrap();
        let again = model.append(&first).unwrap();
        assert!(
            again.duplicate && again.parts == original.parts && again.sequence == original.sequence
        );
        let other = commit(1).stream(alice("a"), expected, vec![event("Opened", None)]);
        assert!(
            matches!(model.append(&other), Err(AppendError::IdReused { .. })),
            "{expected:?}"
        );
        let mut other = first.clone();
        other.parts[0].events[1].payload = Bytes::from_static(b"another");
        assert!(
            matches!(model.append(&other), Err(AppendError::IdReused { .. })),
            "{expected:?}"
        );
        assert_eq!(model.version("a"), 3);
    }
}

#[test]
fn a24_a_foreign_append_fences_what_was_decided_before_it() {
    let mut model = Model::default();
    model
        .append(&commit(1).stream(alice("a"), decided(0, None), vec![event("Opened", None)]))
        .unwrap();
    model
        .append(&commit(7).stream(alice("a"), Expected::Any, vec![event("Foreign", None)]))
        .unwrap();
    let late = commit(2).stream(alice("a"), decided(1, Some(1)), vec![event("Closed", None)]);
    assert!(matches!(
        model.append(&late),
        Err(AppendError::WrongExpectedVersion { .. })
    ));
    // The version is the one expected, but by another commit.
    let late = commit(3).stream(alice("a"), decided(2, Some(2)), vec![event("Closed", None)]);
    match model.append(&late) {
        Err(AppendError::Fenced {
            actual, decided_on, ..
        }) => {
            assert_eq!(
                (actual, decided_on),
                (Some(Uuid::from_u128(7)), Some(Uuid::from_u128(2)))
            );
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_outcome_without_events_moves_the_fence_and_is_recognised() {
    let mut model = Model::default();
    let rejection = commit(5)
        .stream(alice("a"), decided(0, None), Vec::new())
        .record(outcome());
    assert!(!model.append(&rejection).unwrap().duplicate);
    assert_eq!(model.version("a"), 0);
    assert!(model.append(&rejection).unwrap().duplicate);
    let stale = commit(6).stream(alice("a"), decided(0, None), vec![event("Opened", None)]);
    assert!(matches!(
        model.append(&stale),
        Err(AppendError::Fenced { .. })
    ));
    let fresh = commit(6).stream(alice("a"), decided(0, Some(5)), vec![event("Opened", None)]);
    model.append(&fresh).unwrap();
    assert!(
        model.append(&rejection).unwrap().duplicate,
        "the outcome lies before the event now"
    );
    assert_eq!(model.version("a"), 1);
}

#[test]
fn j40_a_commit_over_two_streams_is_repeated_whole_or_refused() {
    let both = |id, expected| {
        commit(id)
            .stream(alice("a"), expected, vec![event("Sent", None)])
            .stream(alice("b"), expected, vec![event("Received", None)])
    };
    let mut model = Model::default();
    let original = model.append(&both(1, Expected::NoStream)).unwrap();
    let again = model.append(&both(1, Expected::NoStream)).unwrap();
    assert!(again.duplicate && again.parts == original.parts);
    let checked = commit(2)
        .stream(alice("a"), version(1), vec![event("Sent", None)])
        .stream(alice("b"), version(7), Vec::new());
    assert!(matches!(
        model.append(&checked),
        Err(AppendError::WrongExpectedVersion { .. })
    ));
    let half = commit(1)
        .stream(alice("a"), Expected::NoStream, vec![event("Sent", None)])
        .stream(
            alice("c"),
            Expected::NoStream,
            vec![event("Received", None)],
        );
    assert!(model.append(&half).is_err());
    assert_eq!((model.version("a"), model.version("c")), (1, 0));
}

#[test]
fn events_in_several_commits_are_found_with_scattered_positions() {
    let mut model = Model::default();
    model
        .append(&commit(1).stream(alice("a"), Expected::NoStream, vec![event("One", Some(1))]))
        .unwrap();
    model
        .append(&commit(2).stream(alice("b"), Expected::NoStream, vec![event("Else", None)]))
        .unwrap();
    model
        .append(&commit(3).stream(alice("a"), version(1), vec![event("Two", Some(2))]))
        .unwrap();
    for expected in [Expected::NoStream, Expected::Any] {
        let both = vec![event("One", Some(1)), event("Two", Some(2))];
        let found = model
            .append(&commit(9).stream(alice("a"), expected, both))
            .unwrap();
        let positions = [1, 3].map(GlobalPosition::new).to_vec();
        assert_eq!(found.parts[0].positions, Positions::Scattered(positions));
        assert_eq!(found.sequence, LogSequence::new(1));
    }
    let overlap = vec![event("Two", Some(2)), event("Three", Some(3))];
    let overlap = commit(10).stream(alice("a"), Expected::Any, overlap);
    assert!(matches!(
        model.append(&overlap),
        Err(AppendError::WrongExpectedVersion { .. })
    ));
}

#[test]
fn w6_what_lies_further_back_than_was_looked_is_told_apart_from_what_is_not_there() {
    let mut model = Model::default();
    let append = |n: u128, expected| {
        let append = Append::new(Uuid::from_u128(n), Timestamp::EPOCH);
        append.stream(alice("long"), expected, vec![event("Happened", None)])
    };
    let at = |version| Expected::Version(StreamVersion::new(version));
    for n in 0..100 {
        model.append(&append(n + 1, at(n as u64))).unwrap();
    }
    model.reach = 10;
    // Near: found, or known not to be there.
    assert!(model.append(&append(95, at(94))).unwrap().duplicate);
    model.append(&append(999, at(94))).unwrap_err();
    assert_eq!(model.went_on, 0);
    // Far: nobody knows yet, whether it is there or not.
    model.append(&append(1, at(0))).unwrap_err();
    model.append(&append(999, Expected::NoStream)).unwrap_err();
    assert_eq!(model.went_on, 2);
    // A version that the stream has not reached needs no look.
    model.append(&append(999, at(200))).unwrap_err();
    assert_eq!(model.went_on, 2);
    model.reach = LOOK_BACK_COMMITS_MAX;
    assert!(model.append(&append(1, at(0))).unwrap().duplicate);
    model.append(&append(999, Expected::NoStream)).unwrap_err();
    assert_eq!(model.went_on, 2);
}
