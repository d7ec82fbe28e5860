//! The saga's own code decides, and what it decided is looked through before any of it is journaled.

use std::panic::{AssertUnwindSafe, catch_unwind};

use chronicler_domain::Event;
use chronicler_store::codec::{PayloadCodec, encode_event, read_back};
use chronicler_store::{NewEvent, panic_text};

use super::fault::Fault;
use super::step::Step;
use crate::definition::directive::Directive;
use crate::definition::effect::Request;
use crate::definition::effect_view::EffectView;
use crate::definition::input::{Input, SagaContext};
use crate::definition::next::Next;
use crate::definition::saga::Saga;
use crate::instance::entry::OWN_PREFIX;
use crate::instance::state::Phase;

impl<S: Saga> Step<'_, S> {
    /// Lets the saga decide, and carries its decision into the stream.
    ///
    /// # Errors
    /// What its code did wrong. Nothing of the decision is then in the stream.
    pub(super) fn decide(&mut self, input: &Input) -> Result<(), Fault> {
        match self.decided(input)? {
            Some(next) => self.follow(next, input),
            None => Ok(()),
        }
    }

    /// What the saga decides on an input, looked through; `None` if the input does not matter any more.
    ///
    /// # Errors
    /// What its code did wrong.
    pub(crate) fn decided(&self, input: &Input) -> Result<Option<Next<S>>, Fault> {
        if self.state.is_over() || self.state.concluded.is_some() {
            return Ok(None);
        }
        let late = match (input, &self.state.phase) {
            (_, Phase::Forward) | (Input::Compensated { .. }, _) => None,
            (Input::Answer(outcome), Phase::Compensating { .. }) if outcome.is_done() => {
                Some(outcome)
            }
            // Once it is being compensated, only what has to be taken back matters.
            _ => return Ok(None),
        };
        let ctx = self.context();
        let (saga, user) = (self.saga, &self.state.user);
        let next = contained(input, || {
            Ok(match late {
                Some(outcome) => saga.on_late(user, outcome, &ctx),
                None => saga.on(user, input, &ctx),
            })
        })?;
        contained(input, || self.check(&next, input))?;
        let came_early = |directive: &Directive<_>| matches!(directive, Directive::CameEarly);
        if self.is_to_begin && next.directives.iter().any(came_early) {
            let mistake = "its route says that it begins the instance, and it begins nothing";
            return Err(Fault::Mistaken {
                input: input.describe(),
                mistake: mistake.to_owned(),
            });
        }
        // Who is cancelled takes note, and is then undone.
        let is_cancelled = matches!(input, Input::Cancelled { .. });
        let only_undoes = |directive: &Directive<_>| {
            matches!(
                directive,
                Directive::Record(_)
                    | Directive::UndoOf { .. }
                    | Directive::FoundDone { .. }
                    | Directive::Escalate(_)
            )
        };
        if is_cancelled && !next.directives.iter().all(only_undoes) {
            return Err(Fault::MoreThanNote);
        }
        if late.is_some() && !next.directives.iter().all(only_undoes) {
            return Err(Fault::MoreThanUndo {
                input: input.describe(),
            });
        }
        Ok(Some(next))
    }

    /// Carries a decision that was looked through into the stream.
    ///
    /// # Errors
    /// What the saga's code did wrong. Nothing of the decision is then in the stream.
    pub(crate) fn follow(&mut self, next: Next<S>, input: &Input) -> Result<(), Fault> {
        let (user, recorded) = contained(input, || self.tried(&next, input))?;
        let mut recorded = recorded.into_iter();
        for directive in next.directives {
            self.act(directive, &mut recorded);
        }
        if let Some(user) = user {
            self.state.user = user;
        }
        Ok(())
    }

    fn context(&self) -> SagaContext {
        SagaContext {
            id: self.state.id.clone(),
            tenant: self.state.tenant.clone(),
            now: self.now,
        }
    }

    /// The state as the events of a decision make it, and these events, encoded. The state itself is not touched: an
    /// event that `evolve` cannot take must leave neither a trace of itself nor of what was decided with it.
    fn tried(
        &self,
        next: &Next<S>,
        input: &Input,
    ) -> Result<(Option<S::State>, Vec<NewEvent>), Fault> {
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
            let (encoded, read) = recordable(event)?;
            recorded.push(encoded);
            let state = user.get_or_insert_with(|| self.state.user.clone());
            // As a recovery will see it: what serde leaves out or rounds is nothing to decide on.
            let evolved = catch_unwind(AssertUnwindSafe(|| S::evolve(state, &read)));
            evolved.map_err(|panic| Fault::EvolvePanicked {
                input: input.describe(),
                panic: panic_text(panic.as_ref()).to_owned(),
            })?;
        }
        Ok((user, recorded))
    }

    /// Whether the saga would take an input as it is now. Nothing is decided.
    ///
    /// # Errors
    /// Why it would not.
    pub(super) fn would_take(&self, input: &Input) -> Result<(), Fault> {
        let ctx = self.context();
        let (saga, user) = (self.saga, &self.state.user);
        let decided = catch_unwind(AssertUnwindSafe(|| saga.on(user, input, &ctx)));
        let next = decided.map_err(|panic| Fault::WouldPanic {
            panic: panic_text(panic.as_ref()).to_owned(),
        })?;
        contained(input, || {
            self.check(&next, input)?;
            self.tried(&next, input).map(drop)
        })
    }

    /// Whether an effect of this key was decided, and is not forgotten by a decision that continues as new.
    fn is_known(&self, key: &str, continues: bool) -> bool {
        if self.knows_all_keys {
            return true;
        }
        let found = self.state.effects.latest(key);
        found.is_some_and(|index| {
            let effect = self.state.effect(index);
            let is_open = |effect: &EffectView| effect.is_open() || self.state.is_unheard(index);
            effect.is_some_and(|effect| !continues || is_open(effect))
        })
    }

    /// Finds everything that is wrong with a decision before any of it is journaled.
    pub(super) fn check(&self, next: &Next<S>, input: &Input) -> Result<(), Fault> {
        if let Some(mistake) = &next.mistake {
            return Err(Fault::Mistaken {
                input: input.describe(),
                mistake: mistake.clone(),
            });
        }
        let mut sketch = Sketch {
            is_forward: self.state.is_forward(),
            pivoted: self.state.pivoted,
            pivoting: !self.state.pivoting.is_empty(),
            compensates: false,
            continues: false,
            end: None,
            has_begun_child: false,
            occupies: self
                .state
                .occupies
                .as_ref()
                .map(|place| place.resource.as_str()),
        };
        for directive in &next.directives {
            let allowed = sketch.follow(directive, |key, continues| self.is_known(key, continues));
            allowed.map_err(|wanted| Fault::AgainstTheRules {
                input: input.describe(),
                wanted,
            })?;
        }
        Ok(())
    }
}

/// Runs what calls the application's code: also where its state is copied, or its events are written and read.
///
/// # Errors
/// What it did wrong; a panic is that, too.
fn contained<T>(input: &Input, run: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        Err(Fault::Panicked {
            input: input.describe(),
            panic: panic_text(panic.as_ref()).to_owned(),
        })
    })
}

/// An event as it is written, and as it will be read.
///
/// # Errors
/// When it cannot be written, or is then read as something else.
fn recordable<E: Event>(event: &E) -> Result<(NewEvent, E), Fault> {
    let encoded = encode_event(PayloadCodec::default(), event)?;
    let read = read_back(event, &encoded)?;
    if encoded.event_type.starts_with(OWN_PREFIX) {
        let name = encoded.event_type.to_string();
        return Err(Fault::OwnPrefix { name });
    }
    Ok((encoded, read))
}

/// The instance in the middle of a decision, as far as the rules for decisions ask.
struct Sketch<'a> {
    is_forward: bool,
    pivoted: bool,
    pivoting: bool,
    compensates: bool,
    continues: bool,
    end: Option<&'static str>,
    /// The effect just before begins a child.
    has_begun_child: bool,
    /// The limit that it has a place at itself, as a child.
    occupies: Option<&'a str>,
}

impl Sketch<'_> {
    /// One more directive. `is_known` says whether an effect of a key was decided, and is not forgotten by a decision that
    /// continues as new.
    ///
    /// # Errors
    /// What the saga wants that is against the rules.
    fn follow<E>(
        &mut self,
        directive: &Directive<E>,
        is_known: impl Fn(&str, bool) -> bool,
    ) -> Result<(), String> {
        if let Some(end) = self.end {
            return Err(format!("{end}, and then to do more"));
        }
        let against = |wanted: &str| Err(wanted.to_owned());
        match directive {
            Directive::ContinueAsNew if !self.is_forward || self.compensates => {
                return against("continue as new, and is being compensated");
            }
            Directive::ContinueAsNew if self.pivoting => {
                return against("continue as new while its pivot is under way");
            }
            Directive::ContinueAsNew
            | Directive::Complete
            | Directive::Fail { .. }
            | Directive::Compensate { .. }
                if self.continues =>
            {
                return against(
                    "continue as new, and to end, compensate or continue once more in the same decision",
                );
            }
            Directive::ContinueAsNew => (self.continues, self.pivoted) = (true, false),
            Directive::Complete | Directive::Fail { .. } if self.compensates => {
                return against(
                    "compensate, and to be over at once: it ends by itself when its undos have run",
                );
            }
            Directive::Complete => self.end = Some("be complete"),
            Directive::Fail { .. } => self.end = Some("fail"),
            Directive::Pivot => self.pivoted = true,
            Directive::Pivoting => self.pivoting = true,
            Directive::Compensate { reason } if self.pivoting => {
                return Err(format!(
                    "compensate ({reason}) while its pivot is under way"
                ));
            }
            Directive::UndoOf { key, .. } if !is_known(key, self.continues) => {
                return Err(format!(
                    "say how {key:?} is undone, and decided no effect of this key"
                ));
            }
            Directive::Compensate { reason } if self.pivoted => {
                return Err(format!("compensate ({reason}), and has passed its pivot"));
            }
            Directive::Compensate { .. } => self.compensates = true,
            Directive::Effect(spec) => {
                self.has_begun_child = matches!(spec.request, Request::Start { .. });
            }
            Directive::Terms(terms) if self.has_begun_child => {
                let resource = terms.resource.as_ref();
                let own = resource.filter(|(name, _)| Some(name.as_str()) == self.occupies);
                if let Some((name, _)) = own {
                    return Err(format!(
                        "begin a child at {name:?} (`at_most`), and has a place there itself as a child: it could wait for its own end; give the limit of its children another name"
                    ));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
