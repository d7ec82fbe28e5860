//! From a recorded event to the application's own, through its upcasters.

use std::cell::Cell;
use std::collections::VecDeque;
use std::marker::PhantomData;

use bytes::Bytes;
use chronicler_domain::{Event, SchemaVersion, UpcastStep, Upcasted, Upcasters};
use serde::Deserializer;
use serde::de::DeserializeSeed;

use super::named::NameOn;
use super::{CodecError, CodecId, PayloadCodec, encode, event_types};
use crate::frame::EventRef;

/// Steps that one recorded event may take. More means that the chain goes round in a circle.
const UPCAST_STEPS_MAX: usize = 256;

/// Decodes recorded events of one type of aggregate. Make one and keep it.
#[derive(Debug)]
pub struct EventDecoder<E> {
    upcasters: Upcasters,
    event: PhantomData<fn() -> E>,
}

/// What one recorded event became: upcasters may make none, one or several of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decoded<E> {
    /// It no longer means anything.
    None,
    /// The usual case.
    One(E),
    /// It was split.
    Many(Vec<E>),
}

impl<E> IntoIterator for Decoded<E> {
    type Item = E;
    type IntoIter = std::iter::Chain<std::option::IntoIter<E>, std::vec::IntoIter<E>>;

    fn into_iter(self) -> Self::IntoIter {
        let (one, many) = match self {
            Self::None => (None, Vec::new()),
            Self::One(event) => (Some(event), Vec::new()),
            Self::Many(events) => (None, events),
        };
        one.into_iter().chain(many)
    }
}

impl<E: Event> Default for EventDecoder<E> {
    fn default() -> Self {
        Self::new()
    }
}

impl<E: Event> EventDecoder<E> {
    /// A decoder with the upcasters of `E`.
    pub fn new() -> Self {
        Self {
            upcasters: E::upcasters(),
            event: PhantomData,
        }
    }

    /// Decodes a recorded event.
    ///
    /// # Errors
    /// [`CodecError`]: an unknown codec or type, a version without a step, or bytes that are not the type.
    pub fn decode(&self, event: &EventRef<'_>) -> Result<Decoded<E>, CodecError> {
        self.decode_parts(
            event.codec(),
            event.event_type(),
            event.schema_version(),
            event.payload(),
        )
    }

    /// Decodes a payload of this type and version.
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    pub fn decode_parts(
        &self,
        codec: CodecId,
        event_type: &str,
        version: SchemaVersion,
        payload: &[u8],
    ) -> Result<Decoded<E>, CodecError> {
        let codec = PayloadCodec::from_id(codec).ok_or(CodecError::UnknownCodec { codec })?;
        match self.upcasters.find(event_type, version) {
            None => read::<E>(codec, event_type, version, payload).map(Decoded::One),
            Some(step) => self.upcast(codec, event_type, step, payload),
        }
    }

    fn upcast(
        &self,
        codec: PayloadCodec,
        event_type: &str,
        step: &UpcastStep,
        payload: &[u8],
    ) -> Result<Decoded<E>, CodecError> {
        let mut events = Vec::new();
        let mut waiting: VecDeque<(Upcasted, Bytes)> = VecDeque::new();
        let mut made = run(codec, step, payload)?;
        for steps in 1.. {
            if steps > UPCAST_STEPS_MAX {
                let event_type = event_type.to_owned();
                return Err(CodecError::Endless {
                    event_type,
                    steps: UPCAST_STEPS_MAX,
                });
            }
            // What a step made takes the place of what it was made from, so that order is kept.
            for upcasted in made.into_iter().rev() {
                let payload = encode(codec, &upcasted.payload)?;
                waiting.push_front((upcasted, payload));
            }
            made = Vec::new();
            while let Some((next, payload)) = waiting.pop_front() {
                match self.upcasters.find(&next.event_type, next.schema_version) {
                    None => events.push(read(
                        codec,
                        &next.event_type,
                        next.schema_version,
                        &payload,
                    )?),
                    Some(step) => {
                        made = run(codec, step, &payload)?;
                        break;
                    }
                }
            }
            if made.is_empty() && waiting.is_empty() {
                break;
            }
        }
        Ok(match events.len() {
            0 => Decoded::None,
            1 => events.pop().map_or(Decoded::None, Decoded::One),
            _ => Decoded::Many(events),
        })
    }
}

pub(super) fn read<E: Event>(
    codec: PayloadCodec,
    event_type: &str,
    version: SchemaVersion,
    payload: &[u8],
) -> Result<E, CodecError> {
    let present = E::schema_version(event_type);
    if version != present {
        let known = event_types::<E>().contains(&event_type);
        let event_type = event_type.to_owned();
        return Err(if !known {
            CodecError::UnknownType { event_type }
        } else if version > present {
            CodecError::Newer {
                event_type,
                found: version,
                present,
            }
        } else {
            CodecError::Gap {
                event_type,
                found: version,
                present,
            }
        });
    }
    let unknown = Cell::new(false);
    let seed = NamedSeed::<E> {
        name: event_type,
        unknown: &unknown,
        event: PhantomData,
    };
    codec.read(seed, payload).map_err(|error| {
        if unknown.get() {
            CodecError::UnknownType {
                event_type: event_type.to_owned(),
            }
        } else {
            error
        }
    })
}

struct NamedSeed<'a, E> {
    name: &'a str,
    unknown: &'a Cell<bool>,
    event: PhantomData<E>,
}

impl<'de, E: Event> DeserializeSeed<'de> for NamedSeed<'_, E> {
    type Value = E;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<E, D::Error> {
        E::deserialize(NameOn {
            inner: deserializer,
            name: self.name,
            unknown: self.unknown,
        })
    }
}

fn run(
    codec: PayloadCodec,
    step: &UpcastStep,
    payload: &[u8],
) -> Result<Vec<Upcasted>, CodecError> {
    codec.read(StepSeed(step), payload)
}

struct StepSeed<'a>(&'a UpcastStep);

impl<'de> DeserializeSeed<'de> for StepSeed<'_> {
    type Value = Vec<Upcasted>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        let mut erased = <dyn erased_serde::Deserializer<'_>>::erase(deserializer);
        self.0.run(&mut erased).map_err(serde::de::Error::custom)
    }
}
