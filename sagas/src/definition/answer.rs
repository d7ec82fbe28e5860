//! The answer to an effect, as it is journaled and as a saga reads it.

use chronicler_domain::Aggregate;
use chronicler_store::codec::{CodecError, CodecId};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::definition::payload::Payload;

/// The answer to an effect: with a reply or a reason of these types, which are encoded in what is journaled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer<T = Payload, R = T> {
    /// The effect was done, and gave this reply.
    Done(T),
    /// The target refused the effect for good, for this reason.
    Rejected(R),
    /// Nobody can know whether the effect was done. The text says what is known. Only calls to services end like this.
    Unknown(String),
}

impl<T, R> Answer<T, R> {
    /// Tells whether the effect was done.
    pub fn is_done(&self) -> bool {
        matches!(self, Self::Done(_))
    }

    /// In one word.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Done(_) => "done",
            Self::Rejected(_) => "rejected",
            Self::Unknown(_) => "unknown",
        }
    }
}

impl Answer {
    /// Done, and there was nothing to do.
    pub(crate) fn nothing() -> Self {
        Self::Done(Payload::new(CodecId::RAW, Vec::new()))
    }

    /// Done, with this reply.
    pub(crate) fn done(reply: &impl Serialize) -> Self {
        Payload::of(reply).map_or_else(Self::unknown, Self::Done)
    }

    /// Refused, for this reason.
    pub(crate) fn rejected(reason: &impl Serialize) -> Self {
        Payload::of(reason).map_or_else(Self::unknown, Self::Rejected)
    }

    /// The answer to an effect whose reply or reason cannot be encoded.
    fn unknown(error: CodecError) -> Self {
        Self::Unknown(error.to_string())
    }

    /// The same with the reply and the reason as values.
    ///
    /// # Errors
    /// When they are not of these types.
    pub fn decode<T: DeserializeOwned, R: DeserializeOwned>(
        &self,
    ) -> Result<Answer<T, R>, CodecError> {
        Ok(match self {
            Self::Done(reply) => Answer::Done(reply.decode()?),
            Self::Rejected(reason) => Answer::Rejected(reason.decode()?),
            Self::Unknown(reason) => Answer::Unknown(reason.clone()),
        })
    }
}

/// The answer to an effect, and the key that it was decided under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EffectAnswer {
    key: String,
    answer: Answer,
}

impl EffectAnswer {
    /// An answer, for tests of a saga without a runtime.
    pub fn new(key: impl Into<String>, answer: Answer) -> Self {
        Self {
            key: key.into(),
            answer,
        }
    }

    /// The key that the effect was decided under.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The answer, encoded.
    pub fn answer(&self) -> &Answer {
        &self.answer
    }

    /// Tells whether the effect was done.
    pub fn is_done(&self) -> bool {
        matches!(self.answer, Answer::Done(_))
    }

    /// The reply or rejection of an aggregate's command.
    ///
    /// # Errors
    /// When the payload is not of this aggregate, or the answer is unknown.
    pub fn of<A: Aggregate>(&self) -> Result<Result<A::Reply, A::Rejection>, CodecError> {
        match self.call::<A::Reply, A::Rejection>()? {
            Answer::Done(reply) => Ok(Ok(reply)),
            Answer::Rejected(rejection) => Ok(Err(rejection)),
            Answer::Unknown(reason) => Err(CodecError::Undecodable {
                type_name: std::any::type_name::<A>(),
                reason,
            }),
        }
    }

    /// The answer of a service.
    ///
    /// # Errors
    /// When the payload is not of these types.
    pub fn call<T: DeserializeOwned, R: DeserializeOwned>(
        &self,
    ) -> Result<Answer<T, R>, CodecError> {
        self.answer.decode()
    }
}
