//! What effects ask for, encoded.

use chronicler_domain::{Aggregate, AggregateId};
use chronicler_store::codec::{PayloadCodec, encode, encode_certainly};
use serde::Serialize;

use crate::definition::effect::Request;

/// A command to an aggregate.
pub(crate) fn request<A: Aggregate>(id: &str, command: &A::Command) -> Result<Request, String> {
    AggregateId::new(id).map_err(|error| error.to_string())?;
    let codec = PayloadCodec::ByName;
    let command = encode_certainly(codec, command)
        .map_err(|error| error.to_string())?
        .to_vec();
    let category = A::CATEGORY.to_owned();
    Ok(Request::Command {
        category,
        id: id.to_owned(),
        codec: codec.id().number(),
        command,
    })
}

/// The beginning of an instance of another saga.
pub(crate) fn child(saga: &str, id: &str, start: &impl Serialize) -> Result<Request, String> {
    AggregateId::new(id).map_err(|error| error.to_string())?;
    let codec = PayloadCodec::ByName;
    let start = encode(codec, start).map_err(|error| error.to_string())?;
    Ok(Request::Start {
        saga: saga.to_owned(),
        id: id.to_owned(),
        codec: codec.id().number(),
        start: start.to_vec(),
    })
}

/// A call to a service.
pub(crate) fn call<T: Serialize>(service: &str, request: &T) -> Result<Request, String> {
    let request = encode(PayloadCodec::default(), request).map_err(|error| error.to_string())?;
    Ok(Request::Call {
        service: service.to_owned(),
        request: request.to_vec(),
    })
}
