//! The error of what of a definition cannot be written or read.

use chronicler_domain::InvalidId;
use chronicler_store::codec::CodecError;

/// A value of a definition cannot be written, or one that an instance knows cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DefinitionError {
    /// A value cannot be encoded or decoded.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// An id cannot be used.
    #[error(transparent)]
    Id(#[from] InvalidId),
    /// The instance has not begun.
    #[error("it has not begun")]
    NotBegun,
    /// What the instance began with is of an earlier type.
    #[error(
        "what it began with cannot be read as what it begins with today: have that type read the earlier shape too (serde's `default`, `alias` or `from`), and release it; or cancel it: {0}"
    )]
    Beginning(#[source] CodecError),
    /// A step was begun as one command, and is several now, or the other way round.
    #[error("it is of another kind now")]
    OtherKind,
    /// The replies of a step that has one command.
    #[error("it has one command only")]
    OneCommand,
}
