//! Streams and events of the protocol, and how they are kept.

use std::borrow::Cow;

use bytes::Bytes;
use chronicler::domain::{Aggregate, AggregateId, Category, SchemaVersion, StreamId, Tenant};
use chronicler::store::codec::{CodecId, EventDecoder};
use chronicler::store::{EventRef, Expected, NewEvent, RecordedEvent, hex};
use order_payment::domain::{Inventory, Order, Payment};
use serde::Serialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::account::Account;
use crate::answer::Refused;
use crate::register::Register;
use crate::requests::{Request, wrong};
use crate::transfer::Transfer;

/// The category of streams that a checker writes to.
pub(crate) const CATEGORY: &str = "es";
/// The longest name of a stream, in bytes.
const NAME_BYTES_MAX: usize = 200;
/// Where an event keeps the id that its checker gave it, if that is no UUID.
const GIVEN_ID: &str = "\u{1}id";

/// The stream of a name.
pub(crate) fn stream_of(name: &str) -> Result<StreamId, Refused> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        return Err(wrong("stream", "has a name of no or more than 200 bytes"));
    }
    let id = AggregateId::new(escaped(name)).map_err(Refused::invalid)?;
    let category = Category::new(CATEGORY).map_err(Refused::invalid)?;
    Ok(StreamId::new(&Tenant::default(), &category, &id))
}

/// A name as an id: what an id must not hold, and the percent sign, as two hex digits for each byte.
fn escaped(name: &str) -> String {
    let inner = name.trim();
    let begin = name.len() - name.trim_start().len();
    let end = begin + inner.len();
    let mut id = String::with_capacity(name.len());
    for (at, character) in name.char_indices() {
        let is_edge = (at < begin || at >= end) && character.is_whitespace();
        if is_edge || character.is_control() || character == '%' {
            let mut bytes = [0; 4];
            for byte in character.encode_utf8(&mut bytes).bytes() {
                id.push_str(&format!("%{byte:02x}"));
            }
        } else {
            id.push(character);
        }
    }
    id
}

/// The name of a stream, as its checker knows it.
fn name_of(stream: &StreamId) -> String {
    let id = stream.id();
    if stream.category() != CATEGORY {
        return format!("{}/{id}", stream.category());
    }
    let mut bytes = Vec::with_capacity(id.len());
    let mut rest = id.as_bytes();
    while let Some((first, others)) = rest.split_first() {
        let digits = others.get(..2).filter(|_| *first == b'%');
        let byte = digits
            .and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        match byte {
            Some(byte) => {
                bytes.push(byte);
                rest = others.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = others;
            }
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| id.to_owned())
}

/// What is expected of a stream.
pub(crate) fn expected(value: Option<&Value>) -> Result<Expected, Refused> {
    match value {
        None => Ok(Expected::Any),
        Some(Value::String(text)) => match text.as_str() {
            "any" => Ok(Expected::Any),
            "no_stream" => Ok(Expected::NoStream),
            "exists" => Ok(Expected::Exists),
            _ => Err(wrong(
                "expected",
                "is not any, no_stream, exists or a number",
            )),
        },
        Some(value) => match value.as_u64() {
            Some(0) => Ok(Expected::NoStream),
            Some(version) => Ok(Expected::Version(version.into())),
            None => Err(wrong(
                "expected",
                "is not any, no_stream, exists or a number",
            )),
        },
    }
}

/// The events of a request.
pub(crate) fn new_events(request: &Request) -> Result<Vec<NewEvent>, Refused> {
    let one = |value: &Value| {
        let event = request.within(value, "events")?;
        let data = event.optional_text("data")?.unwrap_or_default();
        let mut metadata = match event.get("meta") {
            None => Map::new(),
            Some(Value::Object(meta)) => meta.clone(),
            Some(_) => return Err(wrong("meta", "is no object")),
        };
        let given = event.optional_text("id")?;
        let id = given.map(|given| match Uuid::parse_str(given) {
            Ok(id) if id.to_string() == given => id,
            _ => {
                metadata.insert(GIVEN_ID.to_owned(), given.into());
                Uuid::new_v5(&Uuid::NAMESPACE_OID, given.as_bytes())
            }
        });
        let metadata = match metadata.is_empty() {
            true => Bytes::new(),
            false => Value::Object(metadata).to_string().into(),
        };
        Ok(NewEvent {
            id,
            event_type: Cow::Owned(event.text("type")?.to_owned()),
            schema_version: SchemaVersion::FIRST,
            codec: CodecId::RAW,
            payload: Bytes::copy_from_slice(data.as_bytes()),
            metadata,
        })
    };
    request.list("events")?.iter().map(one).collect()
}

/// An event as a checker reads it.
pub(crate) fn shown(event: &RecordedEvent) -> Value {
    let mut meta: Map<String, Value> = serde_json::from_slice(&event.metadata).unwrap_or_default();
    let id = match meta.remove(GIVEN_ID) {
        Some(Value::String(given)) => given,
        _ => event.id.to_string(),
    };
    json!({
        "id": id,
        "stream": name_of(&event.stream),
        "seq": event.version.get(),
        "pos": event.position.get(),
        "type": event.event_type,
        "data": data_of(event),
        "meta": meta,
        "ts": event.timestamp.as_millis(),
    })
}

/// An event of a batch as a checker reads it.
pub(crate) fn shown_ref(event: &EventRef<'_>) -> Option<Value> {
    RecordedEvent::of(event).map(|event| shown(&event))
}

/// The payload as text: as it was given, or the event of a built-in aggregate as JSON, or hex.
fn data_of(event: &RecordedEvent) -> String {
    let as_json = match event.stream.category() {
        CATEGORY => return String::from_utf8_lossy(&event.payload).into_owned(),
        Account::CATEGORY => json_of::<Account>(event),
        Register::CATEGORY => json_of::<Register>(event),
        Transfer::CATEGORY => json_of::<Transfer>(event),
        Order::CATEGORY => json_of::<Order>(event),
        Payment::CATEGORY => json_of::<Payment>(event),
        Inventory::CATEGORY => json_of::<Inventory>(event),
        _ => None,
    };
    as_json.unwrap_or_else(|| hex::encode(&event.payload))
}

fn json_of<A: Aggregate>(event: &RecordedEvent) -> Option<String>
where
    A::Event: Serialize,
{
    let decoder = EventDecoder::<A::Event>::new();
    let (version, payload) = (event.schema_version, &event.payload);
    let decoded = decoder.decode_parts(event.codec, &event.event_type, version, payload);
    let events: Vec<A::Event> = decoded.ok()?.into_iter().collect();
    match events.as_slice() {
        [one] => serde_json::to_string(one).ok(),
        several => serde_json::to_string(several).ok(),
    }
}
