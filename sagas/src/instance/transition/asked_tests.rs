//! A call, and the question what became of it: in whatever order they are answered, what the question finds counts.

use std::time::Duration;

use chronicler_domain::{Event, Tenant, Timestamp};
use serde::{Deserialize, Serialize};

use super::command::SagaCommand;
use super::step::Step;
use super::test_kit::{Source, delivered};
use crate::definition::answer::Answer;
use crate::definition::input::Input;
use crate::definition::routes::{Delivery, Route, Routes};
use crate::definition::terms::Tries;
use crate::instance::scripted::{PendingEffect, Scripted};
use crate::instance::state::InstanceState;
use crate::instance::status::{Ending, SagaStatus};
use crate::instance::verb::SagaVerb;
use crate::step_keys;
use crate::steps::{
    Attempt, Compensable, Define, Definition, Nil, StepSaga, Steps, to, to_service,
};

type Order = Source<Placed>;

#[derive(Clone, Serialize, Deserialize)]
struct Placed;

impl Event for Placed {}

step_keys! {
    Charge = "charge" -> u64;
    Ship = "ship" -> ();
}

/// A charge on one of two cards, which can be asked about, and the pivot.
struct Sale;

impl StepSaga for Sale {
    const NAME: &'static str = "sale";
    type Start = ();

    fn routes(on: &mut Routes<Steps<Self>>) {
        on.event::<Order>(|_, info| Route::start_or_resume(&info.id));
    }

    fn begin(_: &Input) -> Option<()> {
        Some(())
    }

    fn define(steps: Define<Self, Nil, Compensable>) -> Definition<Self> {
        steps
            .external::<Charge, String>(
                Charge,
                |seen| to_service("bank", &seen.tried()),
                |_, attempt| match attempt {
                    Attempt::Done(receipt) => to_service("bank", &format!("refund {receipt}")),
                    Attempt::Unknown => to_service("bank", &"find and refund"),
                },
            )
            .or_else(|seen, _| seen.tried() < 1)
            .within(Duration::from_secs(60))
            .probe(|seen| to_service("bank", &format!("what of {}", seen.tried())))
            .tries(Tries::times(3))
            .patience(Duration::from_secs(2))
            .at_most(5, "bank")
            .pivot(Ship, |_| to::<Order>("s", ()))
            .build()
    }
}

type Script = Scripted<Steps<Sale>>;

fn done() -> Answer {
    Answer::done(&7_u64)
}

fn refused() -> Answer {
    Answer::rejected(&"no")
}

fn unknown() -> Answer {
    Answer::Unknown("no answer".to_owned())
}

fn of(sale: &Script, key: &str) -> PendingEffect {
    let mut wanted = sale.wanted().into_iter();
    let found = wanted.find(|wanted| wanted.key == key);
    found.unwrap_or_else(|| panic!("{key:?} is wanted, not {:?}", wants(sale)))
}

fn wants(sale: &Script) -> Vec<String> {
    sale.wanted().into_iter().map(|wanted| wanted.key).collect()
}

/// The first attempt lost its answer, the second is under way, and so is the question.
fn asked() -> (Script, PendingEffect, PendingEffect) {
    let now = Timestamp::from_millis(1_700_000_000_000);
    let mut sale = Scripted::new(Steps::<Sale>::of(), "s", now);
    sale.event("s", Placed).unwrap();
    sale.lose(&of(&sale, "charge")).unwrap();
    sale.advance(Duration::from_secs(60)).unwrap();
    let (charge, probe) = (of(&sale, "charge"), of(&sale, "charge?"));
    (sale, charge, probe)
}

/// Does all that is wanted, until nothing is.
fn carry_out(sale: &mut Script) {
    while let Some(wanted) = sale.wanted().into_iter().next() {
        sale.answer(&wanted, done()).unwrap();
    }
}

fn ending(sale: &Script) -> Ending {
    match sale.status() {
        SagaStatus::Ended { how } => how,
        other => panic!("it has not ended: {other:?}; {:?}", sale.written()),
    }
}

fn is_refunded(sale: &Script) -> bool {
    let undone = sale.undone();
    undone.iter().any(|key| key == "charge")
}

#[test]
fn sa1_a_saga_whose_steps_are_done_is_completed_whatever_its_questions_and_calls_end_as() {
    for late in [refused(), unknown(), done()] {
        // The question found it done.
        let (mut sale, charge, probe) = asked();
        sale.answer(&probe, done()).unwrap();
        sale.answer(&of(&sale, "ship"), done()).unwrap();
        sale.answer(&charge, late.clone()).unwrap();
        assert_eq!(ending(&sale), Ending::Completed, "the call: {late:?}");

        // The call said itself that it was done.
        let (mut sale, charge, probe) = asked();
        sale.answer(&charge, done()).unwrap();
        sale.answer(&of(&sale, "ship"), done()).unwrap();
        sale.answer(&probe, late.clone()).unwrap();
        assert_eq!(ending(&sale), Ending::Completed, "the question: {late:?}");

        // Another card was charged.
        let (mut sale, charge, probe) = asked();
        sale.answer(&probe, refused()).unwrap();
        sale.answer(&of(&sale, "charge#2"), done()).unwrap();
        sale.answer(&of(&sale, "ship"), done()).unwrap();
        sale.answer(&charge, late.clone()).unwrap();
        assert_eq!(ending(&sale), Ending::Completed, "the first card: {late:?}");
    }
}

#[test]
fn sa2_a_call_that_is_found_done_after_compensation_began_is_taken_back() {
    for question_first in [true, false] {
        for own in [refused(), unknown(), done()] {
            let (mut sale, charge, probe) = asked();
            let cancel = SagaVerb::Cancel.by("ann", "not wanted");
            sale.operate(cancel).unwrap();
            if question_first {
                sale.answer(&probe, done()).unwrap();
                sale.answer(&charge, own.clone()).unwrap();
            } else {
                sale.answer(&charge, own.clone()).unwrap();
                sale.answer(&probe, done()).unwrap();
            }
            carry_out(&mut sale);
            assert!(matches!(ending(&sale), Ending::Compensated { .. }));
            let written = sale.written();
            assert!(
                is_refunded(&sale),
                "question first: {question_first}, {own:?}: {written:?}"
            );
        }
    }
}

#[test]
fn sa2_a_refusal_while_it_is_asked_what_became_of_the_call_waits_for_the_answer() {
    // It was done, by the attempt before.
    let (mut sale, charge, probe) = asked();
    sale.answer(&charge, refused()).unwrap();
    assert_eq!(wants(&sale), ["charge?"], "no other card is charged");
    sale.answer(&probe, done()).unwrap();
    assert_eq!(wants(&sale), ["ship"]);
    sale.answer(&of(&sale, "ship"), refused()).unwrap();
    carry_out(&mut sale);
    assert!(is_refunded(&sale), "{:?}", sale.written());

    // It was not done, or nobody says: then the refusal stands.
    for answer in [refused(), unknown()] {
        let (mut sale, charge, probe) = asked();
        sale.answer(&charge, refused()).unwrap();
        sale.answer(&probe, answer).unwrap();
        assert_eq!(wants(&sale), ["charge#2"]);
        sale.operate(SagaVerb::Cancel.by("ann", "not wanted"))
            .unwrap();
        carry_out(&mut sale);
        assert!(!is_refunded(&sale), "{:?}", sale.written());
    }

    // Nobody answers at all.
    let (mut sale, charge, _) = asked();
    sale.answer(&charge, refused()).unwrap();
    sale.advance(Duration::from_secs(60)).unwrap();
    assert!(matches!(sale.status(), SagaStatus::Compensating { .. }));
}

#[test]
fn sa3_answers_that_come_while_it_is_paused_are_taken_as_they_would_have_been() {
    for question_first in [true, false] {
        for verb in [SagaVerb::Resume, SagaVerb::Cancel] {
            let (mut sale, charge, probe) = asked();
            sale.operate(SagaVerb::Pause.by("ann", "a look")).unwrap();
            let mut both = [(charge, refused()), (probe, done())];
            if question_first {
                both.reverse();
            }
            for (wanted, answer) in both {
                sale.answer(&wanted, answer).unwrap();
            }
            sale.operate(verb.clone().by("ann", "go on")).unwrap();
            if verb == SagaVerb::Resume {
                assert_eq!(wants(&sale), ["ship"], "question first: {question_first}");
                sale.answer(&of(&sale, "ship"), refused()).unwrap();
            }
            carry_out(&mut sale);
            let written = sale.written();
            assert!(
                is_refunded(&sale),
                "question first: {question_first}, {verb:?}: {written:?}"
            );
        }
    }
}

#[test]
fn sa14_the_question_what_became_of_a_call_has_the_terms_of_its_step() {
    let saga = Steps::<Sale>::of();
    let mut state = InstanceState::new(Tenant::default(), "s".to_owned());
    let begin = delivered(1, Delivery::Start, Placed);
    let now = Timestamp::from_millis(1);
    let step = Step::new(&saga, &mut state, now);
    step.take(begin).unwrap();
    let key = "step:charge".to_owned();
    let due = *state.timers.get(&key).unwrap();
    let step = Step::new(&saga, &mut state, due);
    step.take(SagaCommand::Fire { key, due }).unwrap();
    let effects = state.effects();
    assert_eq!(effects[1].spec.key, "charge?");
    assert_eq!(effects[1].terms, effects[0].terms);
    assert_eq!(effects[1].terms.resource, Some(("bank".to_owned(), 5)));
}
