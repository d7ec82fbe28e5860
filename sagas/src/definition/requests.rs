//! Requests of effects, encoded.

use chronicler_domain::{Aggregate, AggregateId};
use chronicler_store::codec::{PayloadCodec, encode, encode_certainly};
use serde::Serialize;

use crate::definition::effect::Request;
use crate::definition::error::DefinitionError;

/// A command to an aggregate.
pub(crate) fn request<A: Aggregate>(
    id: &str,
    command: &A::Command,
) -> Result<Request, DefinitionError> {
    AggregateId::new(id)?;
    let codec = PayloadCodec::ByName;
    let command = encode_certainly(codec, command)?.to_vec();
    let category = A::CATEGORY.to_owned();
    Ok(Request::Command {
        category,
        id: id.to_owned(),
        codec: codec.id().number(),
        command,
    })
}

/// The beginning of an instance of another saga.
pub(crate) fn child(
    saga: &str,
    id: &str,
    start: &impl Serialize,
) -> Result<Request, DefinitionError> {
    AggregateId::new(id)?;
    let codec = PayloadCodec::ByName;
    let start = encode(codec, start)?;
    Ok(Request::Start {
        saga: saga.to_owned(),
        id: id.to_owned(),
        codec: codec.id().number(),
        start: start.to_vec(),
    })
}

/// A call to a service.
pub(crate) fn call<T: Serialize>(service: &str, request: &T) -> Result<Request, DefinitionError> {
    let request = encode(PayloadCodec::default(), request)?;
    Ok(Request::Call {
        service: service.to_owned(),
        request: request.to_vec(),
    })
}
