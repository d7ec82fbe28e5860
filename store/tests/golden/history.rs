//! The commits whose bytes are kept: one of each kind that a frame has a place for, as the history of one log.

use bytes::Bytes;
use chronicler_domain::{AggregateId, Category};
use chronicler_domain::{LogSequence, SchemaVersion, StreamId, Tenant, Timestamp};
use chronicler_store::codec::CodecId;
use chronicler_store::{
    Append, Expected, FactKind, NewEvent, OutcomeRecord, OutcomeResult, SideRecord,
};
use uuid::Uuid;

/// One commit, and what the log adds to it.
pub(crate) struct Written {
    pub(crate) name: &'static str,
    pub(crate) append: Append,
    /// When it is accepted: as it was decided, but never before the commit before.
    pub(crate) timestamp: u64,
    /// The position of its first event, or of the next one.
    pub(crate) first_position: u64,
    /// For each stream of the append: its first version here, and which commit (by number) holds its part
    /// before. `None`: it was only checked.
    pub(crate) parts: &'static [Option<(u64, Option<usize>)>],
}

const NOON: u64 = 1_700_000_000_000_000;

/// The whole history, in order.
pub(crate) fn history() -> Vec<Written> {
    vec![
        single_event(),
        several_events_with_metadata(),
        several_streams(),
        rejection_without_events(),
        facts(),
        effects(),
    ]
}

fn single_event() -> Written {
    let deposited = event("Deposited", CodecId::BINCODE, 1, b"\xfb\xd0\x07");
    Written {
        name: "single_event",
        append: commit(1, NOON).stream(alice(), Expected::NoStream, vec![deposited]),
        timestamp: NOON,
        first_position: 1,
        parts: &[Some((1, None))],
    }
}

fn several_events_with_metadata() -> Written {
    let with_id = NewEvent {
        id: Some(Uuid::from_u128(0x0e)),
        ..event("Withdrawn", CodecId::JSON, 300, br#"{"cents":5}"#)
    };
    let with_both = NewEvent {
        id: Some(Uuid::from_u128(0x0f)),
        metadata: Bytes::from_static(b"own"),
        ..event("Deposited", CodecId::RAW, 1, b"")
    };
    let plain = event("Closed", CodecId::BINCODE, 2, &[b'x'; 130]);
    let events = vec![with_id, with_both, plain];
    let expected = Expected::Version(1.into());
    let mut append = commit(2, NOON + 1).stream(alice(), expected, events);
    append.metadata.correlation_id = Uuid::from_u128(0xc0);
    append.metadata.causation_id = Some(Uuid::from_u128(0xca));
    append.metadata.principal = Some("clerk".into());
    append.metadata.causation_depth = 200;
    let extra = [("ip", "::1"), ("naïve", "ünïcode")];
    let extra = extra.map(|(name, value)| (name.to_owned(), value.to_owned()));
    append.metadata.extra.extend(extra);
    Written {
        name: "several_events_with_metadata",
        append,
        timestamp: NOON + 1,
        first_position: 2,
        parts: &[Some((2, Some(0)))],
    }
}

fn several_streams() -> Written {
    let opened = || event("Opened", CodecId::BINCODE, 1, b"\x01");
    let decided = Expected::Decided {
        version: 4.into(),
        commit_id: Some(Uuid::from_u128(2)),
    };
    Written {
        name: "several_streams",
        append: commit(3, NOON + 2)
            .stream(of_tenant("acme", "zoë"), Expected::Any, vec![opened()])
            .stream(of_tenant("", "carol"), Expected::NoStream, Vec::new())
            .stream(alice(), decided, vec![opened(), opened()]),
        timestamp: NOON + 2,
        first_position: 5,
        parts: &[Some((1, None)), None, Some((5, Some(1)))],
    }
}

fn rejection_without_events() -> Written {
    let rejection = outcome(OutcomeResult::Rejection, "NotEnough", None, Some(u64::MAX));
    Written {
        name: "rejection_without_events",
        // The clock had gone back.
        append: commit(4, NOON)
            .stream(alice(), Expected::Version(6.into()), Vec::new())
            .record(rejection),
        timestamp: NOON + 2,
        first_position: 8,
        parts: &[Some((7, Some(2)))],
    }
}

fn facts() -> Written {
    let own = FactKind::new(FactKind::APPLICATION_FIRST).unwrap();
    Written {
        name: "facts",
        append: commit(5, NOON + 3)
            .record(fact(FactKind::CURSOR, b"mailer", Some(b"\x07")))
            .record(fact(FactKind::PAUSE, b"mailer", Some(b"by hand")))
            .record(fact(FactKind::PAUSE, b"mailer", None))
            .record(fact(own, b"", Some(b""))),
        timestamp: NOON + 3,
        first_position: 8,
        parts: &[],
    }
}

fn effects() -> Written {
    let saga = StreamId::of("saga-order", "o-1").unwrap();
    let started = event("$Started", CodecId::BINCODE, 1, b"\x01");
    let due = [&(NOON + 60_000_000).to_be_bytes(), b"o-1".as_slice()].concat();
    let reply = outcome(
        OutcomeResult::Reply,
        "Reply",
        Some(LogSequence::new(3)),
        None,
    );
    Written {
        name: "effects",
        append: commit(6, NOON + 4)
            .stream(saga, Expected::NoStream, vec![started])
            .record(reply)
            .record(SideRecord::Effect(Bytes::from_static(b"reserve")))
            .record(SideRecord::Effect(Bytes::new()))
            .record(fact(FactKind::TIMER, &due, Some(b"")))
            .record(fact(FactKind::OPEN_SAGA, b"order\0\0o-1", Some(b"\x01"))),
        timestamp: NOON + 4,
        first_position: 8,
        parts: &[Some((1, None))],
    }
}

fn commit(number: u128, at: u64) -> Append {
    Append::new(Uuid::from_u128(number), Timestamp::from_micros(at))
}

fn alice() -> StreamId {
    of_tenant("", "alice")
}

fn of_tenant(tenant: &str, id: &str) -> StreamId {
    let tenant = Tenant::try_from(tenant.to_owned()).unwrap();
    let category = Category::new("account").unwrap();
    StreamId::new(&tenant, &category, &AggregateId::new(id).unwrap())
}

fn event(event_type: &'static str, codec: CodecId, schema: u32, payload: &[u8]) -> NewEvent {
    NewEvent {
        id: None,
        event_type: event_type.into(),
        schema_version: SchemaVersion::new(schema),
        codec,
        payload: Bytes::copy_from_slice(payload),
        metadata: Bytes::new(),
    }
}

fn outcome(
    result: OutcomeResult,
    type_name: &str,
    decided_at: Option<LogSequence>,
    command_hash: Option<u64>,
) -> SideRecord {
    SideRecord::Outcome(OutcomeRecord {
        result,
        decided_at,
        command_hash,
        type_name: type_name.to_owned(),
        schema_version: SchemaVersion::FIRST,
        codec: CodecId::BINCODE,
        payload: Bytes::from_static(b"\x2a"),
    })
}

fn fact(kind: FactKind, key: &[u8], value: Option<&[u8]>) -> SideRecord {
    SideRecord::Fact {
        kind,
        key: Bytes::copy_from_slice(key),
        value: value.map(Bytes::copy_from_slice),
    }
}
