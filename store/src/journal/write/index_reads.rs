//! Looking a head up in the index, or without it in the segments' own stream indexes.

use crate::error::ReadError;
use crate::index::{HeadRow, Index, IndexError};

/// One stream's row in the index.
pub(crate) fn head_in_index(index: &dyn Index, key: &str) -> Result<Option<HeadRow>, ReadError> {
    index.head(key).map_err(|error| index_failed(&error))
}

/// The error that a reader gets when the index cannot be read.
pub(crate) fn index_failed(error: &IndexError) -> ReadError {
    ReadError::Index {
        reason: error.to_string().into(),
    }
}
