//! The bytes of entries.

use std::time::Duration;

use chronicler_domain::LogSequence;
use chronicler_store::codec::{CodecId, EventDecoder, PayloadCodec, encode_event};
use chronicler_store::hex;

use super::*;
use crate::definition::terms::{Orphan, Tries};

/// One of each shape that is on disk, in the order of `docs/FORMAT.md`.
fn samples() -> Vec<Entry> {
    let command = Request::Command {
        category: "a".to_owned(),
        id: "b".to_owned(),
        codec: 1,
        command: vec![7],
    };
    let call = Request::Call {
        service: "s".to_owned(),
        request: vec![8],
    };
    let start = Request::Start {
        saga: "c".to_owned(),
        id: "d".to_owned(),
        codec: 1,
        start: vec![9],
    };
    let parent = || Parent {
        stream: "p".to_owned(),
        effect: 3,
        depth: 2,
    };
    let spec = |request: Request, undo: Option<Undo>| {
        let key = "k".to_owned();
        Entry::Decided(Box::new(EffectSpec { key, request, undo }))
    };
    let reason = || "r".to_owned();
    let bytes = |bytes| Payload::new(CodecId::new(1), bytes);
    let terms = Terms {
        tries: Some(Tries::times(3)),
        undo_tries: None,
        patience: Some(Duration::from_millis(5)),
        resource: Some(("t".to_owned(), 2)),
        branch: vec![(4, 1)],
        orphan: Orphan::Abandon,
    };
    let undo = Undo {
        if_done: call.clone(),
        if_unknown: Some(call.clone()),
    };
    vec![
        Entry::Started { saga_version: 1 },
        spec(command.clone(), None),
        spec(call, Some(undo)),
        spec(start, None),
        spec(Request::Nothing, None),
        Entry::Answered {
            effect: 1,
            answer: Answer::Unknown(reason()),
        },
        Entry::Answered {
            effect: 1,
            answer: Answer::Done(bytes(vec![1, 2])),
        },
        Entry::Answered {
            effect: 1,
            answer: Answer::Rejected(bytes(vec![3])),
        },
        Entry::Retrying {
            action: Action::of(1),
            attempt: 2,
            next: Timestamp::from_millis(5),
            reason: reason(),
        },
        Entry::Unparked {
            action: Action::undo_of(1),
            by: "b".to_owned(),
        },
        Entry::Settled {
            action: Action::of(1),
            by: "b".to_owned(),
            reason: reason(),
        },
        Entry::Ended(Ending::Abandoned {
            reason: reason(),
            left: vec!["k".to_owned()],
        }),
        Entry::Terms {
            effect: 1,
            terms: Box::new(terms),
        },
        Entry::Held {
            action: Action::undo_of(1),
            reason: reason(),
        },
        Entry::Operated {
            verb: "v".to_owned(),
            about: "k".to_owned(),
            by: "b".to_owned(),
            reason: reason(),
        },
        Entry::Edited {
            action: Action::of(1),
            request: Box::new(command),
        },
        Entry::Child {
            parent: parent(),
            codec: 1,
            start: vec![9],
        },
        Entry::Reported {
            parent: parent(),
            ending: Ending::Completed,
        },
        Entry::Parts {
            places: vec![1],
            of: 2,
        },
        Entry::FoundDone { effect: 1 },
        Entry::Dropped { key: reason() },
        Entry::Stalled(StalledInput::Event(GlobalPosition::new(7))),
        Entry::Stalled(StalledInput::Answer {
            effect: 1,
            answer: Answer::Rejected(bytes(vec![3])),
        }),
        Entry::Stalled(StalledInput::Timer(reason())),
        Entry::Stalled(StalledInput::Compensated { reason: reason() }),
        Entry::Stalled(StalledInput::signal("n".to_owned(), &bytes(vec![4]))),
        Entry::Stalled(StalledInput::Begin {
            codec: 1,
            start: vec![9],
        }),
        Entry::Stalled(StalledInput::Part {
            position: GlobalPosition::new(7),
            place: 1,
            of: 2,
        }),
        Entry::Stalled(StalledInput::Dropped),
        Entry::Stalled(StalledInput::Starting {
            position: GlobalPosition::new(7),
            place: 1,
            of: 2,
        }),
        Entry::Outcomes {
            answers: vec![Action::of(1), Action::undo_of(2)],
        },
        Entry::ContinuedAsNew { saga_version: 3 },
        Entry::CameEarly(StalledInput::Event(GlobalPosition::new(7))),
        Entry::EarlyTaken,
        Entry::Occupies(Occupancy {
            resource: "t".to_owned(),
            limit: 2,
            decided_at: LogSequence::new(6),
        }),
        Entry::AwaitsRoom {
            effect: 1,
            reason: reason(),
        },
        Entry::SignalRefused {
            name: "n".to_owned(),
            reason: reason(),
        },
        Entry::NotTaken {
            action: Action::undo_of(3),
            counted: true,
            unsent: false,
        },
    ]
}

#[test]
fn the_bytes_on_disk_are_what_they_were() {
    let written = samples().into_iter().map(|entry| {
        let event = encode_event(PayloadCodec::default(), &entry).unwrap();
        let (codec, version) = (event.codec, event.schema_version);
        let read =
            EventDecoder::new().decode_parts(codec, &event.event_type, version, &event.payload);
        let read: Vec<Entry> = read.unwrap().into_iter().collect();
        assert_eq!(read, [entry]);
        format!("{} {}", event.event_type, hex::encode(&event.payload))
    });
    let written: Vec<_> = written.collect();
    let before = [
        "$Started 01",
        "$Decided 016b000161016201010700",
        "$Decided 016b0101730108010101730108010101730108",
        "$Decided 016b030163016401010900",
        "$Decided 016b0200",
        "$Answered 01020172",
        "$Answered 010001020102",
        "$Answered 0101010103",
        "$Retrying 010002fb88130172",
        "$Unparked 01010162",
        "$Settled 010001620172",
        "$Ended 04017201016b",
        "$Terms 01010300fc00e1f5051e00000100fc404b4c000101740201040102",
        "$Held 01010172",
        "$Operated 0176016b01620172",
        "$Edited 01000001610162010107",
        "$Child 01700302010109",
        "$Reported 0170030200",
        "$Parts 010102",
        "$FoundDone 01",
        "$Dropped 0172",
        "$Stalled 0007",
        "$Stalled 010101010103",
        "$Stalled 020172",
        "$Stalled 030172",
        "$Stalled 04016e010104",
        "$Stalled 05010109",
        "$Stalled 06070102",
        "$Stalled 07",
        "$Stalled 08070102",
        "$Outcomes 0201000201",
        "$ContinuedAsNew 03",
        "$CameEarly 0007",
        "$EarlyTaken ",
        "$Occupies 01740206",
        "$AwaitsRoom 010172",
        "$SignalRefused 016e0172",
        "$NotTaken 03010100",
    ];
    assert_eq!(written, before);
}
