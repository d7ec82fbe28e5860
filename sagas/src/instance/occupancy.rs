//! Occupancy: the place of a child among those of which only so many are alive at a time.

use chronicler_domain::LogSequence;
use serde::{Deserialize, Serialize};

/// The place that a child has from its beginning to its end. The fields are on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Occupancy {
    /// The name of the limit.
    pub(crate) resource: String,
    /// How many may be alive, as who began it has it.
    pub(crate) limit: u32,
    /// The commit that decided to begin it, or an earlier one.
    pub(crate) decided_at: LogSequence,
}

/// A change of the place that an instance has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum OccupancyChange {
    Taken(Occupancy),
    Left(Occupancy),
}

impl OccupancyChange {
    /// What became of a place; `None` if nothing did.
    pub(crate) fn between(before: Option<Occupancy>, after: Option<&Occupancy>) -> Option<Self> {
        match (before, after) {
            (None, Some(taken)) => Some(Self::Taken(taken.clone())),
            (Some(left), None) => Some(Self::Left(left)),
            _ => None,
        }
    }
}
