//! One step of a definition, without its types.

use std::time::Duration;

use super::saga::StepSaga;
use super::state::StepState;
use crate::definition::effect::Request;
use crate::definition::saga::SagaContext;
use crate::definition::terms::Terms;

/// What kind of step it is. The numbers go into the fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A command that can be taken back.
    Step = 1,
    /// A call that leaves the process.
    External = 2,
    /// Several commands at once that can be taken back.
    Each = 3,
    /// A look at what is known.
    Check = 4,
    /// Only something to take back.
    Undo = 5,
    /// The command behind which nothing is taken back.
    Pivot = 6,
    /// The point behind which nothing is taken back.
    Mark = 7,
    /// A command that cannot be rejected.
    Then = 8,
    /// Several of them at once.
    ThenEach = 9,
    /// Waits to be told something.
    Wait = 10,
    /// Several calls at once.
    ExternalEach = 11,
    /// Another saga.
    Child = 12,
    /// Several commands, one after the other, that can be taken back.
    Turns = 13,
}

/// What a step does when it is its turn.
pub(super) enum Plan {
    /// It is done already, and gave this.
    Settled(Vec<u8>),
    /// It says no.
    Refused(String),
    /// It waits for a signal.
    Wait,
    /// There is only something to take back.
    UndoOnly(Request),
    /// One command or call.
    One(Request),
    /// Several at once.
    Many(Vec<Request>),
}

/// Which of a step's effects: of several at once, and after how many that were refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) item: Option<usize>,
    pub(super) tried: u32,
}

/// A payload and how it is encoded.
pub(super) type Encoded<'a> = (u8, &'a [u8]);

/// What a function of a definition is told.
pub(super) struct Told<'a, S: StepSaga> {
    pub(super) state: &'a StepState<S>,
    pub(super) context: &'a SagaContext,
    pub(super) place: Place,
}

impl<S: StepSaga> Clone for Told<'_, S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S: StepSaga> Copy for Told<'_, S> {}

/// A function of a definition, without its types.
pub(super) type Fun<S, T> = dyn Fn(Told<'_, S>) -> Result<T, String> + Send + Sync;
/// The same with a payload.
pub(super) type FunOf<S, T> = dyn Fn(Told<'_, S>, Encoded<'_>) -> Result<T, String> + Send + Sync;
/// The output of several commands from their replies.
type JoinFn = dyn Fn(&[Encoded<'_>]) -> Result<Vec<u8>, String> + Send + Sync;
/// An output, written by name.
type GivenFn = dyn Fn(Encoded<'_>) -> Result<Vec<u8>, String> + Send + Sync;
/// A rejection in words.
type WordsFn = dyn Fn(Encoded<'_>) -> String + Send + Sync;

pub(super) struct Node<S: StepSaga> {
    pub(super) id: &'static str,
    pub(super) version: u32,
    pub(super) kind: Kind,
    /// The steps right before it.
    pub(super) after: Vec<usize>,
    /// How long it may take; then the saga is compensated.
    pub(super) limit: Option<Duration>,
    /// After how long a person should look at it.
    pub(super) look_after: Option<Duration>,
    pub(super) terms: Terms,
    pub(super) condition: Option<Box<Fun<S, bool>>>,
    pub(super) plan: Box<Fun<S, Plan>>,
    /// How it is taken back, given its reply.
    pub(super) undo: Option<Box<FunOf<S, Request>>>,
    /// How a call is taken back of which nobody knows whether it was done.
    pub(super) undo_unknown: Option<Box<Fun<S, Request>>>,
    pub(super) undo_may_be_refused: bool,
    pub(super) join: Option<Box<JoinFn>>,
    /// Its output by name, whatever the codec that it was answered in: a later release reads it.
    pub(super) given: Box<GivenFn>,
    pub(super) words: Box<WordsFn>,
    /// Whether it is tried in another way after a refusal.
    pub(super) alternative: Option<Box<FunOf<S, bool>>>,
    /// How a service is asked what became of a call.
    pub(super) probe: Option<Box<Fun<S, Request>>>,
}

impl Kind {
    pub(super) fn is_pivot(self) -> bool {
        matches!(self, Self::Pivot | Self::Mark)
    }
}

/// The key of an effect of a step: `charge`, `charge#2` after one refusal, `reserve[3]`, `charge?` for the question what
/// became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EffectKey<'a> {
    pub(super) step: &'a str,
    pub(super) place: Place,
    pub(super) is_probe: bool,
}

impl EffectKey<'_> {
    pub(super) fn written(self) -> String {
        let Self {
            step,
            place: Place { item, tried },
            is_probe,
        } = self;
        let mut key = step.to_owned();
        if let Some(item) = item {
            key.push_str(&format!("[{item}]"));
        }
        if tried > 0 {
            key.push_str(&format!("#{}", tried + 1));
        }
        if is_probe {
            key.push('?');
        }
        key
    }
}

impl<'a> EffectKey<'a> {
    pub(super) fn read(key: &'a str) -> Self {
        let (key, is_probe) = match key.strip_suffix('?') {
            Some(key) => (key, true),
            None => (key, false),
        };
        let (key, tried) = match key.rsplit_once('#') {
            Some((rest, tried)) => match tried.parse::<u32>() {
                Ok(tried) => (rest, tried.saturating_sub(1)),
                Err(_) => (key, 0),
            },
            None => (key, 0),
        };
        let several = key.strip_suffix(']').and_then(|key| key.split_once('['));
        let (step, item) = match several.and_then(|(id, item)| Some((id, item.parse().ok()?))) {
            Some((id, item)) => (id, Some(item)),
            None => (key, None),
        };
        Self {
            step,
            place: Place { item, tried },
            is_probe,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_as_it_was_written() {
        for item in [None, Some(0), Some(17)] {
            for tried in [0, 1, 12] {
                for is_probe in [false, true] {
                    let place = Place { item, tried };
                    let key = EffectKey {
                        step: "charge-card",
                        place,
                        is_probe,
                    };
                    assert_eq!(EffectKey::read(&key.written()), key);
                }
            }
        }
    }
}
