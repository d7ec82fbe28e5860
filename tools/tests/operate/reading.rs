//! `stat`, `streams`, `events` and `tail` give what the store gives.

use std::collections::BTreeMap;

use chronicler_domain::{GlobalPosition, Timestamp};
use chronicler_store::{Direction, Filter, RecordedEvent, read_all_events};
use serde_json::Value;

use crate::directory::{Directory, NOON};
use crate::tool::{json, run};

const COMMITS: u64 = 300;

/// All events, as the store itself reads them.
async fn all(directory: &Directory) -> Vec<RecordedEvent> {
    let (from, to) = (GlobalPosition::new(1), GlobalPosition::MAX);
    let store = directory.open();
    read_all_events(
        &store,
        from,
        to,
        Filter::default(),
        usize::MAX,
        Direction::Forward,
    )
    .await
    .unwrap()
}

fn positions(lines: &[Value]) -> Vec<u64> {
    lines
        .iter()
        .map(|line| line["position"].as_u64().unwrap())
        .collect()
}

#[tokio::test]
async fn every_event_is_printed_as_it_was_recorded() {
    let directory = Directory::with(COMMITS).await;
    let recorded = all(&directory).await;
    let (exit, lines) = json("events", &directory.path, &[]);
    assert_eq!(exit, 0);
    assert_eq!(lines.len(), recorded.len());
    for (line, event) in lines.iter().zip(&recorded) {
        assert_eq!(line["position"], event.position.get());
        assert_eq!(line["commit"], event.sequence.get());
        assert_eq!(line["stream"], event.stream.to_string());
        assert_eq!(line["version"], event.version.get());
        assert_eq!(line["time"], event.timestamp.to_string());
        assert_eq!(line["event_id"], event.id.to_string());
        assert_eq!(line["commit_id"], event.commit_id.to_string());
        assert_eq!(line["type"], event.event_type);
        if event.event_type == "Placed" {
            let payload: Value = serde_json::from_slice(&event.payload).unwrap();
            assert_eq!(line["payload"], payload);
        } else {
            let hex = line["payload_hex"].as_str().unwrap();
            assert_eq!(hex.len(), event.payload.len() * 2);
            assert!(hex.starts_with(if event.event_type == "Paid" {
                "abab"
            } else {
                "0707"
            }));
        }
    }
}

#[tokio::test]
async fn events_are_chosen_by_stream_category_type_position_time_and_correlation() {
    let directory = Directory::with(COMMITS).await;
    let recorded = all(&directory).await;
    let since = Timestamp::from_micros(NOON + 200 * 1_000_000);
    let choose = |arguments: &[&str], wanted: &dyn Fn(&RecordedEvent) -> bool| {
        let (exit, lines) = json("events", &directory.path, arguments);
        let wanted = recorded.iter().filter(|event| wanted(event));
        let wanted: Vec<_> = wanted.map(|event| event.position.get()).collect();
        assert_eq!(
            (exit, positions(&lines)),
            (0, wanted.clone()),
            "{arguments:?}"
        );
        assert!(!wanted.is_empty(), "{arguments:?} finds something");
    };
    choose(&["--stream", "account/a3"], &|event| {
        event.stream.to_string() == "account/a3"
    });
    choose(&["--stream", "order/o0", "--from", "100"], &|event| {
        event.stream.to_string() == "order/o0" && event.position.get() >= 100
    });
    choose(&["--category", "order"], &|event| {
        event.stream.category() == "order"
    });
    choose(&["--type", "Paid"], &|event| event.event_type == "Paid");
    choose(&["--from", "8", "--to", "9"], &|event| {
        (8..=9).contains(&event.position.get())
    });
    choose(&["--since", &since.to_string()], &|event| {
        event.timestamp >= since
    });
    choose(
        &["--since", &since.to_string(), "--stream", "order/o1"],
        &|event| event.timestamp >= since && event.stream.to_string() == "order/o1",
    );
    let correlation = recorded[90].commit_metadata.correlation_id;
    choose(&["--correlation", &correlation.to_string()], &|event| {
        event.commit_metadata.correlation_id == correlation
    });
    choose(&["--limit", "7"], &|event| event.position.get() <= 7);
    let (exit, lines) = json("events", &directory.path, &["--stream", "account/nobody"]);
    assert_eq!((exit, lines.len()), (0, 0));
}

#[tokio::test]
async fn streams_are_listed_with_their_versions() {
    let directory = Directory::with(COMMITS).await;
    let mut versions = BTreeMap::new();
    for event in all(&directory).await {
        versions.insert(event.stream.to_string(), event.version.get());
    }
    let (exit, lines) = json("streams", &directory.path, &[]);
    assert_eq!(exit, 0);
    let listed: BTreeMap<_, _> = lines
        .iter()
        .map(|line| {
            let stream = line["stream"].as_str().unwrap().to_owned();
            (stream, line["version"].as_u64().unwrap())
        })
        .collect();
    assert_eq!(listed, versions);
    let more = ["--category", "order", "--prefix", "o1"];
    let (_, lines) = json("streams", &directory.path, &more);
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["id"], "o1");
}

#[tokio::test]
async fn stat_says_where_the_log_ends_and_counts() {
    let directory = Directory::with(COMMITS).await;
    let (exit, lines) = json("stat", &directory.path, &["--counts"]);
    assert_eq!(exit, 0);
    assert_eq!(lines[0]["commit"], COMMITS);
    let counts = &lines[0]["counts"];
    assert_eq!(counts["commits"], COMMITS);
    assert_eq!(counts["categories"]["order"]["Paid"], COMMITS / 3);
    let segments = lines[0]["segments"].as_array().unwrap();
    let bytes: u64 = segments
        .iter()
        .map(|s| s["frame_bytes"].as_u64().unwrap())
        .sum();
    assert_eq!(lines[0]["log_bytes"], bytes);
    let text = run(["stat".as_ref(), directory.path.as_os_str()]);
    assert!(text.out.contains("position 400"), "{}", text.out);
}

#[tokio::test]
async fn tail_prints_the_newest_and_damage_ends_a_read_with_1() {
    let directory = Directory::with(COMMITS).await;
    let (exit, lines) = json("tail", &directory.path, &["-n", "3"]);
    assert_eq!((exit, positions(&lines)), (0, vec![398, 399, 400]));

    let mut bytes = std::fs::read(directory.segment(2)).unwrap();
    bytes[20_000] ^= 1;
    std::fs::write(directory.segment(2), bytes).unwrap();
    let ran = run(["events".as_ref(), directory.path.as_os_str()]);
    assert_eq!(ran.exit, 1);
    assert!(ran.err.contains("is damaged at byte"), "{}", ran.err);
    assert!(
        ran.out.lines().count() > 50,
        "what lies before it is printed"
    );
}
