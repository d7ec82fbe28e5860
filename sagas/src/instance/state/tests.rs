//! The shape of a snapshot: what an earlier release wrote is read, and is what is written.

use chronicler_store::codec::{CodecId, decode_shaped, encode_shaped};
use chronicler_store::hex;

use super::*;
use crate::definition::answer::Answer;
use crate::definition::effect::{EffectSpec, Undo};
use crate::definition::payload::Payload;

/// Entries that lead to something of everything that a snapshot holds.
fn entries() -> Vec<Entry> {
    let text = str::to_owned;
    let call = || Request::Call {
        service: text("s"),
        request: vec![8],
    };
    let command = Request::Command {
        category: text("a"),
        id: text("b"),
        codec: 1,
        command: vec![7],
    };
    let decided = |key: &str, request: Request, undo: Option<Undo>| {
        let key = key.to_owned();
        Entry::Decided(Box::new(EffectSpec { key, request, undo }))
    };
    let undo = Undo {
        if_done: call(),
        if_unknown: Some(call()),
    };
    let done = || Answer::Done(Payload::new(CodecId::BY_NAME, vec![1, 2]));
    let stalled_answer = |answer| Entry::Stalled(StalledInput::Answer { effect: 0, answer });
    let parent = Parent {
        stream: text("p"),
        effect: 3,
        depth: 2,
    };
    vec![
        Entry::Started { saga_version: 2 },
        Entry::Consumed {
            position: GlobalPosition::new(9),
        },
        Entry::Consumed {
            position: GlobalPosition::new(7),
        },
        decided("k", command, None),
        decided("l", call(), Some(undo)),
        Entry::Answered {
            effect: 0,
            answer: done(),
        },
        Entry::Parked {
            effect: 1,
            reason: text("r"),
        },
        Entry::Armed {
            key: text("t"),
            due: Timestamp::from_millis(5),
        },
        Entry::Pivoting { effect: 1 },
        Entry::Compensating {
            reason: text("c"),
            by: None,
        },
        Entry::Quarantined { reason: text("q") },
        Entry::Paused { reason: text("p") },
        Entry::Escalated {
            reason: Some(text("e")),
        },
        Entry::Child {
            parent,
            codec: 1,
            start: vec![9],
        },
        Entry::Occupies(Occupancy {
            resource: text("o"),
            limit: 2,
            decided_at: LogSequence::new(6),
        }),
        Entry::Forked {
            from: text("f"),
            before: text("k"),
        },
        Entry::Concluded(Ending::Completed),
        Entry::CameEarly(StalledInput::Event(GlobalPosition::new(4))),
        Entry::Stalled(StalledInput::Event(GlobalPosition::new(7))),
        stalled_answer(done()),
        stalled_answer(Answer::Rejected(Payload::new(CodecId::BINCODE, vec![3]))),
        stalled_answer(Answer::Unknown(text("u"))),
        Entry::Stalled(StalledInput::Timer(text("t"))),
        Entry::Stalled(StalledInput::signal(
            text("n"),
            &Payload::new(CodecId::JSON, vec![4]),
        )),
    ]
}

#[test]
fn a_snapshot_is_written_as_it_was_and_read_as_what_it_is() {
    let mut state = InstanceState::<u8>::new(Tenant::default(), "i".to_owned());
    for entry in entries() {
        state.apply(&entry);
    }
    let written = encode_shaped(&state).unwrap();
    let before: String = include_str!("snapshot.hex").split_whitespace().collect();
    assert_eq!(hex::encode(&written), before);
    let read: InstanceState<u8> = decode_shaped(&written).unwrap();
    assert_eq!(format!("{read:?}"), format!("{state:?}"));
}
