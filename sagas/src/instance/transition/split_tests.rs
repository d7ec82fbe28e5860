//! The parts of one event come to a saga of steps: what comes after the part that gives it up changes nothing.

use chronicler_domain::{
    Aggregate, Context, Decided, Event, GlobalPosition, Never, Tenant, Timestamp,
};
use serde::{Deserialize, Serialize};

use super::command::{Part, SagaCommand};
use super::step::Step;
use crate::definition::answer::Answer;
use crate::definition::input::{Input, RoutedEvent};
use crate::definition::routes::{Delivery, Routes};
use crate::instance::action::Action;
use crate::instance::state::InstanceState;
use crate::instance::status::Ending;
use crate::step_keys;
use crate::steps::{Compensable, Define, Definition, Heard, Nil, StepSaga, Steps, to};

#[derive(Clone, Default, Serialize, Deserialize)]
struct Shelf;

#[derive(Clone, Serialize, Deserialize)]
enum Told {
    Take,
    PutBack,
    Send,
}

#[derive(Clone, Serialize, Deserialize)]
enum Ordered {
    Placed,
    Cancelled,
    Paid,
}

impl Event for Ordered {}

impl Aggregate for Shelf {
    const CATEGORY: &'static str = "shelf";
    type Command = Told;
    type Event = Ordered;
    type Reply = ();
    type Rejection = Never;

    fn decide(&self, _: Told, _: &Context) -> Decided<Self> {
        unreachable!("nothing is sent")
    }

    fn evolve(&mut self, _: &Ordered) {}
}

step_keys! {
    Taken = "take" -> ();
    Paid = "paid" -> ();
    Sent = "send" -> ();
}

struct Sale;

impl StepSaga for Sale {
    const NAME: &'static str = "sale";
    type Start = ();

    fn routes(_: &mut Routes<Steps<Self>>) {}

    fn begin(_: &Input) -> Option<()> {
        Some(())
    }

    fn heard(event: &Input, (): &()) -> Heard {
        match event.event::<Shelf>() {
            Some(Ordered::Cancelled) => Heard::cancel("cancelled"),
            Some(Ordered::Paid) => Heard::signal(Paid, &()),
            _ => Heard::Nothing,
        }
    }

    fn define(steps: Define<Self, Nil, Compensable>) -> Definition<Self> {
        steps
            .step(
                Taken,
                |_| to::<Shelf>("pens", Told::Take),
                |_, _| to::<Shelf>("pens", Told::PutBack),
            )
            .wait_for(Paid)
            .pivot(Sent, |_| to::<Shelf>("pens", Told::Send))
            .build()
    }
}

#[test]
fn m22_what_a_step_waits_for_changes_nothing_after_the_part_that_gave_the_saga_up() {
    let saga = Steps::<Sale>::of();
    let mut state = InstanceState::new(Tenant::default(), "i".to_owned());
    let mut take = |command: SagaCommand| {
        let step = Step::new(&saga, &mut state, Timestamp::from_millis(1));
        step.take(command).unwrap()
    };
    let event = |position, parts: Vec<Ordered>| {
        let of = u32::try_from(parts.len()).unwrap();
        let part = |(place, event)| Part {
            place,
            of,
            delivery: Delivery::StartOrResume,
            event: RoutedEvent::new(event),
        };
        SagaCommand::Deliver {
            position: GlobalPosition::new(position),
            is_late: false,
            parts: (0..).zip(parts).map(part).collect(),
        }
    };
    let done = |action| SagaCommand::Answer {
        action,
        answer: Answer::done(&()),
    };
    take(event(1, vec![Ordered::Placed]));
    take(done(Action::of(0)));
    let given_up = take(event(2, vec![Ordered::Cancelled, Ordered::Paid]));
    assert_eq!(given_up.due, [Action::undo_of(0)], "nothing but the undo");
    take(done(Action::undo_of(0)));
    let reason = "cancelled".to_owned();
    assert_eq!(state.ended, Some(Ending::Compensated { reason }));
    assert_eq!(state.effects.decided(), 1);
}
