//! Verbs of operators, and the orders that they make with them.

use chronicler_domain::Timestamp;
use serde::{Deserialize, Serialize};

use crate::definition::answer::Answer;

/// What an operator can have done with one instance. Each is journaled with who and why, and asking for it again
/// changes nothing more, though it may then be refused for what the instance has become. A signal is said each time. Payloads are JSON, as the types of the saga and its targets are written in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "saga_verb")]
#[non_exhaustive]
pub enum SagaVerb {
    /// Has parked effects and stuck undos tried again, with a fresh budget, and what waits for its next attempt at once.
    RetryNow,
    /// Runs the undos of everything that was done. Refused after the pivot.
    Cancel,
    /// Lets it go from quarantine, and takes up the inputs that waited.
    Release,
    /// Lets inputs wait, and begins no further attempt. What is under way is not broken off.
    Pause,
    /// Takes up what waited since it was paused.
    Resume,
    /// Ends it as it is: nothing more is done, and nothing undone.
    Terminate,
    /// Gives up the stuck undo of an effect: the others are run, and the saga ends as abandoned.
    Abandon {
        /// The key of the effect.
        key: String,
    },
    /// Goes on without an effect that waits for a person or for its next attempt: it counts as done, and is not undone.
    Skip {
        /// The key of the effect.
        key: String,
        /// What the saga goes on with in the place of the reply, as JSON.
        output: String,
    },
    /// Says how an effect ended that waits for a person, or that its stuck undo was done.
    Settle {
        /// The key of the effect.
        key: String,
        /// How it ended, as a person found it out: the reply or the reason for a refusal as JSON. Only a call can be unknown.
        outcome: Answer<String>,
    },
    /// Changes what is sent for a parked effect or a stuck undo, and has it tried again.
    Edit {
        /// The key of the effect.
        key: String,
        /// The command as JSON; for a call its request as the service takes it, as text or as `0x` and hexadecimal
        /// digits.
        payload: String,
    },
    /// Moves a timer that is armed.
    MoveTimer {
        /// Its key.
        key: String,
        /// When it is due.
        due: Timestamp,
    },
    /// Disarms a timer.
    CancelTimer {
        /// Its key.
        key: String,
    },
    /// Says something to the saga.
    Signal {
        /// Under which name; for a saga of steps, the id of the step that waits for it.
        name: String,
        /// What is said, as JSON.
        payload: String,
    },
    /// Has it go by the version of the definition that the application has.
    Migrate,
    /// Begins another instance with what this one did before an effect was decided, which is then sent again.
    Fork {
        /// The key of the effect.
        before: String,
        /// The id of the other instance.
        id: String,
    },
}

/// What a person wants done with an instance: the verb, who wants it, and why, all of which is journaled. Made by
/// [`SagaVerb::by`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Order {
    /// What is to be done.
    pub verb: SagaVerb,
    /// Who wants it.
    pub by: String,
    /// Why.
    pub why: String,
}

impl SagaVerb {
    /// This, wanted by this person, for this reason.
    pub fn by(self, who: impl Into<String>, why: impl Into<String>) -> Order {
        Order {
            verb: self,
            by: who.into(),
            why: why.into(),
        }
    }

    /// Its name, as it is journaled.
    pub fn name(&self) -> &'static str {
        match self {
            Self::RetryNow => "retry now",
            Self::Cancel => "cancel",
            Self::Release => "release",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Terminate => "terminate",
            Self::Abandon { .. } => "abandon",
            Self::Skip { .. } => "skip",
            Self::Settle { .. } => "settle",
            Self::Edit { .. } => "edit",
            Self::MoveTimer { .. } => "move timer",
            Self::CancelTimer { .. } => "cancel timer",
            Self::Signal { .. } => "signal",
            Self::Migrate => "migrate",
            Self::Fork { .. } => "fork",
        }
    }

    /// What it is about: the key of an effect, of a timer, of a signal.
    pub(crate) fn about(&self) -> &str {
        match self {
            Self::Abandon { key }
            | Self::Skip { key, .. }
            | Self::Settle { key, .. }
            | Self::Edit { key, .. }
            | Self::MoveTimer { key, .. }
            | Self::CancelTimer { key }
            | Self::Signal { name: key, .. }
            | Self::Fork { before: key, .. } => key,
            _ => "",
        }
    }
}
