//! The directives that a decision consists of.

use std::time::Duration;

use chronicler_domain::Timestamp;

use crate::definition::effect::{EffectSpec, Undo};
use crate::definition::terms::Terms;

/// One of the things that a saga decided.
#[derive(Debug, PartialEq)]
pub(crate) enum Directive<E> {
    Record(E),
    /// The instance forgets its state. The next event that it records is the first of a new one.
    ContinueAsNew,
    Effect(Box<EffectSpec>),
    /// What it was given came before what begins it: it is kept until then.
    CameEarly,
    /// It has begun: what came before that is taken up.
    TakeUpEarly,
    /// The effect just added is the pivot, if it is done.
    Pivoting,
    /// What governs the effect just added.
    Terms(Box<Terms>),
    /// The latest effect under this key was done, as whoever was asked says.
    FoundDone {
        key: String,
    },
    /// So many effects, those just added, were decided as one.
    Together(u32),
    /// A person should look at it; or need not any more.
    Escalate(Option<String>),
    /// The latest effect under this key is taken back like this.
    UndoOf {
        key: String,
        undo: Box<Undo>,
    },
    Arm {
        key: String,
        when: When,
    },
    Disarm {
        key: String,
    },
    Pivot,
    Compensate {
        reason: String,
    },
    Complete,
    Fail {
        reason: String,
    },
}

/// When a timer is due.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum When {
    After(Duration),
    At(Timestamp),
}
