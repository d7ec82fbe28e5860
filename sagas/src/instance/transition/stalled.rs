//! Inputs that wait because the saga's own code failed, and how they are taken up again.

use chronicler_domain::Timestamp;
use chronicler_store::codec::CodecId;

use super::fault::Fault;
use super::step::Step;
use crate::definition::answer::EffectAnswer;
use crate::definition::input::{Input, Message, RoutedEvent};
use crate::definition::payload::Payload;
use crate::definition::saga::Saga;
use crate::instance::entry::{Entry, StalledInput};
use crate::instance::reason::cut;
use crate::instance::state::Phase;

impl<S: Saga> Step<'_, S> {
    /// Whether inputs wait: it is quarantined or paused, or others wait before them.
    pub(super) fn must_wait(&self) -> bool {
        self.state.stands() || !self.state.stalled.is_empty()
    }

    /// Gives an input to the saga, or lets it wait.
    pub(super) fn input(&mut self, input: Input, stalled: StalledInput) {
        if self.must_wait() {
            return self.enter(Entry::Stalled(stalled));
        }
        let decided = match self.not_written.take() {
            Some(reason) => Err(Fault::NotWritten { reason }),
            None => self.decide(&input),
        };
        if let Err(fault) = decided
            && !self.is_undone_as_given(&stalled, &fault)
        {
            return self.quarantine(&fault, stalled);
        }
        self.keep_early(&stalled);
    }

    /// An input that came before what begins the instance is kept until that comes.
    fn keep_early(&mut self, input: &StalledInput) {
        if std::mem::take(&mut self.came_early) {
            self.enter(Entry::CameEarly(input.clone()));
        }
    }

    /// Whether an effect that was done late is taken back though the saga's code cannot say how: an undo that was given
    /// with the effect is run in any case. A person is shown why it is that one.
    pub(super) fn is_undone_as_given(&mut self, input: &StalledInput, fault: &Fault) -> bool {
        let StalledInput::Answer { effect, .. } = input else {
            return false;
        };
        let effect = self.state.effect(*effect);
        let Some(effect) = effect.filter(|_| self.state.is_compensating()) else {
            return false;
        };
        if effect.spec.undo.is_none() {
            return false;
        }
        let key = &effect.spec.key;
        let reason =
            format!("the undo that was given with effect {key:?} is run as it is: {fault}");
        let reason = Some(cut(reason));
        self.enter(Entry::Escalated { reason });
        true
    }

    fn quarantine(&mut self, fault: &Fault, input: StalledInput) {
        let reason = cut(fault.to_string());
        self.enter(Entry::Quarantined { reason });
        self.enter(Entry::Stalled(input));
        self.hold_what_is_due();
    }

    /// What came due just before it is not carried out any more. It waits for the release, as what waits does in a pause;
    /// what was decided just before it was not sent, and need not be taken back.
    fn hold_what_is_due(&mut self) {
        for action in self.due.clone() {
            let Some((attempt, next)) = self.state.pending(action) else {
                continue;
            };
            let is_dated = next > Timestamp::EPOCH && next != Timestamp::MAX;
            let is_new = !action.is_undo() && action.effect >= self.decided_before;
            let is_unsent = is_new && (attempt, next) == (0, Timestamp::EPOCH);
            if is_dated || is_unsent {
                let reason = "it is quarantined".to_owned();
                self.enter(Entry::Held { action, reason });
            }
            if is_unsent {
                let (counted, unsent) = (false, true);
                self.enter(Entry::NotTaken {
                    action,
                    counted,
                    unsent,
                });
            }
        }
    }

    pub(super) fn unstall(&mut self, stalled: &StalledInput, events: Vec<RoutedEvent>) {
        // Another may have taken it up since.
        let is_first = self.state.stalled.front() == Some(stalled);
        let stands = self.state.stands();
        if stands || self.state.is_over() || !is_first {
            return;
        }
        self.is_to_begin = matches!(stalled, StalledInput::Starting { .. });
        let taken = match self.not_written.take() {
            Some(reason) => Err(Fault::NotWritten { reason }),
            None => self.take_up(stalled, events),
        };
        match taken {
            Ok(()) => {
                self.enter(Entry::Unstalled);
                self.keep_early(stalled);
            }
            Err(fault) if self.is_undone_as_given(stalled, &fault) => {
                self.enter(Entry::Unstalled);
            }
            // It stays the first of those that wait.
            Err(fault) => self.enter(Entry::Quarantined {
                reason: cut(fault.to_string()),
            }),
        }
    }

    /// Decides on an input that waited. Once the saga is being compensated only what has to be taken back matters.
    pub(super) fn take_up(
        &mut self,
        stalled: &StalledInput,
        events: Vec<RoutedEvent>,
    ) -> Result<(), Fault> {
        let matters = match (&self.state.phase, stalled) {
            // One that waited before it has begun the instance.
            (_, StalledInput::Starting { .. })
                if self.saga.has_begun(&self.state.user) == Some(true) =>
            {
                false
            }
            // It was armed again since: that one counts.
            (_, StalledInput::Dropped) => false,
            (_, StalledInput::Timer(key)) if self.state.timers.contains_key(key) => false,
            (Phase::Forward, _) | (_, StalledInput::Compensated { .. }) => true,
            (Phase::Compensating { .. }, StalledInput::Answer { answer, .. }) => answer.is_done(),
            _ => false,
        };
        if !matters {
            return Ok(());
        }
        let inputs: Vec<_> = match stalled {
            StalledInput::Event(_) | StalledInput::Part { .. } | StalledInput::Starting { .. } => {
                events.into_iter().map(Input::Event).collect()
            }
            StalledInput::Answer { effect, answer } => {
                let view = self.state.effect(*effect);
                let view = view.ok_or(Fault::Forgotten { effect: *effect })?;
                let (key, answer) = (view.spec.key.clone(), answer.clone());
                vec![Input::Answer(EffectAnswer::new(key, answer))]
            }
            StalledInput::Dropped => Vec::new(),
            StalledInput::Timer(key) => vec![Input::Timer(key.clone())],
            StalledInput::Signal {
                name,
                codec,
                payload,
            } => vec![Input::Signal(Message {
                name: name.clone(),
                payload: Payload::new(CodecId::new(*codec), payload.clone()),
            })],
            StalledInput::Begin { codec, start } => vec![Input::Begin(Message {
                name: String::new(),
                payload: Payload::new(CodecId::new(*codec), start.clone()),
            })],
            StalledInput::Compensated { reason } => {
                vec![Input::Compensated {
                    reason: reason.clone(),
                }]
            }
        };
        for (place, input) in inputs.iter().enumerate() {
            match self.decide(input) {
                Ok(()) => {}
                // Who said it has gone, and released as often as may be it would be refused again.
                Err(fault @ Fault::Mistaken { .. }) if let Input::Signal(message) = input => {
                    self.enter(Entry::SignalRefused {
                        name: message.name.clone(),
                        reason: cut(fault.to_string()),
                    });
                }
                Err(fault) if place == 0 => return Err(fault),
                // What it decided on those before it must not be decided again: nothing of it is taken.
                Err(fault) => self.withdraw("an event that waited", &fault),
            }
        }
        Ok(())
    }
}
