//! Payloads as JSON: those that are JSON, and those whose types an application knows.

use chronicler_store::EventRef;
use chronicler_store::codec::CodecId;
use serde_json::value::RawValue;

/// Turns payloads into JSON. bincode does not describe itself, so a binary that mounts these commands and knows the
/// types implements this for its own events.
pub trait Payloads: Sync {
    /// The payload of an event as JSON; `None` if it cannot be shown as such.
    fn json(&self, event: &EventRef<'_>) -> Option<Box<RawValue>>;
}

/// Knows no types: shows the payloads that are JSON already.
#[derive(Clone, Copy, Debug, Default)]
pub struct SelfDescribing;

impl Payloads for SelfDescribing {
    fn json(&self, event: &EventRef<'_>) -> Option<Box<RawValue>> {
        if event.codec() != CodecId::JSON {
            return None;
        }
        // One line an event: white space between tokens may hold line ends.
        let text = std::str::from_utf8(event.payload()).ok()?;
        let raw: Box<RawValue> = serde_json::from_str(text).ok()?;
        if raw.get().contains(['\n', '\r']) {
            let value: serde_json::Value = serde_json::from_str(text).ok()?;
            return serde_json::value::to_raw_value(&value).ok();
        }
        Some(raw)
    }
}

/// The name of a codec; of one that is not known, its number.
pub(crate) fn codec_name(codec: CodecId) -> String {
    match codec {
        CodecId::RAW => "raw".to_owned(),
        CodecId::BINCODE => "bincode".to_owned(),
        CodecId::JSON => "json".to_owned(),
        CodecId::BY_NAME => "by-name".to_owned(),
        other => other.number().to_string(),
    }
}

/// The codec of a name.
pub(crate) fn codec_of(name: &str) -> Result<CodecId, String> {
    match name {
        "raw" => Ok(CodecId::RAW),
        "bincode" => Ok(CodecId::BINCODE),
        "json" => Ok(CodecId::JSON),
        "by-name" => Ok(CodecId::BY_NAME),
        number => number
            .parse()
            .map(CodecId::new)
            .map_err(|_| format!("{number:?} is no codec")),
    }
}
