//! One step of a definition, without its types.

use std::time::Duration;

use super::saga::StepSaga;
use super::state::StepState;
use crate::effect::Request;
use crate::saga::SagaContext;

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
}

/// What a step does when it is its turn.
pub(super) enum Plan {
    /// Its condition does not hold.
    Skip,
    /// It is done already, and gave this.
    Settled(Vec<u8>),
    /// It says no.
    Refused(String),
    /// It waits for a signal.
    Wait,
    /// There is only something to take back.
    UndoOnly(Request),
    /// One command or call, and how it is taken back before its outcome is known.
    One {
        request: Request,
        if_unknown: Option<Request>,
    },
    /// Several commands at once.
    Many(Vec<Request>),
}

/// A payload and how it is encoded.
pub(super) type Encoded<'a> = (u8, &'a [u8]);

type PlanFn<S> = dyn Fn(&StepState<S>, &SagaContext) -> Result<Plan, String> + Send + Sync;
/// How the command at this place is taken back, given its reply.
type UndoFn<S> = dyn Fn(&StepState<S>, &SagaContext, usize, Encoded<'_>) -> Result<Request, String>
    + Send
    + Sync;
/// The output of several commands from their replies.
type JoinFn = dyn Fn(&[(u8, Vec<u8>)]) -> Result<Vec<u8>, String> + Send + Sync;
/// A rejection in words.
type WordsFn = dyn Fn(Encoded<'_>) -> String + Send + Sync;

pub(super) struct Node<S: StepSaga> {
    pub(super) id: &'static str,
    pub(super) version: u32,
    pub(super) kind: Kind,
    pub(super) timeout: Option<Duration>,
    pub(super) plan: Box<PlanFn<S>>,
    pub(super) undo: Option<Box<UndoFn<S>>>,
    pub(super) join: Option<Box<JoinFn>>,
    pub(super) words: Box<WordsFn>,
}

impl Kind {
    pub(super) fn is_pivot(self) -> bool {
        matches!(self, Self::Pivot | Self::Mark)
    }
}
