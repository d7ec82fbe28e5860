//! Services outside of the process, as sagas call them.

use chronicler_store::codec::{CodecError, PayloadCodec, encode};
use futures::future::BoxFuture;
use uuid::Uuid;

/// The result of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallResult {
    /// The service did it; its reply, encoded with the default codec.
    Done(Vec<u8>),
    /// The service refused it for good; the reason, encoded with the default codec.
    Rejected(Vec<u8>),
    /// It may have done it: no answer, a broken connection, an answer that makes no sense.
    Unknown(String),
    /// It takes no requests just now, and did not do this one: no connection could be made, or it said so. The call is
    /// tried again; when a service says this to several in a row, the others wait until it is back, see
    /// [`CircuitOptions`](crate::CircuitOptions).
    Unavailable(String),
}

/// A service outside of the process.
pub trait ExternalService: Send + Sync + 'static {
    /// Calls it. `key` is the idempotency key: the same for every attempt of the same effect, also after a
    /// restart, so that a service that honours it acts once. A panic and a time-out count as
    /// [`CallResult::Unknown`].
    fn call(&self, key: Uuid, request: Vec<u8>) -> BoxFuture<'static, CallResult>;
}

impl CallResult {
    /// Done, with this reply.
    pub fn done<T: serde::Serialize>(reply: &T) -> Self {
        encoded(reply).map_or_else(unwritten, Self::Done)
    }

    /// Rejected, for this reason.
    pub fn rejected<T: serde::Serialize>(reason: &T) -> Self {
        encoded(reason).map_or_else(unwritten, Self::Rejected)
    }
}

fn encoded<T: serde::Serialize>(value: &T) -> Result<Vec<u8>, CodecError> {
    Ok(encode(PayloadCodec::default(), value)?.to_vec())
}

/// A reply or reason that cannot be written says nothing.
fn unwritten(error: CodecError) -> CallResult {
    CallResult::Unknown(error.to_string())
}
