//! Why a value did not become bytes, or bytes a value.

use chronicler_domain::SchemaVersion;

use super::CodecId;

/// Why a value did not become bytes, or bytes a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// The value cannot be written.
    #[error("a value of {type_name} cannot be encoded: {reason}")]
    Unencodable {
        /// Its Rust type.
        type_name: &'static str,
        /// What the codec said.
        reason: String,
    },
    /// The bytes are not such a value.
    #[error("these bytes are not a value of {type_name}: {reason}")]
    Undecodable {
        /// The Rust type that was wanted.
        type_name: &'static str,
        /// What the codec said.
        reason: String,
    },
    /// The payload was encoded in a way that this release does not know.
    #[error("payloads of codec {} cannot be read", codec.number())]
    UnknownCodec {
        /// The number in the record.
        codec: CodecId,
    },
    /// The application has no event type of this name.
    #[error(
        "event type {event_type:?} is not known: add the variant, or an upcaster that replaces it"
    )]
    UnknownType {
        /// The name in the record.
        event_type: String,
    },
    /// A newer release of the application wrote it.
    #[error(
        "event type {event_type:?} has version {found}, and version {present} is the newest known here"
    )]
    Newer {
        /// The name in the record.
        event_type: String,
        /// The version in the record.
        found: SchemaVersion,
        /// The present version.
        present: SchemaVersion,
    },
    /// No upcaster takes this version on.
    #[error(
        "event type {event_type:?} has version {found}, and no upcaster takes it on to {present}"
    )]
    Gap {
        /// The name in the record.
        event_type: String,
        /// The version in the record.
        found: SchemaVersion,
        /// The present version.
        present: SchemaVersion,
    },
    /// The upcasters go round in a circle.
    #[error("the upcasters of event type {event_type:?} did not end after {steps} steps")]
    Endless {
        /// The name in the record.
        event_type: String,
        /// How many steps were taken.
        steps: usize,
    },
}
