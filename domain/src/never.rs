//! The rejection of a command that cannot be rejected.

use serde::{Deserialize, Serialize};

/// A type without values: the rejection of an aggregate that never says no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Never {}
