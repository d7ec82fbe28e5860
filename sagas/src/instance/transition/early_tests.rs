//! What a step waits for comes late, or before the event that begins the saga.

use std::time::Duration;

use chronicler_domain::{Event, Tenant, Timestamp};
use serde::{Deserialize, Serialize};

use super::command::SagaCommand;
use super::step::Step;
use super::test_kit::{Source, delivered, delivered_as};
use crate::definition::answer::Answer;
use crate::definition::effect::Request;
use crate::definition::input::{Input, RoutedEvent};
use crate::definition::payload::Payload;
use crate::definition::routes::{Delivery, Route, Routes};
use crate::instance::entry::{Entry, Parent};
use crate::instance::fold::StreamReader;
use crate::instance::scripted::Scripted;
use crate::instance::state::InstanceState;
use crate::instance::status::{Ending, SagaStatus};
use crate::instance::verb::{Order, SagaVerb};
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
    Sent = "sent" -> ();
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

/// Begins with whatever comes, and is called off by whatever it hears.
struct Twofold;

impl StepSaga for Twofold {
    const NAME: &'static str = "twofold";
    type Start = ();

    fn routes(on: &mut Routes<Steps<Self>>) {
        on.event::<Desk>(|event, info| match event {
            Said::Placed => Route::start(&info.id),
            Said::Signed => Route::start_or_resume(&info.id),
        });
    }

    fn begin(_: &Input) -> Option<()> {
        Some(())
    }

    fn heard(_: &Input, (): &()) -> Heard {
        Heard::cancel("it heard something")
    }

    fn define(steps: Define<Self, Nil, Compensable>) -> Definition<Self> {
        steps
            .step(Ship, |_| to::<Desk>("s", ()), |_, _| to::<Desk>("s", ()))
            .pivot(Sent, |_| to::<Desk>("s", ()))
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

/// The parts of an event that an instance says it was given, and how often it says each of these.
fn taken<const N: usize>(
    parts: Vec<(Delivery, Said)>,
    counted: [&str; N],
) -> (Vec<u32>, [usize; N]) {
    let (saga, now) = (Steps::<Early<true>>::of(), Timestamp::from_millis(1));
    let mut state = InstanceState::new(Tenant::default(), "s".to_owned());
    let step = Step::new(&saga, &mut state, now);
    let taken = step.take(delivered_as(1, parts)).unwrap();
    assert_eq!(state.quarantined, None);
    let (reader, mut given) = (StreamReader::<Said>::of_entries(), Vec::new());
    for event in &taken.events {
        let read = reader.read_new(event, |recorded| {
            if let Some(Entry::Parts { places, .. }) = recorded.entry() {
                given.clone_from(places);
            }
        });
        read.unwrap();
    }
    let written = || taken.events.iter().map(|event| &*event.event_type);
    let times = |what| written().filter(|written| *written == what).count();
    (given, counted.map(times))
}

#[test]
fn sa15_parts_of_one_event_begin_it_in_whatever_order_they_stand() {
    let early = (Delivery::StartOrResume, Said::Signed);
    let begins = (Delivery::Start, Said::Placed);
    let counted = ["Begun", "$CameEarly", "$EarlyTaken"];
    let told = taken(vec![early.clone(), begins.clone()], counted);
    assert_eq!(told, (vec![0, 1], [1, 1, 1]));
    let told = taken(vec![begins.clone(), early], counted);
    assert_eq!(told, (vec![0, 1], [1, 0, 0]));
    // The second one begins nothing any more, and was not given to it.
    let told = taken(vec![begins.clone(), begins], counted);
    assert_eq!(told, (vec![0], [1, 0, 0]));
}

fn release() -> Order {
    SagaVerb::Release.by("ann", "mended")
}

#[test]
fn sa15_what_begins_it_is_taken_though_what_came_before_waits_for_a_release() {
    let now = Timestamp::from_millis(1_700_000_000_000);
    let mut early = Scripted::new(Steps::<Early<true>>::of(), "s", now);
    early.event_that_is_not_taken("s", Said::Signed).unwrap();
    let status = early.status();
    assert!(
        matches!(status, SagaStatus::Quarantined { .. }),
        "{status:?}"
    );
    early.event("s", Said::Placed).unwrap();
    // Another one begins nothing more.
    early.event("s", Said::Placed).unwrap();
    early.operate(release()).unwrap();
    early.take_up().unwrap();
    let (wanted, written) = (early.wanted(), early.written());
    assert_eq!(wanted.len(), 1, "{written:?}");
    let consumed = written.iter().filter(|written| *written == "$Consumed");
    assert_eq!(consumed.count(), 2, "{written:?}");
}

#[test]
fn sa15_what_would_begin_it_begins_nothing_more_once_what_waited_before_it_has() {
    let now = Timestamp::from_millis(1_700_000_000_000);
    let mut signing = Scripted::new(Steps::<Twofold>::of(), "s", now);
    signing.event_that_is_not_taken("s", Said::Signed).unwrap();
    signing.event("s", Said::Placed).unwrap();
    signing.operate(release()).unwrap();
    signing.take_up().unwrap();
    let written = signing.written();
    let times = |what: &str| written.iter().filter(|written| *written == what).count();
    assert_eq!((times("Begun"), times("$Unstalled")), (1, 2), "{written:?}");
    assert_eq!(times("$Compensating"), 0, "it heard it: {written:?}");
}

#[test]
fn sa15_what_is_to_begin_it_and_does_not_is_no_early_event_after_a_release() {
    let saga = Steps::<Early<true>>::of();
    let mut state = InstanceState::new(Tenant::default(), "s".to_owned());
    let mut take = |command| {
        let step = Step::new(&saga, &mut state, Timestamp::from_millis(1));
        step.take(command).unwrap();
        (state.quarantined.is_some(), state.stalled.front().cloned())
    };
    let (is_quarantined, stalled) = take(delivered(1, Delivery::Start, Said::Signed));
    assert!(is_quarantined);
    let input = stalled.unwrap();
    take(SagaCommand::Operate(release()));
    let events = vec![RoutedEvent::new(Said::Signed)];
    let (is_quarantined, stalled) = take(SagaCommand::Unstall {
        input: input.clone(),
        events,
    });
    assert_eq!((is_quarantined, stalled), (true, Some(input)));
    assert!(state.early.is_empty());
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
