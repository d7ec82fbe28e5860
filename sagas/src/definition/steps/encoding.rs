//! Encoding: outputs of steps are written and read.

use chronicler_store::codec::{CodecError, CodecId, PayloadCodec, decode, encode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::definition::payload::Payload;

/// A payload and how it is encoded.
pub(super) type Encoded<'a> = (u8, &'a [u8]);

/// The codec of outputs: a later release reads them, and they have no schema version.
pub(super) const GIVEN: PayloadCodec = PayloadCodec::ByName;

/// A payload as the functions of a definition are given it.
pub(super) fn encoded(payload: &Payload) -> Encoded<'_> {
    (payload.codec().number(), payload.bytes())
}

pub(super) fn read<T: DeserializeOwned>((codec, payload): Encoded<'_>) -> Result<T, CodecError> {
    decode(CodecId::new(codec), payload)
}

pub(super) fn written<T: Serialize>(value: &T) -> Result<Vec<u8>, CodecError> {
    Ok(encode(GIVEN, value)?.to_vec())
}

/// The output of several from their replies.
pub(super) fn joined<O: Serialize + DeserializeOwned>(
    replies: &[Encoded<'_>],
) -> Result<Vec<u8>, CodecError> {
    let replies = replies.iter().map(|reply| read::<O>(*reply));
    written(&replies.collect::<Result<Vec<_>, _>>()?)
}

/// A rejection, in words.
pub(super) fn words<R: DeserializeOwned + std::fmt::Display>(rejection: Encoded<'_>) -> String {
    read::<R>(rejection).map_or_else(|error| error.to_string(), |rejection| rejection.to_string())
}
