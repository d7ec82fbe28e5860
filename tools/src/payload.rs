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

/// Bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |value: u8| char::from(*DIGITS.get(usize::from(value)).unwrap_or(&b'?'));
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(digit).collect()
}
