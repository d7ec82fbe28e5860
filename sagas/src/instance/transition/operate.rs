//! Orders are carried out in one instance: each change comes after an entry that says who wanted it and why.

use chronicler_domain::Timestamp;
use chronicler_store::codec::CodecId;

use super::command::Fork;
use super::refusal::SagaRefusal;
use super::step::Step;
use crate::definition::answer::{Answer, EffectAnswer};
use crate::definition::effect::Request;
use crate::definition::effect_view::{EffectState, EffectView, UndoState};
use crate::definition::input::{Input, Message, RoutedEvent};
use crate::definition::payload::Payload;
use crate::definition::saga::Saga;
use crate::instance::action::Action;
use crate::instance::entry::{Entry, StalledInput};
use crate::instance::fold::Recorded;
use crate::instance::status::Ending;
use crate::instance::verb::{Order, SagaVerb};

/// Text as it is, and bytes as `0x` and their digits.
fn as_the_service_takes_it(payload: &str) -> Result<Vec<u8>, SagaRefusal> {
    let Some(digits) = payload.strip_prefix("0x") else {
        return Ok(payload.as_bytes().to_vec());
    };
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    let digit = |digit: u8| char::from(digit).to_digit(16);
    let byte = |[high, low]: &[u8; 2]| u8::try_from(digit(*high)? * 16 + digit(*low)?).ok();
    let bytes: Option<Vec<u8>> = pairs.iter().map(byte).collect();
    bytes
        .filter(|_| rest.is_empty())
        .ok_or(SagaRefusal::NoBytes)
}

impl<S: Saga> Step<'_, S> {
    pub(super) fn operate(&mut self, order: Order) -> Result<(), SagaRefusal> {
        if let (SagaVerb::Terminate, Some(Ending::Terminated { .. })) =
            (&order.verb, &self.state.ended)
        {
            return Ok(());
        }
        if let SagaVerb::Fork { id, .. } = &order.verb {
            return self.forked_to(id.clone(), &order);
        }
        self.open()?;
        let Order { verb, by, why } = order.clone();
        match verb {
            SagaVerb::RetryNow => {
                let before = self.events.len();
                self.retry_now(&by)?;
                self.operated_for(&order, before);
            }
            SagaVerb::Cancel => self.cancel(why, by)?,
            SagaVerb::Release => {
                if self.state.quarantined.is_some() {
                    let before = self.events.len();
                    self.enter(Entry::Released { by });
                    self.operated_for(&order, before);
                    self.go_on_with_all();
                }
            }
            SagaVerb::Settle { key, outcome } => {
                let answer = match outcome {
                    Answer::Done(reply) => Answer::Done(Payload::json(&reply)),
                    Answer::Rejected(reason) => Answer::Rejected(Payload::json(&reason)),
                    Answer::Unknown(reason) => Answer::Unknown(reason),
                };
                self.settle(&key, answer, by, why)?;
            }
            SagaVerb::Pause if self.state.paused.is_none() => {
                self.operated(&order);
                self.enter(Entry::Paused { reason: why });
                self.hold_what_waits();
            }
            SagaVerb::Resume if self.state.paused.is_some() => {
                self.operated(&order);
                self.enter(Entry::Resumed);
                self.go_on_with_all();
            }
            SagaVerb::Pause | SagaVerb::Resume => {}
            SagaVerb::Terminate => {
                self.operated(&order);
                self.finish(Ending::Terminated { by, reason: why });
            }
            SagaVerb::Abandon { key } => self.abandon(&key, &order)?,
            SagaVerb::Skip { key, output } => self.skip(&key, &output, &order)?,
            SagaVerb::Edit { key, payload } => self.edit(&key, &payload, &order)?,
            SagaVerb::MoveTimer { key, due } => {
                if self.state.timers.get(&key) != Some(&due) {
                    self.timer_of(&key)?;
                    self.operated(&order);
                    self.drop_fired(&key);
                    self.dated.insert(key.clone());
                    self.enter(Entry::Armed { key, due });
                }
            }
            SagaVerb::CancelTimer { key } => {
                let is_armed = self.timer_of(&key)?;
                self.operated(&order);
                self.drop_fired(&key);
                if is_armed {
                    self.enter(Entry::Disarmed { key });
                }
            }
            SagaVerb::Signal { name, payload } => self.signal(name, &payload, &order)?,
            SagaVerb::Migrate => self.migrate(&order)?,
            // The other instance is asked, not this one.
            SagaVerb::Fork { .. } => {}
        }
        Ok(())
    }

    fn signal(&mut self, name: String, payload: &str, order: &Order) -> Result<(), SagaRefusal> {
        if !self.state.is_forward() {
            return Err(SagaRefusal::Compensating);
        }
        if self.state.concluded.is_some() {
            return Err(SagaRefusal::Concluded);
        }
        let payload = Payload::json(payload);
        let stalled = StalledInput::signal(name.clone(), &payload);
        let input = Input::Signal(Message { name, payload });
        // What waits is not to find out later that it cannot be taken.
        if let Err(fault) = self.would_take(&input) {
            let (what, reason) = ("the signal", fault.to_string());
            return Err(SagaRefusal::NotTaken { what, reason });
        }
        self.operated(order);
        self.input(input, stalled);
        Ok(())
    }

    /// Whether a timer is armed; else it came due and waits to be taken in, as while the instance is paused.
    fn timer_of(&self, key: &str) -> Result<bool, SagaRefusal> {
        let is_this =
            |input: &StalledInput| matches!(input, StalledInput::Timer(fired) if fired == key);
        match self.state.timers.contains_key(key) {
            true => Ok(true),
            false if self.state.stalled.iter().any(is_this) => Ok(false),
            false => Err(SagaRefusal::NoTimer),
        }
    }

    /// What came due while it stood was held back.
    pub(super) fn go_on_with_all(&mut self) {
        let all = self.state.effects.indices().into_iter();
        self.due.extend(all.flat_map(Action::both_of));
    }

    /// Notes a verb whose entries say who, but not why: if it did anything, and there is a why.
    fn operated_for(&mut self, order: &Order, before: usize) {
        if !order.why.is_empty() && self.events.len() > before {
            self.operated(order);
        }
    }

    fn operated(&mut self, order: &Order) {
        self.enter(Entry::Operated {
            verb: order.verb.name().to_owned(),
            about: order.verb.about().to_owned(),
            by: order.by.clone(),
            reason: order.why.clone(),
        });
    }

    /// The latest effect of this key for which `is` holds.
    fn find(&self, key: &str, is: impl Fn(&EffectState, &UndoState) -> bool) -> Option<u32> {
        let all = self.state.effects.indices().into_iter();
        all.rev().find(|index| {
            let effect = self.state.effect(*index);
            effect.is_some_and(|effect| effect.spec.key == key && is(&effect.state, &effect.undo))
        })
    }

    fn abandon(&mut self, key: &str, order: &Order) -> Result<(), SagaRefusal> {
        if self
            .find(key, |_, undo| *undo == UndoState::Abandoned)
            .is_some()
        {
            return Ok(());
        }
        let is_stuck = |_: &_, undo: &UndoState| match undo {
            UndoState::Stuck { .. } => true,
            UndoState::Pending { next, .. } => *next == Timestamp::MAX,
            _ => false,
        };
        let effect = self
            .find(key, is_stuck)
            .ok_or(SagaRefusal::NothingToSettle)?;
        self.operated(order);
        self.enter(Entry::Abandoned { effect });
        Ok(())
    }

    fn skip(&mut self, key: &str, output: &str, order: &Order) -> Result<(), SagaRefusal> {
        let latest = self.state.effects.latest(key);
        let latest = latest.and_then(|index| self.state.effect(index));
        if latest.is_some_and(|effect| effect.skipped) {
            return Ok(());
        }
        let waits = |state: &EffectState, _: &_| {
            let is_aside = matches!(state, EffectState::Parked { .. } | EffectState::Awaited);
            is_aside || state.waits()
        };
        let Some(effect) = self.find(key, waits) else {
            let is_pending =
                |state: &EffectState, _: &_| matches!(state, EffectState::Pending { .. });
            return Err(match self.find(key, is_pending) {
                Some(_) => SagaRefusal::AttemptUnderWay,
                None => SagaRefusal::NothingToSettle,
            });
        };
        let answer = Answer::Done(Payload::json(output));
        let what = "the output that it goes on with";
        self.would_take_answer(effect, &answer, what)?;
        let was_quarantined = self.state.quarantined.is_some();
        self.operated(order);
        self.enter(Entry::Skipped { effect });
        self.answer(Action::of(effect), answer);
        self.taken(was_quarantined, what);
        Ok(())
    }

    /// What waits is not to find out later that it cannot be taken. The code of a quarantined one is to be mended first.
    pub(super) fn would_take_answer(
        &self,
        effect: u32,
        answer: &Answer,
        what: &'static str,
    ) -> Result<(), SagaRefusal> {
        let is_heard = self.state.is_forward() && self.state.quarantined.is_none();
        let Some(effect) = self.state.effect(effect).filter(|_| is_heard) else {
            return Ok(());
        };
        if matches!(answer, Answer::Unknown(_)) {
            return Ok(());
        }
        let outcome = EffectAnswer::new(effect.spec.key.clone(), answer.clone());
        let taken = self.would_take(&Input::Answer(outcome));
        taken.map_err(|fault| SagaRefusal::NotTaken {
            what,
            reason: fault.to_string(),
        })
    }

    fn edit(&mut self, key: &str, payload: &str, order: &Order) -> Result<(), SagaRefusal> {
        let waits = |state: &EffectState, undo: &UndoState| {
            matches!(undo, UndoState::Stuck { .. }) || matches!(state, EffectState::Parked { .. })
        };
        let effect = self.find(key, waits).ok_or(SagaRefusal::NothingToSettle)?;
        let is_stuck = |view: &EffectView| matches!(view.undo, UndoState::Stuck { .. });
        let action = match self.state.effect(effect).is_some_and(is_stuck) {
            true => Action::undo_of(effect),
            false => Action::of(effect),
        };
        let (json_codec, bytes) = (CodecId::JSON.number(), payload.as_bytes().to_vec());
        let request = match self.state.request(action).cloned() {
            Some(Request::Command { category, id, .. }) => Request::Command {
                category,
                id,
                codec: json_codec,
                command: bytes,
            },
            Some(Request::Call { service, .. }) => Request::Call {
                service,
                request: as_the_service_takes_it(payload)?,
            },
            Some(Request::Start { saga, id, .. }) => Request::Start {
                saga,
                id,
                codec: json_codec,
                start: bytes,
            },
            Some(Request::Nothing) | None => return Err(SagaRefusal::NothingToSettle),
        };
        self.operated(order);
        self.enter(Entry::Edited {
            action,
            request: Box::new(request),
        });
        self.unpark(action, order.by.clone());
        Ok(())
    }

    fn migrate(&mut self, order: &Order) -> Result<(), SagaRefusal> {
        if self.state.effects().iter().any(EffectView::is_under_way) {
            return Err(SagaRefusal::UnderWay);
        }
        if self.state.effects.is_one_parked() {
            return Err(SagaRefusal::EffectParked);
        }
        if let Some(effect) = self.state.unheard(0).next() {
            let key = self
                .state
                .effect(effect)
                .map(|effect| effect.spec.key.clone());
            let key = key.unwrap_or_default();
            return Err(SagaRefusal::AnswerWaits { key });
        }
        if !self.state.is_forward() {
            return Err(SagaRefusal::Compensating);
        }
        let Some(from) = self.state.saga_version else {
            return Err(SagaRefusal::NotStarted);
        };
        self.operated(order);
        // What failed under the old definition may be what it is migrated for.
        if self.state.quarantined.is_some() {
            let by = order.by.clone();
            self.enter(Entry::Released { by });
            self.go_on_with_all();
        }
        self.enter(Entry::Migrated {
            saga_version: S::VERSION,
        });
        let decided = self.decide(&Input::Migrate { from });
        if let Err(fault) = decided {
            // Nothing of it is taken: it goes on waiting as it was.
            self.withdraw("the migration", &fault);
        }
        Ok(())
    }

    /// What it did is another's from here on, and of that one alone.
    fn forked_to(&mut self, id: String, order: &Order) -> Result<(), SagaRefusal> {
        match &self.state.forked_to {
            Some(other) if *other == id => Ok(()),
            Some(_) => Err(SagaRefusal::ForkedBefore),
            None => {
                self.operated(order);
                self.enter(Entry::ForkedTo { id });
                Ok(())
            }
        }
    }

    /// Attempts that wait for their time wait until it is resumed: till then a person can skip or settle them.
    fn hold_what_waits(&mut self) {
        for effect in self.state.effects.indices() {
            for action in Action::both_of(effect) {
                let pending = self.state.pending(action);
                if pending
                    .is_some_and(|(_, next)| next > Timestamp::EPOCH && next != Timestamp::MAX)
                {
                    let reason = "it is paused".to_owned();
                    self.enter(Entry::Held { action, reason });
                }
            }
        }
    }

    /// Begins it as a copy of another: with its entries and events, the last of them the decision of an effect.
    pub(super) fn fork(&mut self, fork: Fork, order: &Order) -> Result<(), SagaRefusal> {
        if self.state.is_started() {
            let is_this = self.state.forked_from.as_ref() == Some(&(fork.from, fork.before));
            return match is_this {
                true => Ok(()),
                false => Err(SagaRefusal::StartedBefore),
            };
        }
        let mut events = fork.events.into_iter();
        for copied in events.by_ref() {
            match copied {
                Recorded::Entry(started @ Entry::Started { .. }) => {
                    self.enter(started);
                    self.operated(order);
                    let (from, before) = (fork.from.clone(), fork.before.clone());
                    self.enter(Entry::Forked { from, before });
                    break;
                }
                other => self.copy(other),
            }
        }
        let since = self.now.since(fork.at);
        for copied in events {
            self.copy(match copied {
                // What was left of its time is left.
                Recorded::Entry(Entry::Armed { key, due }) => {
                    let due = due.plus(since);
                    Recorded::Entry(Entry::Armed { key, due })
                }
                other => other,
            });
        }
        let all = self.state.effects.indices().into_iter();
        self.due.extend(all.map(Action::of));
        Ok(())
    }

    fn copy(&mut self, copied: Recorded<RoutedEvent>) {
        match copied {
            Recorded::Entry(entry) => self.enter(entry),
            Recorded::Own(event) => {
                if let Some(event) = event.0.downcast_ref::<S::Event>()
                    && let Err(fault) = self.record(event)
                {
                    self.withdraw("an event that is copied", &fault);
                }
            }
        }
    }

    /// An answer that the saga's code cannot take is not taken: the effect goes on waiting for another.
    pub(super) fn taken(&mut self, was_quarantined: bool, what: &'static str) {
        if let Some(reason) = self.state.quarantined.clone().filter(|_| !was_quarantined) {
            self.withdraw(what, &reason);
        }
    }

    /// The whole step is refused, and nothing of it is journaled.
    pub(super) fn withdraw(&mut self, what: &'static str, reason: &impl ToString) {
        let reason = reason.to_string();
        self.refused = Some(SagaRefusal::NotTaken { what, reason });
    }
}
