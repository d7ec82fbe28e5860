//! What was appended is what is read: metadata, names, numbers, records, for ever.

use bytes::Bytes;
use chronicler_domain::{
    AggregateId, Category, ID_BYTES_MAX, LogSequence, Metadata, SchemaVersion, StreamId,
    StreamVersion, TENANT_BYTES_MAX, Tenant, Timestamp,
};
use chronicler_store::codec::CodecId;
use chronicler_store::{
    Append, Direction, Expected, FactKind, NewEvent, OutcomeRecord, OutcomeResult, RecordRef,
    SideRecord, Snapshot, StreamQuery, read_events,
};
use uuid::Uuid;

use super::failure::{Violation, ensure, equal};
use super::subject::{Subject, account, event, events, rejection, version};

pub(super) async fn j20_metadata_comes_back(subject: &Subject) -> Result<(), Violation> {
    let full = Metadata {
        correlation_id: Uuid::from_u128(11),
        causation_id: Some(Uuid::from_u128(12)),
        principal: Some("clerk 東京".into()),
        causation_depth: u16::MAX,
        extra: [("ip", "::1"), ("größe", ""), ("", "nameless")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
    };
    let given = NewEvent {
        id: Some(Uuid::from_u128(13)),
        event_type: "Opened".into(),
        schema_version: SchemaVersion::new(3),
        codec: CodecId::JSON,
        payload: Bytes::from_static(b"{}"),
        metadata: Bytes::from_static(&[0, 255]),
    };
    for (id, metadata) in [
        ("origin", Metadata::origin(Uuid::from_u128(11))),
        ("full", full),
    ] {
        let stream = account(id)?;
        let mut append = subject.commit().stream(
            stream.clone(),
            Expected::Any,
            vec![given.clone(), event("Bare", 1)],
        );
        append.metadata = metadata.clone();
        let (commit_id, appended) = (append.commit_id, subject.append(append).await?);
        let found = subject.events(&stream).await?;
        let [event, bare] = found.as_slice() else {
            return Err(Violation::new(format_args!("two events: {found:?}")));
        };
        equal("metadata of the commit", &event.commit_metadata, &metadata)?;
        let read = NewEvent {
            id: Some(event.id),
            event_type: event.event_type.clone().into(),
            schema_version: event.schema_version,
            codec: event.codec,
            payload: event.payload.clone(),
            metadata: event.metadata.clone(),
        };
        equal("the event", &read, &given)?;
        equal("metadata of the bare event", bare.metadata.len(), 0)?;
        equal(
            "its commit",
            (event.commit_id, event.sequence, event.timestamp),
            (commit_id, appended.sequence, appended.timestamp),
        )?;
    }
    Ok(())
}

pub(super) async fn j32_unicode_and_long_names_and_payloads(
    subject: &Subject,
) -> Result<(), Violation> {
    let long = |bytes: usize| "ß".repeat(bytes / 2) + if bytes % 2 == 1 { "x" } else { "" };
    let names = [
        ("größe 東京/1-a_b".to_owned(), Tenant::default()),
        ("e\u{301} 👩‍👩‍👧".to_owned(), Tenant::new("Ünïted %*?:/\\")?),
        (long(ID_BYTES_MAX), Tenant::new(long(TENANT_BYTES_MAX))?),
        ("é".to_owned(), Tenant::default()),
        ("e\u{301}".to_owned(), Tenant::default()),
    ];
    for (number, (id, tenant)) in names.iter().enumerate() {
        let category = Category::new(long(chronicler_domain::CATEGORY_BYTES_MAX))?;
        let stream = StreamId::new(tenant, &category, &AggregateId::new(id)?);
        let payload = Bytes::from(vec![number as u8; 1 << 20]);
        let given = NewEvent {
            event_type: long(255).into(),
            payload: payload.clone(),
            ..event("", 0)
        };
        let append = subject
            .commit()
            .stream(stream.clone(), Expected::NoStream, vec![given]);
        subject.append(append).await?;
        let found = subject.events(&stream).await?;
        let [event] = found.as_slice() else {
            return Err(Violation::new(format_args!("{} events", found.len())));
        };
        equal("the stream", &event.stream, &stream)?;
        equal("the type", event.event_type.len(), 255)?;
        ensure(event.payload == payload, "another payload came back")?;
    }
    Ok(())
}

pub(super) async fn j33_numbers_beyond_32_bits(subject: &Subject) -> Result<(), Violation> {
    const BEYOND: u64 = (1 << 33) + 5;
    let stream = account("large-numbers")?;
    let refused = subject
        .commit()
        .stream(stream.clone(), version(BEYOND), events(1));
    match subject.append(refused).await {
        Err(chronicler_store::AppendError::WrongExpectedVersion {
            expected, actual, ..
        }) => equal(
            "expected and actual",
            (expected, actual.get()),
            (version(BEYOND), 0),
        )?,
        other => return Err(Violation::new(format_args!("{other:?}"))),
    }
    let given = NewEvent {
        schema_version: SchemaVersion::new(u32::MAX),
        ..event("Late", usize::MAX)
    };
    let mut append = subject
        .commit()
        .stream(stream.clone(), Expected::Any, vec![given])
        .record(SideRecord::Outcome(OutcomeRecord {
            result: OutcomeResult::Reply,
            decided_at: Some(LogSequence::new(BEYOND)),
            command_hash: Some(u64::MAX),
            type_name: "Reply".into(),
            schema_version: SchemaVersion::new(u32::MAX),
            codec: CodecId::new(255),
            payload: Bytes::new(),
        }));
    append.at = Timestamp::from_micros(BEYOND << 20);
    let appended = subject.append(append).await?;
    equal("the time", appended.timestamp.as_micros(), BEYOND << 20)?;
    let found = subject.events(&stream).await?;
    equal(
        "the schema version",
        found.first().map(|event| event.schema_version.get()),
        Some(u32::MAX),
    )?;
    let commits = subject.all_commits().await?;
    let records = commits.first().into_iter().flat_map(|c| c.records());
    let kept = records.into_iter().any(|record| {
        matches!(record, RecordRef::Outcome { decided_at: Some(at), command_hash: Some(u64::MAX), .. } if at.get() == BEYOND)
    });
    ensure(kept, "the outcome did not come back")?;
    for (from, to, wanted) in [(1, BEYOND, 1), (BEYOND, u64::MAX, 0), (2, BEYOND, 0)] {
        let (from, to) = (StreamVersion::new(from), StreamVersion::new(to));
        let found = read_events(
            subject.store(),
            &stream,
            from,
            to,
            usize::MAX,
            Direction::Backward,
        );
        let found = found.await?.unwrap_or_default().len();
        equal(format_args!("versions {from} to {to}"), found, wanted)?;
    }
    Ok(())
}

pub(super) async fn j39_nothing_changes_an_event(subject: &Subject) -> Result<(), Violation> {
    let stream = account("for-ever")?;
    let first = subject
        .commit()
        .stream(stream.clone(), Expected::NoStream, events(3))
        .record(fact(Some("set")));
    let appended = subject.append(first.clone()).await?;
    let before = subject.all_commits().await?;
    subject.append(first.clone()).await?;
    let mut others: Vec<Append> = Vec::new();
    for expected in [Expected::NoStream, version(0), version(2)] {
        others.push(subject.commit().stream(stream.clone(), expected, events(3)));
    }
    let mut reused = first.clone();
    reused.parts.iter_mut().for_each(|part| {
        part.events.pop();
    });
    others.push(reused);
    for append in others {
        let refused = subject.append(append).await;
        ensure(refused.is_err(), format_args!("{refused:?}"))?;
    }
    let snapshot = Snapshot {
        version: StreamVersion::new(3),
        sequence: appended.sequence,
        commit_id: first.commit_id,
        schema_version: 1,
        payload: Bytes::from_static(b"state"),
    };
    let store = subject.store();
    store.save_snapshot(&stream, snapshot).await?;
    store.delete_snapshots(&stream, StreamVersion::MAX).await?;
    subject.is_unchanged_since(&before).await?;
    // What is appended later leaves what was there alone, too.
    subject.append(subject.commit().record(fact(None))).await?;
    subject.write(&stream, 2).await?;
    let mut now = subject.all_commits().await?;
    now.truncate(before.len());
    let same = now
        .iter()
        .zip(&before)
        .all(|(now, before)| now.as_bytes() == before.as_bytes());
    ensure(
        same && now.len() == before.len(),
        "an earlier commit changed",
    )
}

pub(super) async fn side_records_come_back(subject: &Subject) -> Result<(), Violation> {
    let stream = account("saga")?;
    let effect = SideRecord::Effect(Bytes::from_static(b"charge"));
    let append = subject
        .commit()
        .stream(stream.clone(), Expected::Any, Vec::new())
        .record(rejection())
        .record(effect)
        .record(fact(Some("due")))
        .record(fact(None));
    subject.append(append).await?;
    let query = StreamQuery {
        eventless: true,
        ..StreamQuery::new(stream)
    };
    let commits = subject.stream_commits(query).await?;
    let [commit] = commits.as_slice() else {
        return Err(Violation::new(format_args!("{} commits", commits.len())));
    };
    let fact = |value| RecordRef::Fact {
        kind: FactKind::TIMER,
        key: b"timer",
        value,
    };
    let wanted = vec![
        RecordRef::Outcome {
            result: OutcomeResult::Rejection,
            decided_at: None,
            command_hash: None,
            type_name: "Refused",
            schema_version: SchemaVersion::FIRST,
            codec: CodecId::RAW,
            payload: b"no",
        },
        RecordRef::Effect(b"charge"),
        fact(Some(b"due".as_slice())),
        fact(None),
    ];
    equal("records", commit.records().collect::<Vec<_>>(), wanted)
}

fn fact(value: Option<&'static str>) -> SideRecord {
    SideRecord::Fact {
        kind: FactKind::TIMER,
        key: Bytes::from_static(b"timer"),
        value: value.map(|text| Bytes::from_static(text.as_bytes())),
    }
}
