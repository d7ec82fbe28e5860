//! Attempts that a service did not take: what was never sent need not be taken back.

use chronicler_domain::{Event, LogSequence, Tenant, Timestamp};
use serde::{Deserialize, Serialize};

use super::command::SagaCommand;
use super::step::Step;
use super::test_kit::delivered;
use crate::definition::answer::Answer;
use crate::definition::effect_view::EffectState;
use crate::definition::input::{Input, SagaContext};
use crate::definition::next::Next;
use crate::definition::routes::{Delivery, Routes};
use crate::definition::saga::Saga;
use crate::instance::action::{Action, Way};
use crate::instance::state::InstanceState;
use crate::instance::status::Ending;
use crate::instance::verb::SagaVerb;

#[derive(Serialize, Deserialize)]
struct Placed;

impl Event for Placed {}

/// Charges a card.
struct Charge;

impl Saga for Charge {
    const NAME: &'static str = "charge";
    type State = ();
    type Event = Placed;

    fn routes(_: &mut Routes<Self>) {}

    fn on(&self, (): &(), input: &Input, _: &SagaContext) -> Next<Self> {
        match input {
            Input::Event(_) => Next::stay()
                .call("charge", "bank", &"charge")
                .undo_call("bank", &"refund", &"find"),
            _ => Next::stay(),
        }
    }

    fn evolve((): &mut (), _: &Placed) {}
}

const CHARGE: Action = Action {
    effect: 0,
    way: Way::Do,
};

fn begun() -> InstanceState<()> {
    let mut state = InstanceState::new(Tenant::default(), "s".to_owned());
    let begin = delivered(1, Delivery::Start, Placed);
    take(&mut state, begin);
    state
}

fn take(state: &mut InstanceState<()>, command: SagaCommand) -> Vec<Action> {
    let step = Step::new(&Charge, state, Timestamp::from_millis(5));
    step.take(command).unwrap().due
}

fn held(attempt: u32) -> SagaCommand {
    SagaCommand::Held {
        action: CHARGE,
        attempt,
        reason: "its service takes no requests".to_owned(),
        decided_at: LogSequence::new(1),
    }
}

fn failed(attempt: u32) -> SagaCommand {
    SagaCommand::Failed {
        action: CHARGE,
        attempt,
        next: Some(Timestamp::from_millis(9)),
        reason: "no answer".to_owned(),
        decided_at: LogSequence::new(1),
    }
}

fn not_taken(outcome: SagaCommand, counted: bool) -> SagaCommand {
    SagaCommand::NotTaken {
        outcome: Box::new(outcome),
        action: CHARGE,
        counted,
        unsent: true,
    }
}

fn begins(state: &InstanceState<()>) -> SagaCommand {
    let (attempt, next) = state.pending(CHARGE).unwrap();
    SagaCommand::Attempt {
        action: CHARGE,
        attempt,
        next,
        begins_child: false,
    }
}

fn cancel() -> SagaCommand {
    SagaCommand::Operate(SagaVerb::Cancel.by("ann", "not wanted"))
}

#[test]
fn sa13_a_call_that_no_service_ever_took_is_not_taken_back() {
    let reason = "not wanted".to_owned();
    let over = Some(Ending::Compensated { reason });
    // It waits for its service, before any attempt or after some that were not taken.
    for before in [
        vec![not_taken(held(1), false)],
        vec![not_taken(failed(1), true), not_taken(failed(2), true)],
        vec![not_taken(failed(1), true), not_taken(held(2), false)],
    ] {
        let mut state = begun();
        for outcome in before {
            take(&mut state, outcome);
        }
        assert_eq!(take(&mut state, cancel()), []);
        assert_eq!(state.effect(0).unwrap().state, EffectState::Rejected);
        assert_eq!(state.ended, over);
    }
    // An attempt is under way, and is not taken either.
    let mut state = begun();
    take(&mut state, cancel());
    assert_eq!(state.ended, None);
    assert_eq!(take(&mut state, not_taken(held(1), false)), []);
    assert_eq!(state.ended, over);
}

#[test]
fn sa13_a_call_that_may_have_been_taken_once_is_taken_back_as_unknown() {
    // An attempt lost its answer, or began and was never heard of again.
    for is_lost in [true, false] {
        let mut state = begun();
        take(&mut state, not_taken(held(1), false));
        let attempt = begins(&state);
        take(&mut state, attempt);
        if is_lost {
            take(&mut state, failed(1));
        } else {
            take(&mut state, held(1));
        }
        assert_eq!(take(&mut state, cancel()), [Action::undo_of(0)]);
        assert_eq!(state.effect(0).unwrap().state, EffectState::Unknown);
    }
    // So is one that a person had tried again.
    let mut state = begun();
    take(&mut state, not_taken(held(1), false));
    take(&mut state, not_taken(failed(1), true));
    let retry = SagaCommand::Operate(SagaVerb::RetryNow.by("ann", "it is back"));
    take(&mut state, retry);
    take(&mut state, held(1));
    take(&mut state, cancel());
    assert_eq!(state.effect(0).unwrap().state, EffectState::Unknown);
}

#[test]
fn sa11_attempts_that_were_not_taken_are_counted_by_themselves() {
    let mut state = begun();
    take(&mut state, not_taken(failed(1), true));
    take(&mut state, not_taken(failed(2), true));
    take(&mut state, failed(3));
    let effect = state.effect(0).unwrap();
    let untaken = effect.untaken.count(CHARGE.way);
    assert_eq!((untaken, state.pending(CHARGE).unwrap().0), (2, 3));
    take(
        &mut state,
        SagaCommand::Answer {
            action: CHARGE,
            answer: Answer::done(&()),
        },
    );
    assert_eq!(state.effect(0).unwrap().state, EffectState::Done);
}
