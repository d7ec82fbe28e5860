//! Streams as an operator writes them: `account/alice`, or `acme:account/alice` under a named tenant.

use chronicler_domain::StreamId;

/// A stream key as it is shown.
pub(crate) fn show(key: &str) -> String {
    StreamId::from_key(key).map_or_else(|| key.replace('\0', "/"), |stream| stream.to_string())
}

/// A stream as it is shown, for a terminal: as it is, so that it can be copied into the next command, but for characters
/// that would control the terminal.
pub(crate) fn printable(stream: &str) -> String {
    let mut shown = String::with_capacity(stream.len());
    for character in stream.chars() {
        match character.is_control() {
            true => shown.extend(character.escape_debug()),
            false => shown.push(character),
        }
    }
    shown
}
