//! The kit holds what the runtime holds: what is quarantined there fails here, and what waits there waits here.

use chronicler_domain::{Aggregate, Context, Decided, Event, Never};
use chronicler_sagas::{
    EffectAnswer, Ending, Input, Next, Route, Routes, Saga, SagaContext, SagaStatus, SagaVerb,
};
use serde::{Deserialize, Serialize};

use super::{done, given_saga};
use crate::{ok, script};

#[derive(Clone, Default, Serialize, Deserialize)]
struct Bell;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Ring {
    Once,
    Twice,
    Hush,
}

impl Event for Ring {}

impl Aggregate for Bell {
    const CATEGORY: &'static str = "bell";
    type Command = Ring;
    type Event = Ring;
    type Reply = ();
    type Rejection = Never;

    fn decide(&self, ring: Ring, _: &Context) -> Decided<Self> {
        Ok(ring.into())
    }

    fn evolve(&mut self, _: &Ring) {}
}

/// Rings another bell, and hushes it when it hears of a second ring.
#[derive(Default)]
struct Echo {
    fails: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Heard;

impl Event for Heard {}

impl Saga for Echo {
    const NAME: &'static str = "echo";
    type State = u32;
    type Event = Heard;

    fn routes(on: &mut Routes<Self>) {
        on.event::<Bell>(|_, _| Route::start_or_resume("saga"));
    }

    fn on(&self, heard: &u32, input: &Input, _: &SagaContext) -> Next<Self> {
        match (input.event::<Bell>(), input) {
            (Some(Ring::Once), _) => rings(),
            (Some(Ring::Twice), _) => Next::stay().record(Heard).compensate("twice"),
            // Against the rules: it ends by itself when its undos have run.
            (Some(Ring::Hush), _) if self.fails => Next::stay().compensate("hush").complete(),
            (Some(Ring::Hush), _) => Next::stay().record(Heard),
            (None, Input::Answer(_)) if *heard > 1 => Next::stay().complete(),
            _ => Next::stay(),
        }
    }

    fn on_late(&self, _: &u32, answer: &EffectAnswer, _: &SagaContext) -> Next<Self> {
        Next::stay().undo_of::<Bell>(answer.key(), "far", Ring::Hush)
    }

    fn evolve(heard: &mut u32, _: &Heard) {
        *heard += 1;
    }
}

fn rings() -> Next<Echo> {
    Next::stay()
        .record(Heard)
        .send::<Bell>("ring", "far", Ring::Once)
        .undo::<Bell>("far", Ring::Twice)
}

#[test]
#[should_panic(expected = "compensate, and to be over at once")]
fn m62_a_decision_against_the_rules_fails_the_test_as_it_quarantines_the_instance() {
    let fails = given_saga(Echo { fails: true });
    let _ = fails.when(Input::of_event(Ring::Hush));
}

#[test]
fn m62_an_answer_that_comes_late_is_told_as_that_and_nothing_else_matters_by_then() {
    let late = given_saga(Echo::default())
        .when(Input::of_event(Ring::Once))
        .then(rings())
        .when(Input::of_event(Ring::Twice))
        .then(Next::stay().record(Heard).compensate("twice"))
        .when(Input::of_event(Ring::Once))
        .then(Next::stay())
        .when(done("ring", &()).unwrap())
        .then(Next::stay().undo_of::<Bell>("ring", "far", Ring::Hush));
    assert_eq!(*late.state(), 2);
    let _ = given_saga(Echo::default())
        .after([Heard])
        .compensating("told to")
        .when(done("ring", &()).unwrap())
        .then(Next::stay().undo_of::<Bell>("ring", "far", Ring::Hush));
}

#[test]
fn m62_a_script_takes_up_what_waited_and_wants_nothing_while_it_is_paused() {
    script(Echo::default())
        .given(Ring::Once)
        .operate(SagaVerb::Pause)
        .expect_nothing()
        .given(Ring::Hush)
        .operate(SagaVerb::Resume)
        .expect::<Bell>("far", Ring::Once)
        .reply(ok(&()))
        .expect_status(&SagaStatus::Ended {
            how: Ending::Completed,
        });
}

#[test]
fn m62_an_attempt_that_waited_when_it_was_paused_is_wanted_when_it_is_resumed() {
    script(Echo::default())
        .given(Ring::Once)
        .expect::<Bell>("far", Ring::Once)
        .reply(crate::lose())
        .operate(SagaVerb::Pause)
        .expect_nothing()
        .operate(SagaVerb::Resume)
        .expect::<Bell>("far", Ring::Once)
        .reply(ok(&()))
        .expect_nothing();
}
