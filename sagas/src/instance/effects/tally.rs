//! How many effects stand how.

use crate::definition::effect_view::{EffectState, EffectView, UndoState};

/// Numbers of effects by how they stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) pending: u32,
    /// Of the pending ones those whose children wait for room.
    pub(super) awaiting_room: u32,
    pub(super) undos_pending: u32,
    pub(super) parked: u32,
    pub(super) stuck: u32,
    pub(super) given_up: u32,
}

impl Tally {
    pub(super) fn of(effect: &EffectView) -> Self {
        Self {
            pending: u32::from(matches!(effect.state, EffectState::Pending { .. })),
            awaiting_room: u32::from(effect.is_awaiting_room()),
            undos_pending: u32::from(matches!(effect.undo, UndoState::Pending { .. })),
            parked: u32::from(matches!(effect.state, EffectState::Parked { .. })),
            stuck: u32::from(matches!(effect.undo, UndoState::Stuck { .. })),
            given_up: u32::from(effect.undo == UndoState::Abandoned),
        }
    }

    pub(super) fn and(self, other: Self, add: impl Fn(u32, u32) -> u32) -> Self {
        Self {
            pending: add(self.pending, other.pending),
            awaiting_room: add(self.awaiting_room, other.awaiting_room),
            undos_pending: add(self.undos_pending, other.undos_pending),
            parked: add(self.parked, other.parked),
            stuck: add(self.stuck, other.stuck),
            given_up: add(self.given_up, other.given_up),
        }
    }
}
