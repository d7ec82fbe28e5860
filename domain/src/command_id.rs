//! The id of a command, by which a repeated command is recognised.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::{Uuid, Version};

use crate::Timestamp;

/// The id of a command: a UUID that carries the time at which it was made.
///
/// The time is what makes an honest promise possible: an aggregate remembers the ids it has seen up to a
/// documented horizon, and refuses an id from before that horizon instead of executing it twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CommandId(Uuid);

impl CommandId {
    /// Takes a UUID of version 7, whose first 48 bits are its time in milliseconds, or one that
    /// [`derived`](Self::derived) made (version 8, same layout).
    ///
    /// # Errors
    /// [`InvalidCommandId`] for any other UUID: it does not say how old it is.
    pub fn from_uuid(id: Uuid) -> Result<Self, InvalidCommandId> {
        match id.get_version() {
            Some(Version::SortRand | Version::Custom) => Ok(Self(id)),
            _ => Err(InvalidCommandId { id }),
        }
    }

    /// The id that belongs to `name` at `issued_at`: the same arguments always give the same id.
    ///
    /// For callers with a natural key ("order 17, attempt 1"). `issued_at` must be the time at which the
    /// command was first meant, not the time of the present attempt. Whole milliseconds count.
    ///
    /// ```
    /// use chronicler_domain::{CommandId, Timestamp};
    /// let at = Timestamp::from_millis(1_700_000_000_000);
    /// assert_eq!(CommandId::derived(at, "order 17"), CommandId::derived(at, "order 17"));
    /// assert_ne!(CommandId::derived(at, "order 17"), CommandId::derived(at, "order 18"));
    /// assert_eq!(CommandId::derived(at, "order 17").issued_at(), at);
    /// ```
    pub fn derived(issued_at: Timestamp, name: &str) -> Self {
        let mut bytes = *Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes()).as_bytes();
        let millis = issued_at.as_millis().to_be_bytes();
        if let (Some(to), Some(from)) = (bytes.get_mut(..6), millis.get(2..)) {
            to.copy_from_slice(from);
        }
        Self(uuid::Builder::from_custom_bytes(bytes).into_uuid())
    }

    /// When it was made, in whole milliseconds.
    pub fn issued_at(self) -> Timestamp {
        let millis = self.0.as_u128() >> 80;
        Timestamp::from_millis(millis as u64)
    }

    /// The plain UUID.
    pub const fn as_uuid(self) -> Uuid {
        self.0
    }
}

impl fmt::Display for CommandId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A UUID that carries no time, given as a command id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{id} cannot be a command id: it does not carry its time; use a version 7 UUID, or CommandId::derived"
)]
pub struct InvalidCommandId {
    id: Uuid,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ids_that_carry_their_time_are_taken() {
        let random = Uuid::from_u128(0x9f2c_11d0_5a6b_4c3d_8e4f_0011_2233_4455);
        assert!(CommandId::from_uuid(random).is_err());
        let seven =
            uuid::Builder::from_unix_timestamp_millis(1_700_000_000_123, &[7; 10]).into_uuid();
        let id = CommandId::from_uuid(seven).unwrap();
        assert_eq!(id.issued_at(), Timestamp::from_millis(1_700_000_000_123));
    }
}
