//! The saga's own code decides, and what it decided is looked through before any of it is journaled.

use std::panic::{AssertUnwindSafe, catch_unwind};

use chronicler_store::codec::{PayloadCodec, encode_event, read_back};
use chronicler_store::{NewEvent, panic_text};

use super::step::Step;
use crate::definition::directive::Directive;
use crate::definition::input::{Input, SagaContext};
use crate::definition::next::Next;
use crate::definition::saga::Saga;
use crate::instance::journal::OWN_PREFIX;
use crate::instance::state::Phase;

impl<S: Saga> Step<'_, S> {
    /// Lets the saga decide, and carries its decision into the journal.
    ///
    /// # Errors
    /// What its code did wrong. Nothing of the decision is then in the journal.
    pub(super) fn decide(&mut self, input: &Input) -> Result<(), String> {
        if self.state.ended.is_some() || self.state.concluded.is_some() {
            return Ok(());
        }
        let ctx = SagaContext {
            id: self.state.id.clone(),
            tenant: self.state.tenant.clone(),
            now: self.now,
        };
        let (saga, user) = (self.saga, &self.state.user);
        let late = match (input, &self.state.phase) {
            (Input::Outcome(outcome), Phase::Compensating { .. }) => Some(outcome),
            _ => None,
        };
        let decided = catch_unwind(AssertUnwindSafe(|| match late {
            Some(outcome) => saga.on_late(user, outcome, &ctx),
            None => saga.on(user, input, &ctx),
        }));
        let next = decided.map_err(|panic| {
            format!(
                "its code panicked on {}: {}",
                input.describe(),
                panic_text(panic.as_ref())
            )
        })?;
        self.check(&next, input)?;
        // Who is cancelled takes note, and is then undone.
        let is_cancelled = matches!(input, Input::Cancelled { .. });
        let only_undoes = |directive: &Directive<_>| {
            matches!(
                directive,
                Directive::Record(_) | Directive::UndoOf { .. } | Directive::Escalate(_)
            )
        };
        if is_cancelled && !next.directives.iter().all(only_undoes) {
            return Err(
                "told that it is cancelled, it wants to do more than to take note".to_owned(),
            );
        }
        if late.is_some() && !next.directives.iter().all(only_undoes) {
            return Err(format!(
                "on {}, which came after compensation had begun, it wants to do more than to undo it",
                input.describe()
            ));
        }
        let (user, recorded) = self.tried(&next, input)?;
        let mut recorded = recorded.into_iter();
        for directive in next.directives {
            self.act(directive, &mut recorded);
        }
        if let Some(user) = user {
            self.state.user = user;
        }
        Ok(())
    }

    /// The state as the events of a decision make it, and these events, encoded. The state itself is not touched: an
    /// event that `evolve` cannot take must leave neither a trace of itself nor of what was decided with it.
    fn tried(
        &self,
        next: &Next<S>,
        input: &Input,
    ) -> Result<(Option<S::State>, Vec<NewEvent>), String> {
        let (mut user, mut recorded) = (None, Vec::new());
        for directive in &next.directives {
            let event = match directive {
                Directive::Record(event) => event,
                Directive::ContinueAsNew => {
                    user = Some(S::State::default());
                    continue;
                }
                _ => continue,
            };
            let encoded = encode_event(PayloadCodec::default(), event);
            recorded.push(encoded.map_err(|error| error.to_string())?);
            let state = user.get_or_insert_with(|| self.state.user.clone());
            let evolved = catch_unwind(AssertUnwindSafe(|| S::evolve(state, event)));
            evolved.map_err(|panic| {
                format!(
                    "evolve panicked on what was decided on {}: {}",
                    input.describe(),
                    panic_text(panic.as_ref())
                )
            })?;
        }
        Ok((user, recorded))
    }

    /// Whether the saga would take an input as it is now. Nothing is decided.
    ///
    /// # Errors
    /// Why it would not.
    pub(super) fn would_take(&self, input: &Input) -> Result<(), String> {
        let ctx = SagaContext {
            id: self.state.id.clone(),
            tenant: self.state.tenant.clone(),
            now: self.now,
        };
        let (saga, user) = (self.saga, &self.state.user);
        let decided = catch_unwind(AssertUnwindSafe(|| saga.on(user, input, &ctx)));
        let next = decided.map_err(|panic| panic_text(panic.as_ref()).to_owned())?;
        self.check(&next, input)
    }

    /// Whether an effect of this key was decided, and is not forgotten by a decision that continues as new.
    fn is_known(&self, key: &str, continues: bool) -> bool {
        let found = self.state.effects.latest(key);
        let effect = found.and_then(|index| self.state.effect(index));
        effect.is_some_and(|effect| !continues || effect.is_open())
    }

    /// Finds everything that is wrong with a decision before any of it is journaled.
    pub(super) fn check(&self, next: &Next<S>, input: &Input) -> Result<(), String> {
        if let Some(mistake) = &next.mistake {
            return Err(format!("on {}: {mistake}", input.describe()));
        }
        let mut pivoted = self.state.pivoted;
        let mut pivoting = self.state.pivoting.is_some();
        let mut end = None;
        let mut compensates = false;
        let mut continues = false;
        for directive in &next.directives {
            if let Some(end) = end {
                return Err(format!(
                    "on {} it wants to {end}, and then to do more",
                    input.describe()
                ));
            }
            match directive {
                Directive::ContinueAsNew if self.state.phase != Phase::Forward || compensates => {
                    return Err(format!(
                        "on {} it wants to continue as new, and is being compensated",
                        input.describe()
                    ));
                }
                Directive::ContinueAsNew if pivoting => {
                    return Err(format!(
                        "on {} it wants to continue as new while its pivot is under way",
                        input.describe()
                    ));
                }
                Directive::ContinueAsNew
                | Directive::Complete
                | Directive::Fail { .. }
                | Directive::Compensate { .. }
                    if continues =>
                {
                    return Err(format!(
                        "on {} it wants to continue as new, and to end, compensate or continue once more in the same decision",
                        input.describe()
                    ));
                }
                Directive::ContinueAsNew => (continues, pivoted) = (true, false),
                Directive::Complete | Directive::Fail { .. } if compensates => {
                    return Err(format!(
                        "on {} it wants to compensate, and to be over at once: it ends by itself when its undos have run",
                        input.describe()
                    ));
                }
                Directive::Complete => end = Some("be complete"),
                Directive::Fail { .. } => end = Some("fail"),
                Directive::Pivot => pivoted = true,
                Directive::Pivoting => pivoting = true,
                Directive::Compensate { reason } if pivoting => {
                    return Err(format!(
                        "on {} it wants to compensate ({reason}) while its pivot is under way",
                        input.describe()
                    ));
                }
                Directive::UndoOf { key, .. } if !self.is_known(key, continues) => {
                    return Err(format!(
                        "on {} it wants to say how {key:?} is undone, and decided no effect of this key",
                        input.describe()
                    ));
                }
                Directive::Compensate { reason } if pivoted => {
                    return Err(format!(
                        "on {} it wants to compensate ({reason}), and has passed its pivot",
                        input.describe()
                    ));
                }
                Directive::Compensate { .. } => compensates = true,
                Directive::Record(event) => {
                    let encoded = encode_event(PayloadCodec::default(), event);
                    let encoded = encoded.map_err(|error| error.to_string())?;
                    read_back(event, &encoded).map_err(|error| error.to_string())?;
                    if encoded.event_type.starts_with(OWN_PREFIX) {
                        let name = encoded.event_type;
                        return Err(format!("event type {name:?} begins with {OWN_PREFIX:?}"));
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }
}
