//! The reason why a saga of steps could not be carried through.

use chronicler_store::codec::{CodecId, decode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::key::StepKey;

/// The kind of reason why a saga of steps came to be undone. The names are on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Cause {
    /// A step was rejected, and had no other way.
    Rejected,
    /// What became of a call is not known.
    Unknown,
    /// A step took too long.
    TooLong,
    /// A check said no.
    Checked,
    /// It was cancelled.
    Cancelled,
}

/// The reason why a saga of steps could not be carried through: its last words can depend on it, see
/// [`if_undone`](super::Define::if_undone).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GivenUp {
    pub(super) step: String,
    pub(super) item: Option<usize>,
    pub(super) cause: Cause,
    pub(super) rejection: Option<(u8, Vec<u8>)>,
    pub(super) reason: String,
}

impl GivenUp {
    pub(super) fn cancelled(reason: String) -> Self {
        Self {
            step: String::new(),
            item: None,
            cause: Cause::Cancelled,
            rejection: None,
            reason,
        }
    }

    /// How it came to be undone.
    pub fn cause(&self) -> Cause {
        self.cause
    }

    /// Why, in words.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// Whether it is this step that did not go.
    pub fn is_of<K: StepKey>(&self, _: K) -> bool {
        self.step == K::ID
    }

    /// Which of the step's several commands, from 0; 0 for a step of one.
    pub fn item(&self) -> usize {
        self.item.unwrap_or_default()
    }

    /// The rejection of the step, if it was rejected, and with one of this type.
    pub fn rejection<R: DeserializeOwned>(&self) -> Option<R> {
        let (codec, payload) = self.rejection.as_ref()?;
        decode(CodecId::new(*codec), payload).ok()
    }
}
