//! An instance whose own code fails: what is undone all the same, and what waits until it is released.

use chronicler_domain::{Event, LogSequence, Tenant, Timestamp};
use serde::{Deserialize, Serialize};

use super::command::SagaCommand;
use super::refusal::SagaRefusal;
use super::step::Step;
use super::test_kit::{Source, delivered, delivered_as};
use crate::definition::answer::{Answer, EffectAnswer};
use crate::definition::effect_view::{EffectState, UndoState};
use crate::definition::input::{Input, SagaContext};
use crate::definition::next::Next;
use crate::definition::routes::{Delivery, Route, Routes};
use crate::definition::saga::Saga;
use crate::instance::action::Action;
use crate::instance::scripted::{PendingEffect, Scripted};
use crate::instance::state::InstanceState;
use crate::instance::status::{Ending, SagaStatus};
use crate::instance::verb::SagaVerb;

type Shelf = Source<Told>;

#[derive(Clone, Serialize, Deserialize)]
enum Told {
    Begin,
    Poison,
    Fail,
}

impl Event for Told {}

/// Takes two things: how the first is put back it says with it, of the second it cannot say it. Undone, it says that it has
/// failed, and says so to somebody.
struct Clumsy;

impl Saga for Clumsy {
    const NAME: &'static str = "clumsy";
    type State = bool;
    type Event = Told;

    fn routes(on: &mut Routes<Self>) {
        on.event::<Shelf>(|_, info| Route::start_or_resume(&info.id));
    }

    fn on(&self, sends_last: &bool, input: &Input, _: &SagaContext) -> Next<Self> {
        if let Input::Compensated { reason } = input {
            assert!(reason != "speechless", "it has no last words");
            let next = match sends_last {
                true => Next::stay().send::<Shelf>("last", "s", ()),
                false => Next::stay(),
            };
            return next.fail("it did not work out");
        }
        match input.event::<Shelf>() {
            Some(Told::Begin) => Next::stay()
                .send::<Shelf>("before", "s", ())
                .undo::<Shelf>("s", ())
                .send::<Shelf>("given", "s", ())
                .undo::<Shelf>("s", ())
                .send::<Shelf>("unsaid", "s", ()),
            Some(Told::Poison) => panic!("nobody thought of this"),
            Some(Told::Fail) => Next::stay().record(Told::Fail),
            None => Next::stay(),
        }
    }

    fn on_late(&self, _: &bool, _: &EffectAnswer, _: &SagaContext) -> Next<Self> {
        panic!("it cannot be read")
    }

    fn evolve(sends_last: &mut bool, event: &Told) {
        *sends_last |= matches!(event, Told::Fail);
    }
}

fn clumsy() -> Scripted<Clumsy> {
    let now = Timestamp::from_millis(1_700_000_000_000);
    let mut clumsy = Scripted::new(Clumsy, "s", now);
    clumsy.event("s", Told::Begin).unwrap();
    clumsy
}

fn of(clumsy: &Scripted<Clumsy>, key: &str) -> PendingEffect {
    let mut wanted = clumsy.wanted().into_iter();
    let found = wanted.find(|wanted| wanted.key == key);
    found.unwrap_or_else(|| panic!("{key:?} is wanted; {:?}", clumsy.written()))
}

fn done() -> Answer {
    Answer::done(&())
}

fn no() -> Answer {
    Answer::rejected(&"no")
}

fn operate(clumsy: &mut Scripted<Clumsy>, verb: SagaVerb) {
    clumsy.operate(verb.by("ann", "not wanted")).unwrap();
}

/// Does all that is wanted, until nothing is.
fn carry_out(clumsy: &mut Scripted<Clumsy>) {
    while let Some(wanted) = clumsy.wanted().into_iter().next() {
        clumsy.answer(&wanted, done()).unwrap();
    }
}

#[test]
fn sa6_an_undo_that_was_given_with_its_effect_is_run_though_on_late_fails() {
    // What was done waits in quarantine, and it is cancelled; or it is done after that.
    for is_quarantined in [true, false] {
        let mut clumsy = clumsy();
        let all = ["before", "given", "unsaid"].map(|key| of(&clumsy, key));
        let [before, given, unsaid] = &all;
        clumsy.answer(before, done()).unwrap();
        clumsy.answer(unsaid, no()).unwrap();
        if is_quarantined {
            clumsy.event("s", Told::Poison).unwrap();
            clumsy.answer(given, done()).unwrap();
            operate(&mut clumsy, SagaVerb::Cancel);
        } else {
            operate(&mut clumsy, SagaVerb::Cancel);
            clumsy.answer(given, done()).unwrap();
        }
        assert!(clumsy.written().contains(&"$Escalated".to_owned()));
        carry_out(&mut clumsy);
        assert_eq!(clumsy.undone(), ["given", "before"], "{is_quarantined}");
        let reason = "not wanted".to_owned();
        let how = Ending::Compensated { reason };
        assert_eq!(clumsy.status(), SagaStatus::Ended { how });
    }
}

#[test]
fn sa6_cancelled_the_undos_are_run_and_one_that_nobody_can_say_waits_for_a_person() {
    // What was done waits in quarantine, and it is cancelled; or on_late quarantines it, and it is cancelled once more.
    for is_quarantined in [true, false] {
        let mut clumsy = clumsy();
        let all = ["before", "given", "unsaid"].map(|key| of(&clumsy, key));
        let [before, given, unsaid] = &all;
        clumsy.answer(before, done()).unwrap();
        clumsy.answer(given, no()).unwrap();
        if is_quarantined {
            clumsy.event("s", Told::Poison).unwrap();
            clumsy.answer(unsaid, done()).unwrap();
        } else {
            operate(&mut clumsy, SagaVerb::Cancel);
            clumsy.answer(unsaid, done()).unwrap();
            assert!(matches!(clumsy.status(), SagaStatus::Quarantined { .. }));
            assert!(clumsy.wanted().is_empty());
        }
        operate(&mut clumsy, SagaVerb::Cancel);
        carry_out(&mut clumsy);
        assert_eq!(clumsy.undone(), ["before"], "{is_quarantined}");
        let SagaStatus::CompensationStuck { stuck } = clumsy.status() else {
            panic!("{:?}", clumsy.status());
        };
        assert_eq!(stuck[0].0, "unsaid");
        // There is nothing to send; a person says that it was done, or gives it up.
        operate(&mut clumsy, SagaVerb::RetryNow);
        assert!(matches!(
            clumsy.status(),
            SagaStatus::CompensationStuck { .. }
        ));
        let key = "unsaid".to_owned();
        operate(&mut clumsy, SagaVerb::Abandon { key });
        let (reason, left) = ("not wanted".to_owned(), vec!["unsaid".to_owned()]);
        let how = Ending::Abandoned { reason, left };
        assert_eq!(clumsy.status(), SagaStatus::Ended { how });
    }
}

#[test]
fn sa6_whose_last_words_fail_ends_as_undone_when_it_is_cancelled_once_more() {
    let mut clumsy = clumsy();
    for (key, answer) in [("before", done()), ("given", done()), ("unsaid", no())] {
        clumsy.answer(&of(&clumsy, key), answer).unwrap();
    }
    let cancel = || SagaVerb::Cancel.by("ann", "speechless");
    clumsy.operate(cancel()).unwrap();
    carry_out(&mut clumsy);
    let status = clumsy.status();
    assert!(
        matches!(status, SagaStatus::Quarantined { .. }),
        "{status:?}"
    );
    clumsy.operate(cancel()).unwrap();
    let reason = "speechless".to_owned();
    let how = Ending::Compensated { reason };
    assert_eq!(clumsy.status(), SagaStatus::Ended { how });
}

#[test]
fn sa7_a_saga_that_says_it_has_failed_after_it_was_undone_has_been_undone() {
    for sends_last in [true, false] {
        let mut clumsy = clumsy();
        if sends_last {
            clumsy.event("s", Told::Fail).unwrap();
        }
        let all = ["before", "given", "unsaid"].map(|key| of(&clumsy, key));
        for effect in &all {
            let answer = if effect.key == "unsaid" { no() } else { done() };
            clumsy.answer(effect, answer).unwrap();
        }
        operate(&mut clumsy, SagaVerb::Cancel);
        carry_out(&mut clumsy);
        let reason = "not wanted".to_owned();
        let how = Ending::Compensated { reason };
        assert_eq!(clumsy.status(), SagaStatus::Ended { how }, "{sends_last}");

        // Somebody gave an undo up: what is left is told.
        let mut clumsy = self::clumsy();
        for effect in &all {
            let answer = if effect.key == "unsaid" { no() } else { done() };
            clumsy.answer(effect, answer).unwrap();
        }
        operate(&mut clumsy, SagaVerb::Cancel);
        clumsy.answer(&of(&clumsy, "given"), no()).unwrap();
        let key = "given".to_owned();
        operate(&mut clumsy, SagaVerb::Abandon { key });
        carry_out(&mut clumsy);
        let SagaStatus::Ended { how } = clumsy.status() else {
            panic!("{:?}", clumsy.status());
        };
        assert!(matches!(how, Ending::Abandoned { .. }), "{how:?}");
    }
}

/// An instance that has begun.
fn begun() -> InstanceState<bool> {
    let mut state = InstanceState::new(Tenant::default(), "s".to_owned());
    take(&mut state, event(1, Told::Begin)).unwrap();
    state
}

fn event(position: u64, told: Told) -> SagaCommand {
    delivered(position, Delivery::StartOrResume, told)
}

fn take(state: &mut InstanceState<bool>, command: SagaCommand) -> Result<Vec<Action>, SagaRefusal> {
    use chronicler_runtime::Refusal;
    let step = Step::new(&Clumsy, state, Timestamp::from_millis(5));
    match step.take(command) {
        Ok(taken) => Ok(taken.due),
        Err(Refusal::Rejected(refusal) | Refusal::Withdrawn(refusal)) => Err(refusal),
        Err(_) => panic!("it cannot be written"),
    }
}

#[test]
fn sa9_no_attempt_begins_while_it_is_quarantined_and_all_go_on_when_it_is_released() {
    let mut state = begun();
    let (action, next) = (Action::of(0), Timestamp::from_millis(3));
    let failed = |attempt, next| SagaCommand::Failed {
        action,
        attempt,
        next: Some(next),
        reason: "no answer".to_owned(),
        decided_at: LogSequence::new(1),
    };
    take(&mut state, failed(1, next)).unwrap();
    take(&mut state, event(2, Told::Poison)).unwrap();
    let attempt = SagaCommand::Attempt {
        action,
        attempt: 1,
        next,
        begins_child: false,
    };
    let refused = take(&mut state, attempt.clone());
    assert_eq!(refused, Err(SagaRefusal::Quarantined));
    // One that was under way fails: the next has no date until the release.
    let other = SagaCommand::Failed {
        action: Action::of(1),
        attempt: 1,
        next: Some(next),
        reason: "no answer".to_owned(),
        decided_at: LogSequence::new(1),
    };
    take(&mut state, other).unwrap();
    assert_eq!(state.pending(Action::of(1)), Some((1, Timestamp::MAX)));

    let release = SagaCommand::Operate(SagaVerb::Release.by("ann", "mended"));
    let due = take(&mut state, release).unwrap();
    assert!(
        due.contains(&action) && due.contains(&Action::of(1)),
        "{due:?}"
    );
    assert_eq!(take(&mut state, attempt).map(drop), Ok(()));
}

/// What a part of an event decided, before another one quarantined it.
fn decided_and_poisoned() -> InstanceState<bool> {
    let mut state = InstanceState::new(Tenant::default(), "s".to_owned());
    let both = [Told::Begin, Told::Poison].map(|told| (Delivery::StartOrResume, told));
    take(&mut state, delivered_as(1, both)).unwrap();
    assert!(state.quarantined.is_some());
    state
}

#[test]
fn sa9_what_was_decided_when_it_was_quarantined_is_never_sent_if_it_is_cancelled() {
    let mut state = decided_and_poisoned();
    let cancel = SagaCommand::Operate(SagaVerb::Cancel.by("ann", "not wanted"));
    let due = take(&mut state, cancel).unwrap();
    let waits = |action: &Action| state.pending(*action).is_some();
    assert!(!due.iter().any(waits), "{due:?}");
    for effect in state.effects().iter().take(3) {
        let is_over = (effect.state.clone(), effect.undo.clone());
        assert_eq!(is_over, (EffectState::Rejected, UndoState::Idle));
    }
}

#[test]
fn sa9_what_was_decided_when_it_was_quarantined_is_sent_once_it_is_released() {
    let mut state = decided_and_poisoned();
    let release = SagaCommand::Operate(SagaVerb::Release.by("ann", "mended"));
    let due = take(&mut state, release).unwrap();
    for effect in 0..3 {
        let action = Action::of(effect);
        assert!(due.contains(&action), "{due:?}");
        // It asks before it is sent: from then on it may have been.
        assert_eq!(state.pending(action), Some((0, Timestamp::MAX)));
    }
}

#[test]
fn sa10_an_instance_whose_inputs_are_being_taken_up_needs_no_person() {
    let mut state = begun();
    let pause = SagaCommand::Operate(SagaVerb::Pause.by("ann", "a look"));
    take(&mut state, pause).unwrap();
    for position in 2..5 {
        take(&mut state, event(position, Told::Fail)).unwrap();
    }
    let resume = SagaCommand::Operate(SagaVerb::Resume.by("ann", "seen"));
    take(&mut state, resume).unwrap();
    assert_eq!(state.stalled.len(), 3);
    assert_eq!(state.status_with(Vec::new), SagaStatus::Running);
    let listed = state.open_fact(Vec::new).unwrap();
    assert!(!listed.status.needs_a_person());
    assert!(listed.has_work, "it is woken after a restart");
    assert_eq!(state.effect(0).unwrap().undo, UndoState::Idle);
}
