//! Every store is the log on paper, whatever is done to it, opened again in between or not.

use std::sync::Arc;

use bytes::Bytes;
use chronicler::domain::{GlobalPosition, SchemaVersion, StreamId, StreamVersion, Timestamp};
use chronicler::store::codec::CodecId;
use chronicler::store::journal::JournalOptions;
use chronicler::store::{
    Append, Direction, FactKind, FactQuery, Filter, JournalStore, MemoryStore, NewEvent,
    RecordedEvent, SideRecord, SledOptions, SledStore, Store, read_all_events, read_events,
};
use proptest::prelude::*;
use tempfile::TempDir;
use uuid::Uuid;

use crate::model::{Expecting, Model, Written};
use crate::{block_on, cases};

/// Few, so that streams grow long.
const STREAMS: u8 = 4;
/// Small, so that many begin.
const SEGMENT_BYTES: u64 = 64 << 10;

#[derive(Clone, Debug)]
enum Step {
    /// To each stream at most once.
    Append(Vec<(u8, Expecting, u8)>),
    /// The last accepted append, handed in again.
    Again,
    Fact(u8, Option<u64>),
    ReadStream {
        stream: u8,
        from: u64,
        to: u64,
        limit: usize,
        backward: bool,
    },
    ReadAll {
        from: u64,
        to: u64,
        limit: usize,
        backward: bool,
        of: Option<u8>,
    },
    OpenAgain,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let expecting = prop_oneof![
        3 => Just(Expecting::Any),
        1 => Just(Expecting::NoStream),
        1 => Just(Expecting::Exists),
        4 => prop_oneof![5 => Just(0_i8), 1 => -2..3_i8].prop_map(Expecting::At),
    ];
    let part = (0..STREAMS, expecting, 0..4_u8);
    let append = prop::collection::vec(part, 1..4).prop_map(|mut parts| {
        parts.sort_by_key(|(stream, ..)| *stream);
        parts.dedup_by_key(|(stream, ..)| *stream);
        Step::Append(parts)
    });
    let (from, to, limit) = (
        0..40_u64,
        0..60_u64,
        prop_oneof![0..5_usize, Just(usize::MAX)],
    );
    let read_stream = (
        0..STREAMS,
        from.clone(),
        to.clone(),
        limit.clone(),
        any::<bool>(),
    );
    let read_all = (from, to, limit, any::<bool>(), prop::option::of(0..STREAMS));
    let step = prop_oneof![
        8 => append,
        1 => Just(Step::Again),
        2 => (0..5_u8, prop::option::of(any::<u64>())).prop_map(|(key, value)| Step::Fact(key, value)),
        3 => read_stream.prop_map(|(stream, from, to, limit, backward)| Step::ReadStream { stream, from, to, limit, backward }),
        3 => read_all.prop_map(|(from, to, limit, backward, of)| Step::ReadAll { from, to, limit, backward, of }),
        1 => Just(Step::OpenAgain),
    ];
    prop::collection::vec(step, 1..60)
}

proptest! {
    #![proptest_config(cases(200))]
    #[test]
    fn the_memory_store_is_the_log_on_paper(steps in steps()) {
        let store = MemoryStore::new();
        run(steps, &mut || Arc::new(store.clone()))?;
    }
}

proptest! {
    #![proptest_config(cases(40))]
    #[test]
    fn the_journal_is_the_log_on_paper(steps in steps()) {
        let folder = TempDir::new()?;
        let options = || JournalOptions::default().segment_bytes(SEGMENT_BYTES);
        run(steps, &mut || Arc::new(JournalStore::open(folder.path(), options()).unwrap()))?;
    }
}

proptest! {
    #![proptest_config(cases(20))]
    #[test]
    fn the_log_in_sled_is_the_log_on_paper(steps in steps()) {
        let folder = TempDir::new()?;
        let options = || SledOptions::default().segment_bytes(SEGMENT_BYTES);
        run(steps, &mut || Arc::new(SledStore::open(folder.path(), options()).unwrap()))?;
    }
}

/// Does it all, and compares after each step.
fn run(steps: Vec<Step>, open: &mut dyn FnMut() -> Arc<dyn Store>) -> Result<(), TestCaseError> {
    block_on(async {
        let (mut store, mut model, mut says) = (open(), Model::default(), 0);
        let mut last: Option<(Append, Vec<GlobalPosition>)> = None;
        for step in steps {
            match step {
                Step::Append(parts) => {
                    let told = |(stream, expecting, count): &(u8, Expecting, u8)| {
                        (*stream, model.expected(*stream, *expecting), *count)
                    };
                    let parts: Vec<_> = parts.iter().map(told).collect();
                    model.commits += 1;
                    let append = append(model.commits, &parts, says);
                    let answer = store.append(append.clone()).await;
                    let accepted = model.append(&parts, &mut says);
                    prop_assert_eq!(answer.is_ok(), accepted, "{:?}: {:?}", parts, answer);
                    if let Ok(appended) = answer
                        && parts.iter().any(|(_, _, count)| *count > 0)
                    {
                        let places = appended
                            .parts
                            .iter()
                            .flat_map(|part| part.positions.to_vec());
                        last = Some((append, places.collect()));
                    }
                }
                Step::Again => {
                    if let Some((append, places)) = &last {
                        let answer = store.append(append.clone()).await;
                        let appended =
                            answer.map_err(|error| TestCaseError::fail(error.to_string()))?;
                        prop_assert!(appended.duplicate);
                        let found: Vec<_> = appended
                            .parts
                            .iter()
                            .flat_map(|part| part.positions.to_vec())
                            .collect();
                        prop_assert_eq!(&found, places);
                    }
                }
                Step::Fact(key, value) => {
                    model.commits += 1;
                    let record = SideRecord::Fact {
                        kind: FactKind::CURSOR,
                        key: vec![key].into(),
                        value: value.map(|value| Bytes::copy_from_slice(&value.to_be_bytes())),
                    };
                    store
                        .append(commit(model.commits).record(record))
                        .await
                        .unwrap();
                    match value {
                        Some(value) => drop(model.facts.insert(key, value)),
                        None => drop(model.facts.remove(&key)),
                    }
                    check_facts(store.as_ref(), &model).await?;
                }
                Step::ReadStream {
                    stream,
                    from,
                    to,
                    limit,
                    backward,
                } => {
                    let of = name(stream);
                    let found = read_events(
                        store.as_ref(),
                        &of,
                        StreamVersion::new(from),
                        StreamVersion::new(to),
                        limit,
                        direction(backward),
                    );
                    let found = found.await.unwrap().unwrap_or_default();
                    let wanted = |event: &&(u64, &Written)| {
                        event.1.stream == stream && (from..=to).contains(&event.1.version)
                    };
                    compare(&found, &model, wanted, limit, backward)?;
                }
                Step::ReadAll {
                    from,
                    to,
                    limit,
                    backward,
                    of,
                } => {
                    let filter = Filter {
                        stream: of.map(name),
                        ..Filter::default()
                    };
                    let found = read_all_events(
                        store.as_ref(),
                        GlobalPosition::new(from),
                        GlobalPosition::new(to),
                        filter,
                        limit,
                        direction(backward),
                    );
                    let found = found.await.unwrap();
                    let wanted = |event: &&(u64, &Written)| {
                        (from..=to).contains(&event.0) && of.is_none_or(|of| event.1.stream == of)
                    };
                    compare(&found, &model, wanted, limit, backward)?;
                }
                Step::OpenAgain => {
                    // The store in memory is the same one again.
                    if Arc::strong_count(&store) == 1 {
                        let before = store.head();
                        drop(store);
                        store = open();
                        prop_assert_eq!(store.head(), before);
                    }
                }
            }
        }
        check_all(store.as_ref(), &model).await
    })
}

async fn check_facts(store: &dyn Store, model: &Model) -> Result<(), TestCaseError> {
    let facts = store.facts(FactQuery::all(FactKind::CURSOR)).await.unwrap();
    let found = facts.iter().map(|fact| (fact.key[0], fact.value.to_vec()));
    let wanted = model
        .facts
        .iter()
        .map(|(key, value)| (*key, value.to_be_bytes().to_vec()));
    prop_assert!(found.eq(wanted));
    Ok(())
}

async fn check_all(store: &dyn Store, model: &Model) -> Result<(), TestCaseError> {
    check_facts(store, model).await?;
    prop_assert_eq!(store.head().position.get(), model.events.len() as u64);
    for stream in 0..STREAMS {
        let head = store.stream_head(&name(stream)).await.unwrap();
        prop_assert_eq!(
            head.map_or(0, |head| head.version.get()),
            model.version(stream)
        );
    }
    let found = read_all_events(
        store,
        GlobalPosition::new(1),
        GlobalPosition::MAX,
        Filter::default(),
        usize::MAX,
        Direction::Forward,
    );
    compare(&found.await.unwrap(), model, |_| true, usize::MAX, false)
}

fn compare(
    found: &[RecordedEvent],
    model: &Model,
    wanted: impl Fn(&&(u64, &Written)) -> bool,
    limit: usize,
    backward: bool,
) -> Result<(), TestCaseError> {
    let mut all: Vec<(u64, &Written)> = (1..).zip(&model.events).collect();
    if backward {
        all.reverse();
    }
    let expected = all.iter().filter(wanted).take(limit);
    let expected: Vec<_> = expected
        .map(|(position, event)| (*position, (*event).clone()))
        .collect();
    let found: Vec<_> = found
        .iter()
        .map(|event| {
            let written = Written {
                stream: event.stream.id().parse().unwrap(),
                version: event.version.get(),
                says: u64::from_be_bytes(event.payload.as_ref().try_into().unwrap()),
            };
            (event.position.get(), written)
        })
        .collect();
    prop_assert_eq!(found, expected);
    Ok(())
}

fn append(number: u64, parts: &[(u8, chronicler::store::Expected, u8)], mut says: u64) -> Append {
    let mut append = commit(number);
    for (stream, expected, count) in parts {
        let mut event = || {
            says += 1;
            NewEvent {
                id: Some(Uuid::from_u128(u128::from(says))),
                event_type: "Said".into(),
                schema_version: SchemaVersion::new(1),
                codec: CodecId::JSON,
                payload: Bytes::copy_from_slice(&says.to_be_bytes()),
                metadata: Bytes::new(),
            }
        };
        let events = (0..*count).map(|_| event()).collect();
        append = append.stream(name(*stream), *expected, events);
    }
    append
}

fn commit(number: u64) -> Append {
    Append::new(
        Uuid::from_u128(1 << 100 | u128::from(number)),
        Timestamp::from_micros(number),
    )
}

fn name(stream: u8) -> StreamId {
    StreamId::of("paper", &stream.to_string()).unwrap()
}

fn direction(backward: bool) -> Direction {
    if backward {
        Direction::Backward
    } else {
        Direction::Forward
    }
}
