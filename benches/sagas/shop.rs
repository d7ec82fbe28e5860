//! What the sagas work on: tickets that begin them, and counters that count.

use chronicler::prelude::*;
use serde::{Deserialize, Serialize};

/// Begins a saga.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(crate) struct Ticket;

#[derive(Clone, Serialize, Deserialize)]
pub(crate) enum TicketCommand {
    /// For the saga of three steps.
    Work,
    /// For the saga that waits.
    Wait,
    /// For the saga that fails.
    Poison,
}

#[derive(Clone, Serialize, Deserialize)]
pub(crate) enum TicketEvent {
    Worked,
    Waited,
    Poisoned,
}

impl Event for TicketEvent {}

impl Aggregate for Ticket {
    const CATEGORY: &'static str = "ticket";
    type Command = TicketCommand;
    type Event = TicketEvent;
    type Reply = ();
    type Rejection = Never;

    fn decide(&self, command: TicketCommand, _: &Context) -> Decided<Self> {
        Ok(match command {
            TicketCommand::Work => TicketEvent::Worked.into(),
            TicketCommand::Wait => TicketEvent::Waited.into(),
            TicketCommand::Poison => TicketEvent::Poisoned.into(),
        })
    }

    fn evolve(&mut self, _: &TicketEvent) {}
}

/// Counts.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(crate) struct Counter(u64);

#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Count(pub(crate) i64);

impl Event for Count {}

impl Aggregate for Counter {
    const CATEGORY: &'static str = "counter";
    type Command = Count;
    type Event = Count;
    type Reply = u64;
    type Rejection = Never;

    fn decide(&self, command: Count, _: &Context) -> Decided<Self> {
        let now = self.0.saturating_add_signed(command.0);
        Ok(Decision::event(command).reply(now))
    }

    fn evolve(&mut self, event: &Count) {
        self.0 = self.0.saturating_add_signed(event.0);
    }
}

chronicler::sagas::step_keys! {
    pub(crate) First = "first" -> u64;
    pub(crate) Second = "second" -> u64;
    pub(crate) Third = "third" -> u64;
}

/// Three commands to three aggregates of its own.
pub(crate) struct ThreeSteps;

fn counter(seen_id: &str, step: &str, by: i64) -> To<Counter> {
    to(format!("{seen_id}-{step}"), Count(by))
}

impl StepSaga for ThreeSteps {
    const NAME: &'static str = "three-steps";
    type Start = ();

    fn routes(on: &mut Routes<Steps<Self>>) {
        on.event::<Ticket>(|event, info| match event {
            TicketEvent::Worked => Route::start(&info.id),
            TicketEvent::Poisoned => Route::start_or_resume("poison"),
            TicketEvent::Waited => Route::ignore(),
        });
    }

    fn begin(event: &Input) -> Option<()> {
        // What begins nothing quarantines its instance.
        matches!(event.event::<Ticket>()?, TicketEvent::Worked).then_some(())
    }

    fn define(steps: Define<Self, Nil, Compensable>) -> Definition<Self> {
        steps
            .step(
                First,
                |seen| counter(seen.id(), "first", 1),
                |seen, _| counter(seen.id(), "first", -1),
            )
            .step(
                Second,
                |seen| counter(seen.id(), "second", 1),
                |seen, _| counter(seen.id(), "second", -1),
            )
            .pivot(Third, |seen| counter(seen.id(), "third", 1))
            .build()
    }
}

/// Begins, and waits for an event that does not come and a timer that is far away.
pub(crate) struct Waiting;

#[derive(Serialize, Deserialize)]
pub(crate) struct Began;

impl Event for Began {}

impl Saga for Waiting {
    const NAME: &'static str = "waiting";
    type State = ();
    type Event = Began;

    fn routes(on: &mut Routes<Self>) {
        on.event::<Ticket>(|event, info| match event {
            TicketEvent::Waited => Route::start(&info.id),
            _ => Route::ignore(),
        });
    }

    fn on(&self, (): &(), input: &Input, _: &SagaContext) -> Next<Self> {
        let day = std::time::Duration::from_secs(86_400);
        match input {
            Input::Event(_) => Next::stay().record(Began).timer("patience", day),
            _ => Next::stay().complete(),
        }
    }

    fn evolve((): &mut (), _: &Began) {}
}
