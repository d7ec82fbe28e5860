//! Actions: an effect is done, or undone.

use serde::{Deserialize, Serialize};

/// Doing or undoing an effect. The fields are on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Action {
    /// The index of the effect.
    pub(crate) effect: u32,
    pub(crate) way: Way,
}

/// The order of the variants is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) enum Way {
    Do,
    Undo,
}

impl Action {
    /// Doing an effect.
    pub(crate) fn of(effect: u32) -> Self {
        Self {
            effect,
            way: Way::Do,
        }
    }

    /// Undoing an effect.
    pub(crate) fn undo_of(effect: u32) -> Self {
        Self {
            effect,
            way: Way::Undo,
        }
    }

    /// Doing an effect, and undoing it.
    pub(crate) fn both_of(effect: u32) -> [Self; 2] {
        [Self::of(effect), Self::undo_of(effect)]
    }

    pub(crate) fn is_undo(self) -> bool {
        self.way == Way::Undo
    }
}
