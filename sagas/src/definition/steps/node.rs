//! One step of a definition, without its types.

use std::time::Duration;

use chronicler_store::codec::CodecError;

use super::effect_key::Place;
use super::encoding::{Encoded, read, written};
use super::given_up::GivenUp;
use super::key::StepKey;
use super::state::StepState;
use crate::definition::effect::Request;
use crate::definition::error::DefinitionError;
use crate::definition::input::SagaContext;
use crate::definition::terms::Terms;

/// The kind of a step. The numbers go into the fingerprint.
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
    /// The command after which nothing is taken back.
    Pivot = 6,
    /// The point after which nothing is taken back.
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

/// The plan of a step, when it is its turn.
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

/// The situation in which a function of a definition is asked.
pub(super) struct Situation<'a, T> {
    pub(super) state: &'a StepState<T>,
    pub(super) context: &'a SagaContext,
    pub(super) place: Place,
}

impl<T> Clone for Situation<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Situation<'_, T> {}

/// A function of a definition, without its types.
pub(super) type Fun<T, R> = dyn Fn(Situation<'_, T>) -> Result<R, DefinitionError> + Send + Sync;
/// The same with a payload.
pub(super) type FunOf<T, R> =
    dyn Fn(Situation<'_, T>, Encoded<'_>) -> Result<R, DefinitionError> + Send + Sync;
/// The output of several commands from their replies.
type JoinFn = dyn Fn(&[Encoded<'_>]) -> Result<Vec<u8>, CodecError> + Send + Sync;
/// An output, written by name.
type GivenFn = dyn Fn(Encoded<'_>) -> Result<Vec<u8>, CodecError> + Send + Sync;
/// A rejection in words.
type WordsFn = dyn Fn(Encoded<'_>) -> String + Send + Sync;

/// The key of what is sent last, and how it is made.
pub(super) type LastWords<T> = (&'static str, Box<LastWordsFn<T>>);
type LastWordsFn<T> =
    dyn Fn(Situation<'_, T>, &GivenUp) -> Result<Request, DefinitionError> + Send + Sync;

pub(super) struct Node<T> {
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
    pub(super) condition: Option<Box<Fun<T, bool>>>,
    pub(super) plan: Box<Fun<T, Plan>>,
    /// How it is taken back, given its reply.
    pub(super) undo: Option<Box<FunOf<T, Request>>>,
    /// How a call is taken back of which nobody knows whether it was done.
    pub(super) undo_unknown: Option<Box<Fun<T, Request>>>,
    pub(super) undo_may_be_refused: bool,
    pub(super) join: Option<Box<JoinFn>>,
    /// Its output by name, whatever the codec that it was answered in: a later release reads it.
    pub(super) given: Box<GivenFn>,
    pub(super) words: Box<WordsFn>,
    /// Whether it is tried in another way after a refusal.
    pub(super) alternative: Option<Box<FunOf<T, bool>>>,
    /// How a service is asked what became of a call.
    pub(super) probe: Option<Box<Fun<T, Request>>>,
}

impl Kind {
    pub(super) fn is_pivot(self) -> bool {
        matches!(self, Self::Pivot | Self::Mark)
    }
}

impl<T> Node<T> {
    /// A step of this key that does nothing outside of the saga, until more is said of it.
    pub(super) fn still<K: StepKey>(
        kind: Kind,
        plan: impl Fn(Situation<'_, T>) -> Result<Plan, DefinitionError> + Send + Sync + 'static,
    ) -> Self {
        Self {
            id: K::ID,
            version: K::VERSION,
            kind,
            after: Vec::new(),
            limit: None,
            look_after: None,
            terms: Terms::default(),
            condition: None,
            plan: Box::new(plan),
            undo: None,
            undo_unknown: None,
            undo_may_be_refused: false,
            join: None,
            given: Box::new(|output| written(&read::<K::Output>(output)?)),
            words: Box::new(|_| "it was rejected".to_owned()),
            alternative: None,
            probe: None,
        }
    }
}
