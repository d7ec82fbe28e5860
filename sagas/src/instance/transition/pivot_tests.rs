//! Several pivots, and effects that wait for a person beside others that are tried again.

use chronicler_domain::{Event, LogSequence, Tenant, Timestamp};
use serde::{Deserialize, Serialize};

use super::command::SagaCommand;
use super::step::Step;
use super::test_kit::{Source, delivered};
use crate::definition::answer::Answer;
use crate::definition::input::{Input, SagaContext};
use crate::definition::next::Next;
use crate::definition::routes::{Delivery, Route, Routes};
use crate::definition::saga::Saga;
use crate::definition::terms::Tries;
use crate::instance::action::Action;
use crate::instance::scripted::{PendingEffect, Scripted};
use crate::instance::state::InstanceState;
use crate::instance::status::{Ending, SagaStatus};
use crate::instance::verb::SagaVerb;

type Shelf = Source<Told>;

#[derive(Clone, Serialize, Deserialize)]
enum Told {
    Begin,
    PivotAgain,
}

impl Event for Told {}

/// Takes something from the shelf, and has two effects that decide.
struct Twice;

impl Saga for Twice {
    const NAME: &'static str = "twice";
    type State = ();
    type Event = Told;

    fn routes(on: &mut Routes<Self>) {
        on.event::<Shelf>(|_, info| Route::start_or_resume(&info.id));
    }

    fn on(&self, (): &(), input: &Input, _: &SagaContext) -> Next<Self> {
        match input.event::<Shelf>() {
            Some(Told::Begin) => Next::stay()
                .send::<Shelf>("take", "s", ())
                .undo::<Shelf>("s", ())
                .send::<Shelf>("more", "s", ())
                .send::<Shelf>("a", "s", ())
                .pivoting()
                .send::<Shelf>("b", "s", ())
                .pivoting()
                .tries(Tries::times(3)),
            Some(Told::PivotAgain) => Next::stay().pivoting(),
            None => Next::stay(),
        }
    }

    fn evolve((): &mut (), _: &Told) {}
}

fn twice() -> Scripted<Twice> {
    let now = Timestamp::from_millis(1_700_000_000_000);
    let mut twice = Scripted::new(Twice, "s", now);
    twice.event("s", Told::Begin).unwrap();
    twice
}

fn of(twice: &Scripted<Twice>, key: &str) -> PendingEffect {
    let mut wanted = twice.wanted().into_iter();
    wanted.find(|wanted| wanted.key == key).unwrap()
}

#[test]
fn sa4_of_two_pivots_that_are_under_way_the_first_that_is_done_counts() {
    for done in ["a", "b"] {
        let other = if done == "a" { "b" } else { "a" };
        let mut twice = twice();
        let cancel = || SagaVerb::Cancel.by("ann", "not wanted");
        twice
            .answer(&of(&twice, "take"), Answer::done(&()))
            .unwrap();
        twice.answer(&of(&twice, done), Answer::done(&())).unwrap();
        twice.operate(cancel()).unwrap_err();
        twice
            .answer(&of(&twice, other), Answer::rejected(&"no"))
            .unwrap();
        let refused = twice.operate(cancel()).unwrap_err();
        assert!(refused.contains("has passed its pivot"), "{refused}");
    }
}

#[test]
fn sa4_when_both_pivots_are_refused_it_can_be_cancelled() {
    let mut twice = twice();
    for key in ["take", "more"] {
        twice.answer(&of(&twice, key), Answer::done(&())).unwrap();
    }
    for key in ["a", "b"] {
        twice
            .operate(SagaVerb::Cancel.by("ann", "not wanted"))
            .unwrap_err();
        twice
            .answer(&of(&twice, key), Answer::rejected(&"no"))
            .unwrap();
    }
    twice
        .operate(SagaVerb::Cancel.by("ann", "not wanted"))
        .unwrap();
    twice
        .answer(&of(&twice, "take"), Answer::done(&()))
        .unwrap();
    let reason = "not wanted".to_owned();
    let how = Ending::Compensated { reason };
    assert_eq!(twice.status(), SagaStatus::Ended { how });
}

#[test]
fn sa4_a_pivot_without_an_effect_is_a_mistake_and_marks_no_other() {
    let mut twice = twice();
    for key in ["take", "more", "a", "b"] {
        twice
            .answer(&of(&twice, key), Answer::rejected(&"no"))
            .unwrap();
    }
    let before = twice.written().len();
    twice.event("s", Told::PivotAgain).unwrap();
    let SagaStatus::Quarantined { reason } = twice.status() else {
        panic!("{:?}", twice.status());
    };
    assert!(reason.contains("no effect just before"), "{reason}");
    let written = twice.written();
    let of_pivots = written[before..].iter().filter(|name| *name == "$Pivoting");
    assert_eq!(of_pivots.count(), 0);
}

/// The state after these commands, beginning with the event.
fn after(commands: impl IntoIterator<Item = SagaCommand>) -> InstanceState<()> {
    let begin = delivered(1, Delivery::StartOrResume, Told::Begin);
    let mut state = InstanceState::new(Tenant::default(), "s".to_owned());
    for command in std::iter::once(begin).chain(commands) {
        let step = Step::new(&Twice, &mut state, Timestamp::from_millis(1));
        step.take(command).unwrap();
    }
    state
}

fn failed(action: Action, next: Option<Timestamp>) -> SagaCommand {
    SagaCommand::Failed {
        action,
        attempt: 1,
        next,
        reason: "no answer".to_owned(),
        decided_at: LogSequence::new(1),
    }
}

#[test]
fn sa5_what_waits_for_a_person_is_seen_beside_what_is_tried_again() {
    let later = Some(Timestamp::from_millis(9));
    let state = after([failed(Action::of(0), later), failed(Action::of(2), None)]);
    let status = state.status_with(Vec::new);
    let SagaStatus::Parked { key, .. } = &status else {
        panic!("{status:?}");
    };
    assert_eq!(key, "a");
    let listed = state.open_fact(Vec::new).unwrap();
    assert!(listed.status.needs_a_person());
    assert!(listed.has_work, "the other is still tried");
}

#[test]
fn sa5_a_stuck_compensation_is_seen_beside_what_is_still_under_way() {
    let cancel = SagaVerb::Cancel.by("ann", "not wanted");
    let rejected = |effect| SagaCommand::Answer {
        action: Action::of(effect),
        answer: Answer::rejected(&"no"),
    };
    let state = after([
        rejected(2),
        rejected(3),
        SagaCommand::Operate(cancel),
        failed(Action::of(0), None),
    ]);
    let status = state.status_with(Vec::new);
    let SagaStatus::CompensationStuck { stuck } = &status else {
        panic!("{status:?}");
    };
    assert_eq!(stuck[0].0, "take");
    assert!(state.has_work(), "the other command is under way");
    assert!(state.open_fact(Vec::new).unwrap().status.needs_a_person());
}
