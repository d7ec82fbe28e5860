//! Streams as an operator writes them: `account/alice`, or `acme:account/alice` under a named tenant.

use chronicler_domain::StreamId;

/// A stream key as it is shown.
pub(crate) fn show(key: &str) -> String {
    StreamId::from_key(key).map_or_else(|| key.replace('\0', "/"), |stream| stream.to_string())
}
