//! Why a value was not written or not read by name.

use std::fmt::Display;

use serde::{de, ser};

/// The reason, in words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(in crate::codec) struct ByNameError(pub(super) String);

impl ByNameError {
    pub(super) fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }

    /// The bytes end too early, or are none of ours.
    pub(super) fn damaged() -> Self {
        Self::new("the bytes are damaged or cut short")
    }
}

impl ser::Error for ByNameError {
    fn custom<T: Display>(reason: T) -> Self {
        Self(reason.to_string())
    }
}

impl de::Error for ByNameError {
    fn custom<T: Display>(reason: T) -> Self {
        Self(reason.to_string())
    }
}
