//! Calls of the application's code: a panic in it ends here, and is told as what it is.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;
use chronicler_domain::StreamId;
use chronicler_store::codec::{CodecError, CodecId};
use chronicler_store::{OutcomeResult, panic_text};
use tokio::sync::oneshot;

use crate::entity::{EncodedOutcome, Entity};
use crate::error::DispatchError;

/// Calls something of the application's.
///
/// # Errors
/// What the panic said.
pub(crate) fn contain<T>(call: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|panic| panic_text(panic.as_ref()).to_owned())
}

/// Drops something of the application's.
pub(crate) fn let_go<T>(value: T) {
    if let Err(message) = contain(|| drop(value)) {
        tracing::error!(panic = message, "a value panicked when it was dropped");
    }
}

/// Sends an answer that holds something of the application's: whoever no longer waits need not be told.
pub(crate) fn answer<T>(to: oneshot::Sender<T>, answer: T) {
    if let Err(nobody_waits) = to.send(answer) {
        let_go(nobody_waits);
    }
}

/// An entity whose conversions cannot panic. What changes a state is caught where the state is: by who then throws it
/// away.
pub(crate) struct Contained<E>(Arc<E>);

/// For whoever catches what it does, or asks what cannot panic.
impl<E> std::ops::Deref for Contained<E> {
    type Target = E;

    fn deref(&self) -> &E {
        &self.0
    }
}

impl<E: Entity> Contained<E> {
    pub(crate) fn new(entity: Arc<E>) -> Self {
        Self(entity)
    }

    /// One that cannot say whether it rests does not.
    pub(crate) fn rests(&self, state: &E::State) -> bool {
        contain(|| self.0.rests(state)).unwrap_or(false)
    }

    pub(crate) fn decode_command(
        &self,
        stream: &StreamId,
        codec: CodecId,
        payload: &[u8],
    ) -> Result<E::Command, DispatchError> {
        let decoded = contain(|| self.0.decode_command(codec, payload));
        Ok(decoded.map_err(|said| panicked("decoding a command", stream, said))??)
    }

    pub(crate) fn command_json(&self, codec: CodecId, payload: &[u8]) -> Option<String> {
        contain(|| self.0.command_json(codec, payload))
            .ok()
            .flatten()
    }

    pub(crate) fn encode_outcome(
        &self,
        stream: &StreamId,
        outcome: Result<&E::Reply, &E::Rejection>,
    ) -> Result<EncodedOutcome, DispatchError> {
        let encoded = contain(|| self.0.encode_outcome(outcome));
        Ok(encoded.map_err(|said| panicked("encoding an answer", stream, said))??)
    }

    /// As [`encode_outcome`](Self::encode_outcome), for whoever has an error of its own to tell it with.
    pub(crate) fn encode(
        &self,
        outcome: Result<&E::Reply, &E::Rejection>,
    ) -> Result<EncodedOutcome, CodecError> {
        contain(|| self.0.encode_outcome(outcome)).unwrap_or_else(|said| {
            Err(CodecError::Unencodable {
                type_name: std::any::type_name::<E::Reply>(),
                reason: format!("it panicked: {said}"),
            })
        })
    }

    pub(crate) fn decode_outcome(
        &self,
        result: OutcomeResult,
        codec: CodecId,
        payload: &[u8],
    ) -> Result<Result<E::Reply, E::Rejection>, CodecError> {
        contain(|| self.0.decode_outcome(result, codec, payload)).unwrap_or_else(|said| {
            Err(CodecError::Undecodable {
                type_name: std::any::type_name::<E::Reply>(),
                reason: format!("it panicked: {said}"),
            })
        })
    }

    pub(crate) fn snapshot(&self, state: &E::State) -> Result<Bytes, CodecError> {
        contain(|| self.0.snapshot(state)).unwrap_or_else(|said| {
            Err(CodecError::Unencodable {
                type_name: std::any::type_name::<E::State>(),
                reason: format!("it panicked: {said}"),
            })
        })
    }
}

/// The error of something of the application's that panicked and left everything as it was.
pub(crate) fn panicked(what: &'static str, stream: &StreamId, message: String) -> DispatchError {
    tracing::error!(%stream, panic = message, "{what} panicked");
    let stream = stream.clone();
    DispatchError::Panicked {
        what,
        stream,
        message,
    }
}
