//! What an effect was answered, as it is journaled and as a saga reads it.

use chronicler_domain::Aggregate;
use chronicler_store::codec::{self, CodecError, CodecId, PayloadCodec};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// What an effect was answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// It was done; the reply, encoded.
    Done {
        /// How the payload is encoded.
        codec: u8,
        /// The reply.
        payload: Vec<u8>,
    },
    /// It was refused for good; the reason, encoded.
    Rejected {
        /// How the payload is encoded.
        codec: u8,
        /// The rejection.
        payload: Vec<u8>,
    },
    /// Whether it was done cannot be known. Only calls that leave the process end like this.
    Unknown {
        /// What is known about it.
        reason: String,
    },
}

impl Answer {
    /// Done, and there was nothing to do.
    pub(crate) fn nothing() -> Self {
        let codec = CodecId::RAW.number();
        let payload = Vec::new();
        Self::Done { codec, payload }
    }

    /// Done, with this reply.
    pub(crate) fn done(reply: &impl Serialize) -> Self {
        let codec = PayloadCodec::ByName;
        match codec::encode(codec, reply) {
            Ok(payload) => Self::Done {
                codec: codec.id().number(),
                payload: payload.to_vec(),
            },
            Err(error) => Self::Unknown {
                reason: error.to_string(),
            },
        }
    }

    /// Refused, for this reason.
    pub(crate) fn rejected(reason: &impl Serialize) -> Self {
        let codec = PayloadCodec::ByName;
        match codec::encode(codec, reason) {
            Ok(payload) => Self::Rejected {
                codec: codec.id().number(),
                payload: payload.to_vec(),
            },
            Err(error) => Self::Unknown {
                reason: error.to_string(),
            },
        }
    }

    /// In one word.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Done { .. } => "done",
            Self::Rejected { .. } => "rejected",
            Self::Unknown { .. } => "unknown",
        }
    }
}

/// The outcome of an effect, by the key it was decided under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    key: String,
    answer: Answer,
}

/// How a call that left the process ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallOutcome<T, R> {
    /// The service did it.
    Done(T),
    /// The service refused it.
    Rejected(R),
    /// It may have done it.
    Unknown(String),
}

impl Outcome {
    /// An outcome, for tests of a saga without a runtime.
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

    /// Whether it was done.
    pub fn is_done(&self) -> bool {
        matches!(self.answer, Answer::Done { .. })
    }

    /// The reply or rejection of an aggregate's command.
    ///
    /// # Errors
    /// When the payload is not of this aggregate, or the outcome is unknown.
    pub fn of<A: Aggregate>(&self) -> Result<Result<A::Reply, A::Rejection>, CodecError> {
        match self.call::<A::Reply, A::Rejection>()? {
            CallOutcome::Done(reply) => Ok(Ok(reply)),
            CallOutcome::Rejected(rejection) => Ok(Err(rejection)),
            CallOutcome::Unknown(reason) => Err(CodecError::Undecodable {
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
    ) -> Result<CallOutcome<T, R>, CodecError> {
        Ok(match &self.answer {
            Answer::Done { codec, payload } => {
                CallOutcome::Done(codec::decode(CodecId::new(*codec), payload)?)
            }
            Answer::Rejected { codec, payload } => {
                CallOutcome::Rejected(codec::decode(CodecId::new(*codec), payload)?)
            }
            Answer::Unknown { reason } => CallOutcome::Unknown(reason.clone()),
        })
    }
}
