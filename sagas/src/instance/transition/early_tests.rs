//! What a step waits for comes late, or before the event that begins the saga.

use std::time::Duration;

use chronicler_domain::{Event, GlobalPosition, Tenant, Timestamp};
use serde::{Deserialize, Serialize};

use super::command::{Part, SagaCommand};
use super::step::Step;
use super::test_kit::Source;
use crate::definition::answer::Answer;
use crate::definition::effect::Request;
use crate::definition::input::{Input, RoutedEvent};
use crate::definition::payload::Payload;
use crate::definition::routes::{Delivery, Route, Routes};
use crate::instance::entry::Parent;
use crate::instance::scripted::Scripted;
use crate::instance::state::InstanceState;
use crate::instance::status::{Ending, SagaStatus};
use crate::instance::verb::SagaVerb;
use crate::step_keys;
use crate::steps::{Compensable, Define, Definition, Heard, Nil, StepSaga, Steps, to};

#[derive(Clone, Serialize, Deserialize)]
enum Said {
    Placed,
    Signed,
}

impl Event for Said {}

type Desk = Source<Said>;

step_keys! {
    Ship = "ship" -> ();
    Signed = "signed" -> String;
}

/// A signature that is needed only of what begins in the first minute.
struct Signing;

impl StepSaga for Signing {
    const NAME: &'static str = "signing";
    type Start = ();

    fn routes(on: &mut Routes<Steps<Self>>) {
        on.event::<Desk>(|_, info| Route::start_or_resume(&info.id));
    }

    fn begin(_: &Input) -> Option<()> {
        Some(())
    }

    fn define(steps: Define<Self, Nil, Compensable>) -> Definition<Self> {
        let minute = Timestamp::from_millis(1_700_000_060_000);
        steps
            .wait_for(Signed)
            .only_if(move |seen| seen.now() < minute)
            .pivot(Ship, |seen| {
                to::<Desk>(
                    seen.output_if_run(Signed).map_or("nobody", String::as_str),
                    (),
                )
            })
            .build()
    }
}

/// Begins when something is placed, and waits until it is signed: `STARTS` says whether the route of what begins it says
/// that it does.
struct Early<const STARTS: bool>;

impl<const STARTS: bool> StepSaga for Early<STARTS> {
    const NAME: &'static str = "early";
    type Start = ();

    fn routes(on: &mut Routes<Steps<Self>>) {
        on.event::<Desk>(|event, info| match event {
            Said::Placed if STARTS => Route::start(&info.id),
            _ => Route::start_or_resume(&info.id),
        });
    }

    fn begin(event: &Input) -> Option<()> {
        matches!(event.event::<Desk>()?, Said::Placed).then_some(())
    }

    fn heard(event: &Input, (): &()) -> Heard {
        match event.event::<Desk>() {
            Some(Said::Signed) => Heard::signal(Signed, &"ann".to_owned()),
            _ => Heard::Nothing,
        }
    }

    fn define(steps: Define<Self, Nil, Compensable>) -> Definition<Self> {
        steps
            .wait_for(Signed)
            .pivot(Ship, |seen| to::<Desk>(seen.output(Signed), ()))
            .build()
    }
}

fn in_any_order<const STARTS: bool>(events: &[Said]) {
    let now = Timestamp::from_millis(1_700_000_000_000);
    let mut early = Scripted::new(Steps::<Early<STARTS>>::of(), "s", now);
    for event in events {
        early.event("s", event.clone()).unwrap();
    }
    let wanted = early.wanted();
    let written = early.written();
    assert_eq!(wanted.len(), 1, "{written:?}");
    early.answer(&wanted[0], Answer::done(&())).unwrap();
    let how = Ending::Completed;
    assert_eq!(early.status(), SagaStatus::Ended { how });
}

#[test]
fn sa15_what_a_step_waits_for_counts_though_it_came_before_the_event_that_begins_the_saga() {
    use Said::{Placed, Signed};
    for events in [
        vec![Placed, Signed],
        vec![Signed, Placed],
        vec![Signed, Signed, Placed],
        vec![Signed, Placed, Placed, Signed],
    ] {
        in_any_order::<true>(&events);
        in_any_order::<false>(&events);
    }
}

#[test]
fn sa15_what_came_early_waits_for_the_event_that_begins_the_saga_and_can_be_called_off() {
    let now = Timestamp::from_millis(1_700_000_000_000);
    let mut early = Scripted::new(Steps::<Early<true>>::of(), "s", now);
    early.event("s", Said::Signed).unwrap();
    let SagaStatus::Waiting { on, .. } = early.status() else {
        panic!("{:?}", early.status());
    };
    assert_eq!(on, ["the event that begins it"]);
    early
        .operate(SagaVerb::Cancel.by("ann", "not wanted"))
        .unwrap();
    let reason = "not wanted".to_owned();
    let how = Ending::Compensated { reason };
    assert_eq!(early.status(), SagaStatus::Ended { how });
    early.event("s", Said::Placed).unwrap();
    assert!(early.wanted().is_empty());
}

#[test]
fn sa15_parts_of_one_event_begin_it_in_whatever_order_they_stand() {
    let early = (Delivery::StartOrResume, Said::Signed);
    let begins = (Delivery::Start, Said::Placed);
    for (told, is_early) in [
        (vec![early.clone(), begins.clone()], true),
        (vec![begins.clone(), early], false),
        (vec![begins.clone(), begins], false),
    ] {
        let of = u32::try_from(told.len()).unwrap();
        let part = |(place, (delivery, said))| Part {
            place,
            of,
            delivery,
            event: RoutedEvent::new(said),
        };
        let deliver = SagaCommand::Deliver {
            position: GlobalPosition::new(1),
            is_late: false,
            parts: (0..).zip(told).map(part).collect(),
        };
        let (saga, now) = (Steps::<Early<true>>::of(), Timestamp::from_millis(1));
        let mut state = InstanceState::new(Tenant::default(), "s".to_owned());
        let taken = Step::new(&saga, &mut state, now).take(deliver).unwrap();
        let written: Vec<_> = taken
            .events
            .iter()
            .map(|event| &*event.event_type)
            .collect();
        let times = |what: &str| written.iter().filter(|written| **written == what).count();
        assert_eq!(times("Begun"), 1, "{written:?}");
        let expected = (usize::from(is_early), usize::from(is_early));
        assert_eq!((times("$CameEarly"), times("$EarlyTaken")), expected);
        assert_eq!(state.quarantined, None, "{written:?}");
    }
}

#[test]
fn sa15_what_came_early_keeps_a_parent_from_nothing() {
    let now = Timestamp::from_millis(1_700_000_000_000);
    let mut early = Scripted::new(Steps::<Early<true>>::of(), "s", now);
    early.event("s", Said::Signed).unwrap();
    let parent = Parent {
        stream: "parent".to_owned(),
        effect: 0,
        depth: 0,
    };
    let begin = SagaCommand::Begin {
        parent,
        start: Payload::json("null"),
        occupies: None,
    };
    early.take(begin.clone()).unwrap();
    early.take_up().unwrap();
    // Asked again, it goes on as it is.
    early.take(begin).unwrap();
    let wanted = early.wanted();
    assert_eq!(wanted.len(), 1, "{:?}", early.written());
    early.answer(&wanted[0], Answer::done(&())).unwrap();
    let how = Ending::Completed;
    assert_eq!(early.status(), SagaStatus::Ended { how });
}

#[test]
fn sa12_the_condition_of_a_wait_is_asked_when_it_begins_to_wait_and_not_again() {
    let now = Timestamp::from_millis(1_700_000_000_000);
    let mut signing = Scripted::new(Steps::<Signing>::of(), "s", now);
    signing.event("s", Said::Placed).unwrap();
    signing.advance(Duration::from_secs(120)).unwrap();
    let sign = SagaVerb::Signal {
        name: "signed".to_owned(),
        payload: "\"ann\"".to_owned(),
    };
    signing.operate(sign.by("ann", "seen")).unwrap();
    let wanted = signing.wanted();
    let Request::Command { id, .. } = &wanted[0].request else {
        panic!("{wanted:?}");
    };
    assert_eq!(id, "ann", "what it waited for counts");
}
