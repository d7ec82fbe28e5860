//! One instance without a runtime, a store or a clock: what the test kit plays scripts with.

use std::any::TypeId;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use chronicler_domain::{Event, GlobalPosition, LogSequence, StreamVersion, Tenant, Timestamp};
use chronicler_store::NewEvent;
use chronicler_store::codec::{PayloadCodec, encode};

use crate::definition::answer::Answer;
use crate::definition::effect::Request;
use crate::definition::effect_view::EffectView;
use crate::definition::input::RoutedEvent;
use crate::definition::routes::{Delivery, EventOrigin, Routes};
use crate::definition::saga::Saga;
use crate::instance::action::Action;
use crate::instance::entry::{Entry, StalledInput};
use crate::instance::fold::StreamReader;
use crate::instance::state::InstanceState;
use crate::instance::status::SagaStatus;
use crate::instance::transition::command::{Part, SagaCommand};
use crate::instance::transition::step::Step;
use crate::instance::verb::Order;

/// The wait before an attempt whose answer was lost is made again.
const AGAIN: Duration = Duration::from_secs(1);

/// An effect or undo that is to be carried out now.
#[derive(Clone, Debug)]
pub struct PendingEffect {
    action: Action,
    attempt: u32,
    /// The key of the effect.
    pub key: String,
    /// What is to be done.
    pub request: Request,
}

/// One instance of a saga: it takes inputs as the executor gives them, and what it wants done is answered by hand.
///
/// After each input it is folded again from what it wrote, as after a crash, and the input is repeated, as after a lost
/// acknowledgement: neither may make a difference.
pub struct Scripted<S: Saga> {
    saga: S,
    state: InstanceState<S::State>,
    written: Vec<NewEvent>,
    now: Timestamp,
    position: GlobalPosition,
    /// The events that it was brought, for when it takes up what waited.
    events: HashMap<GlobalPosition, RoutedEvent>,
    reader: StreamReader<S::Event>,
}

impl<S: Saga> Scripted<S> {
    /// An instance of this id that was not started yet.
    pub fn new(saga: S, id: &str, now: Timestamp) -> Self {
        Self {
            saga,
            state: InstanceState::new(Tenant::default(), id.to_owned()),
            written: Vec::new(),
            now,
            position: GlobalPosition::ZERO,
            events: HashMap::new(),
            reader: StreamReader::new(),
        }
    }

    /// Brings it an event that happened to the aggregate of an id, if its routes do.
    ///
    /// # Errors
    /// When the routes bring it elsewhere; or when the input, repeated or recovered from, makes a difference. In words.
    pub fn event<E: Event>(&mut self, id: &str, event: E) -> Result<(), String> {
        let delivered = self.deliver(id, event)?;
        self.take(delivered)?;
        // What came before the event that begins it.
        self.take_up()
    }

    fn deliver<E: Event>(&mut self, id: &str, event: E) -> Result<SagaCommand, String> {
        self.position = GlobalPosition::new(self.position.get() + 1);
        let delivery = self.route(id, &event)?;
        let event = RoutedEvent(Arc::new(event));
        self.events.insert(self.position, event.clone());
        let part = Part {
            place: 0,
            of: 1,
            delivery,
            event,
        };
        Ok(SagaCommand::Deliver {
            position: self.position,
            parts: vec![part],
            is_late: false,
        })
    }

    /// The same for an event at which it is quarantined, as if the log took nothing of what it decided.
    #[cfg(test)]
    pub(crate) fn event_that_is_not_taken<E: Event>(
        &mut self,
        id: &str,
        event: E,
    ) -> Result<(), String> {
        let input = Box::new(self.deliver(id, event)?);
        let reason = "the log takes nothing of it".to_owned();
        self.take(SagaCommand::QuarantineAt { input, reason })
    }

    /// Asks the routes how an event comes to this instance.
    fn route<E: Event>(&self, id: &str, event: &E) -> Result<Delivery, String> {
        let info = EventOrigin {
            tenant: self.state.tenant.clone(),
            id: id.to_owned(),
            version: StreamVersion::new(1),
            position: self.position,
            timestamp: self.now,
        };
        let type_name = std::any::type_name::<E>();
        let routes = Routes::<S>::of_saga();
        let entries = routes.entries.values();
        let mut asked = entries
            .filter(|entry| entry.of == TypeId::of::<E>())
            .peekable();
        if asked.peek().is_none() {
            return Err(format!(
                "its routes name no aggregate whose events are {type_name}: in an application it is never brought here"
            ));
        }
        let mut elsewhere = Vec::new();
        for entry in asked {
            for (to, delivery) in (entry.find)(event, &info).0 {
                if to == self.state.id {
                    return Ok(delivery);
                }
                elsewhere.push(to);
            }
        }
        Err(format!(
            "its routes bring this {type_name} of aggregate {id:?} to {elsewhere:?}, and not to {:?}: say which aggregate it is of (`given_from`), or which instance is meant (`script_of`)",
            self.state.id
        ))
    }

    /// Has carried out what an operator wants, and takes up what waited for that.
    ///
    /// # Errors
    /// Why it is refused, or as [`event`](Self::event).
    pub fn operate(&mut self, order: Order) -> Result<(), String> {
        let command = SagaCommand::Operate(order);
        let takes_up = command.takes_up();
        self.take(command)?;
        match takes_up {
            true => self.take_up(),
            false => Ok(()),
        }
    }

    /// Takes up what waits, as long as nothing keeps it from that.
    pub(crate) fn take_up(&mut self) -> Result<(), String> {
        while let Some(input) = self.state.stalled.front().cloned()
            && self.state.takes_up()
        {
            let events = match &input {
                StalledInput::Event(position) | StalledInput::Starting { position, .. } => {
                    self.events.get(position).cloned()
                }
                _ => None,
            };
            let events = events.into_iter().collect();
            self.take(SagaCommand::Unstall { input, events })?;
        }
        Ok(())
    }

    /// What is to be done now, in the order in which it was decided; nothing while it is paused or quarantined.
    pub fn wanted(&self) -> Vec<PendingEffect> {
        if self.state.stands() {
            return Vec::new();
        }
        let wanted = |action: Action| {
            let (attempt, next) = self.state.pending(action)?;
            let view = self.state.effect(action.effect)?;
            let request = self.state.request(action)?.clone();
            // What waited for the end of a pause goes at once.
            let is_due = next <= self.now || next == Timestamp::MAX;
            is_due.then(|| PendingEffect {
                action,
                attempt,
                key: view.spec.key.clone(),
                request,
            })
        };
        let all = self.state.effects.indices().into_iter();
        all.flat_map(Action::both_of).filter_map(wanted).collect()
    }

    /// Answers what was wanted. Of a child it is its end.
    ///
    /// # Errors
    /// As [`event`](Self::event).
    pub fn answer(&mut self, wanted: &PendingEffect, answer: Answer) -> Result<(), String> {
        self.take(SagaCommand::Answer {
            action: wanted.action,
            answer,
        })
    }

    /// Loses the answer to what was wanted: it is wanted again, one second later.
    ///
    /// # Errors
    /// As [`event`](Self::event).
    pub fn lose(&mut self, wanted: &PendingEffect) -> Result<(), String> {
        let next = self.now.plus(AGAIN);
        self.take(SagaCommand::Failed {
            action: wanted.action,
            attempt: wanted.attempt + 1,
            next: Some(next),
            reason: "the answer was lost".to_owned(),
            decided_at: LogSequence::ZERO.next(),
        })?;
        self.now = next;
        Ok(())
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.state.id
    }

    /// Lets time pass; the timers that come due fire in order.
    ///
    /// # Errors
    /// As [`event`](Self::event).
    pub fn advance(&mut self, time: Duration) -> Result<(), String> {
        let until = self.now.plus(time);
        loop {
            let timers = self.state.timers.iter();
            let next = timers.map(|(key, due)| (*due, key.clone())).min();
            let Some((due, key)) = next.filter(|(due, _)| *due <= until) else {
                break;
            };
            self.now = self.now.max(due);
            self.take(SagaCommand::Fire { key, due })?;
        }
        self.now = until;
        Ok(())
    }

    /// Where it is.
    pub fn status(&self) -> SagaStatus {
        self.state
            .status_with(|| self.saga.waits_for(&self.state.user))
    }

    /// What it knows.
    pub fn state(&self) -> &S::State {
        &self.state.user
    }

    /// The keys of the effects that were undone, in order.
    pub fn undone(&self) -> Vec<String> {
        let mut undone = Vec::new();
        for event in &self.written {
            let read = self.reader.read_new(event, |recorded| {
                if let Some(Entry::Undone { effect }) = recorded.entry()
                    && let Some(view) = self.state.effect(*effect)
                {
                    undone.push(view.spec.key.clone());
                }
            });
            // What it wrote was read back when it was written.
            drop(read);
        }
        undone
    }

    /// The types of everything that it wrote, in order.
    pub fn written(&self) -> Vec<String> {
        let written = self.written.iter();
        written.map(|event| event.event_type.to_string()).collect()
    }

    pub(crate) fn take(&mut self, command: SagaCommand) -> Result<(), String> {
        let can_be_repeated = matches!(
            command,
            SagaCommand::Deliver { .. } | SagaCommand::Answer { .. } | SagaCommand::Fire { .. }
        );
        self.step(command.clone())?;
        self.survives_a_crash()?;
        if can_be_repeated {
            let before = self.written.len();
            self.step(command)?;
            let more = self.written.get(before..).unwrap_or_default();
            if let Some(event) = more.first() {
                return Err(format!(
                    "the same input once more wrote {}",
                    event.event_type
                ));
            }
        }
        Ok(())
    }

    fn step(&mut self, command: SagaCommand) -> Result<(), String> {
        // What is refused changes nothing.
        let mut state = self.state.clone();
        let step = Step::new(&self.saga, &mut state, self.now);
        let taken = step.take(command).map_err(|refusal| refusal.to_string());
        let events = taken?.events;
        if !events.is_empty() {
            if self.written.is_empty() {
                state.started_at = self.now;
            }
            state.moved_at = self.now;
        }
        self.written.extend(events);
        self.state = state;
        Ok(())
    }

    /// Folds it again from what it wrote, and compares.
    fn survives_a_crash(&mut self) -> Result<(), String> {
        let mut again = InstanceState::new(self.state.tenant.clone(), self.state.id.clone());
        for event in &self.written {
            let read = self.reader.read_new(event, |recorded| {
                again.fold_written(&recorded, S::evolve);
            });
            read.map_err(|error| error.to_string())?;
        }
        // What a commit says beside its events.
        again.started_at = self.state.started_at;
        again.moved_at = self.state.moved_at;
        for index in self.state.effects.indices() {
            let known = self
                .state
                .effect(index)
                .and_then(|effect| effect.decided_at);
            let learns = |effect: &mut EffectView| effect.decided_at = known;
            again.effects.change(index, learns);
        }
        let bytes = |state: &InstanceState<S::State>| {
            encode(PayloadCodec::default(), state).map_err(|error| error.to_string())
        };
        if bytes(&again)? != bytes(&self.state)? {
            let last = self
                .written
                .last()
                .map(|event| event.event_type.to_string());
            return Err(format!(
                "recovered after a crash it is not what it was; the last that it wrote is {}. `evolve` must do the same whenever it is called",
                last.unwrap_or_default()
            ));
        }
        self.state = again;
        Ok(())
    }
}
