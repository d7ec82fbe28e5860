//! The cost of an input, in effects that are looked at: no more when the instance has many.

use std::time::Duration;

use chronicler_domain::{Aggregate, Context, Decided, Event, Never, Tenant, Timestamp};
use serde::{Deserialize, Deserializer, Serialize};

use super::command::SagaCommand;
use super::step::Step;
use super::test_kit::delivered;
use crate::definition::answer::Answer;
use crate::definition::input::{Input, SagaContext};
use crate::definition::next::Next;
use crate::definition::routes::Delivery;
use crate::definition::routes::Routes;
use crate::definition::saga::Saga;
use crate::instance::action::Action;
use crate::instance::state::InstanceState;
use crate::instance::status::Ending;
use crate::instance::visits;
use crate::step_keys;
use crate::steps::{Compensable, Define, Definition, Nil, StepSaga, Steps, to};

#[derive(Clone, Default, Serialize, Deserialize)]
struct Shelf;

#[derive(Clone, Serialize, Deserialize)]
enum ShelfCommand {
    Take,
    PutBack,
}

#[derive(Clone, Serialize, Deserialize)]
enum ShelfEvent {
    Ordered { items: usize, is_refused: bool },
}

impl Event for ShelfEvent {}

impl Aggregate for Shelf {
    const CATEGORY: &'static str = "shelf";
    type Command = ShelfCommand;
    type Event = ShelfEvent;
    type Reply = Counted;
    type Rejection = Never;

    fn decide(&self, _: ShelfCommand, _: &Context) -> Decided<Self> {
        unreachable!("nothing is sent")
    }

    fn evolve(&mut self, _: &ShelfEvent) {}
}

/// A reply that counts how often it is read.
#[derive(Clone, Serialize)]
struct Counted(u8);

thread_local! {
    static READ: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

impl<'de> Deserialize<'de> for Counted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        READ.set(READ.get() + 1);
        u8::deserialize(deserializer).map(Self)
    }
}

step_keys! {
    First = "first" -> Vec<Counted>;
    Second = "second" -> Vec<Counted>;
    Checked = "checked" -> ();
    Sure = "sure" -> ();
}

thread_local! {
    static ASKED: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

#[derive(Clone, Serialize, Deserialize)]
struct Ordered {
    items: usize,
    is_refused: bool,
}

fn take(start: &Ordered) -> Vec<crate::steps::To<Shelf>> {
    ASKED.set(ASKED.get() + 1);
    let items = 0..start.items;
    items
        .map(|item| to::<Shelf>(format!("s{item}"), ShelfCommand::Take))
        .collect()
}

fn put_back(item: usize) -> crate::steps::To<Shelf> {
    to::<Shelf>(format!("s{item}"), ShelfCommand::PutBack)
}

/// Two steps of several, at once or in turn, and what may refuse them.
macro_rules! of_several {
    ($saga:ident, $name:literal, $each:ident) => {
        struct $saga;

        impl StepSaga for $saga {
            const NAME: &'static str = $name;
            type Start = Ordered;

            fn routes(_: &mut Routes<Steps<Self>>) {}

            fn begin(event: &Input) -> Option<Ordered> {
                let ShelfEvent::Ordered { items, is_refused } = event.event::<Shelf>()?;
                Some(Ordered {
                    items: *items,
                    is_refused: *is_refused,
                })
            }

            fn define(steps: Define<Self, Nil, Compensable>) -> Definition<Self> {
                steps
                    .$each(
                        First,
                        |seen| take(seen.start()),
                        |_, item, _| put_back(item),
                    )
                    .$each(
                        Second,
                        |seen| take(seen.start()),
                        |seen, item, _| put_back(item + seen.output(First).len()),
                    )
                    .check(Checked, |seen| match seen.start().is_refused {
                        true => Err("no"),
                        false => Ok(()),
                    })
                    .pivot_here(Sure)
                    .build()
            }
        }
    };
}

of_several!(AtOnce, "at-once", each);
of_several!(InTurn, "in-turn", each_in_turn);

/// One instance, and what is counted from its first answer on.
struct Played<S: StepSaga> {
    saga: Steps<S>,
    state: InstanceState<<Steps<S> as Saga>::State>,
    due: Vec<Action>,
}

impl<S: StepSaga> Played<S> {
    fn begin(items: usize, is_refused: bool) -> Self {
        let mut played = Self {
            saga: Steps::of(),
            state: InstanceState::new(Tenant::default(), "i".to_owned()),
            due: Vec::new(),
        };
        let event = ShelfEvent::Ordered { items, is_refused };
        played.take(delivered(1, Delivery::Start, event));
        played
    }

    fn take(&mut self, command: SagaCommand) {
        let step = Step::new(&self.saga, &mut self.state, Timestamp::from_millis(1));
        let taken = step.take(command).unwrap();
        self.due.extend(taken.due);
        // As the entity and the executor ask after each.
        let _ = self.state.open_fact(Vec::new);
        let _ = self.state.has_work();
    }

    /// Answers whatever is due until nothing is, and says for how many.
    fn play(&mut self) -> usize {
        let mut answered = 0;
        while let Some(action) = self.due.pop() {
            answered += 1;
            let answer = Answer::done(&Counted(7));
            self.take(SagaCommand::Answer { action, answer });
        }
        answered
    }
}

/// How many effects are looked at, how often lists are asked for and how many replies are read, for each answer.
fn costs<S: StepSaga>(items: usize, is_refused: bool) -> (f64, usize, f64) {
    let mut played = Played::<S>::begin(items, is_refused);
    let before = (visits::count(), ASKED.get(), READ.get());
    let answered = played.play();
    match is_refused {
        false => assert_eq!(played.state.ended, Some(Ending::Completed)),
        true => assert!(matches!(
            played.state.ended,
            Some(Ending::Compensated { .. })
        )),
    }
    assert_eq!(answered, if is_refused { 4 * items } else { 2 * items });
    let each = |count: usize| count as f64 / answered as f64;
    (
        each(visits::count() - before.0),
        ASKED.get() - before.1,
        each(READ.get() - before.2),
    )
}

fn is_linear<S: StepSaga>() {
    for is_refused in [false, true] {
        let (few, many) = (costs::<S>(50, is_refused), costs::<S>(2_000, is_refused));
        assert!(
            many.0 <= 1.5 * few.0,
            "{} effects are looked at for an answer, {} where there are few",
            many.0,
            few.0
        );
        assert!(many.1 <= 2, "lists were asked for {} times", many.1);
        assert!(
            many.2 <= 1.5 * few.2,
            "{} replies are read for an answer, {} where there are few",
            many.2,
            few.2
        );
    }
}

#[test]
fn e1_an_answer_to_one_of_many_at_once_costs_what_one_of_few_does() {
    is_linear::<AtOnce>();
}

#[test]
fn e1_an_answer_to_one_of_many_in_turn_costs_what_one_of_few_does() {
    is_linear::<InTurn>();
}

/// Sends a command and arms a timer for each event.
struct Lasting;

#[derive(Serialize, Deserialize)]
enum Noted {
    Anew,
}

impl Event for Noted {}

impl Saga for Lasting {
    const NAME: &'static str = "lasting";
    type State = ();
    type Event = Noted;

    fn routes(_: &mut Routes<Self>) {}

    fn on(&self, (): &(), input: &Input, _: &SagaContext) -> Next<Self> {
        match input.event::<Shelf>() {
            Some(ShelfEvent::Ordered { items, .. }) => Next::stay()
                .send::<Shelf>("take", "s", ShelfCommand::Take)
                .timer(format!("t{items}"), Duration::from_secs(60)),
            None => Next::stay(),
        }
    }

    fn evolve((): &mut (), _: &Noted) {}
}

/// The effects that are looked at for the events from one to another, and those that are kept at the end.
fn lasting(events: std::ops::Range<u64>) -> (usize, usize) {
    let mut state = InstanceState::new(Tenant::default(), "i".to_owned());
    let mut before = 0;
    for number in 0..events.end {
        if number == events.start {
            before = visits::count();
        }
        let event = ShelfEvent::Ordered {
            items: usize::try_from(number).unwrap(),
            is_refused: false,
        };
        let deliver = delivered(number + 1, Delivery::StartOrResume, event);
        let now = Timestamp::from_millis(number);
        let taken = Step::new(&Lasting, &mut state, now).take(deliver).unwrap();
        for action in taken.due {
            let answer = Answer::done(&Counted(7));
            let answer = SagaCommand::Answer { action, answer };
            Step::new(&Lasting, &mut state, now).take(answer).unwrap();
        }
        let fact = state.open_fact(Vec::new).unwrap();
        assert_eq!(fact.until, Some(Timestamp::from_millis(60_000)));
        assert!(fact.on.len() <= 64);
    }
    (visits::count() - before, state.effects.all().len())
}

#[test]
fn e2_the_events_of_a_long_life_cost_alike_and_settled_effects_are_forgotten() {
    let (early, _) = lasting(200..600);
    let (late, kept) = lasting(9_600..10_000);
    assert!(
        late <= 2 * early,
        "{late} effects are looked at, {early} before"
    );
    assert!(kept <= 128, "{kept} effects are kept");
}
