//! One effect of an instance, and how far it and its undo have come.

use chronicler_domain::{LogSequence, Timestamp};
use serde::{Deserialize, Serialize};

use crate::definition::effect::{EffectSpec, Request};
use crate::definition::terms::Terms;
use crate::instance::action::Way;

/// The state of an effect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EffectState {
    /// Not answered yet.
    Pending {
        /// Attempts that failed.
        attempt: u32,
        /// Not to be tried again before this: `Timestamp::EPOCH` while an attempt is under way or may begin at once.
        next: Timestamp,
    },
    /// Failed more often than its budget allows; waits for a person.
    Parked {
        /// Why it failed last.
        reason: String,
    },
    /// Done.
    Done,
    /// Refused for good.
    Rejected,
    /// Whether it was done is not known.
    Unknown,
    /// The child was begun; its end is awaited.
    Awaited,
}

impl EffectState {
    /// Whether it waits for its next attempt. It asks its instance before that begins, so until then it is surely not under
    /// way, whatever any clock says.
    pub(crate) fn waits(&self) -> bool {
        matches!(self, Self::Pending { next, .. } if *next > Timestamp::EPOCH)
    }
}

/// The state of the undo of an effect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum UndoState {
    /// Not needed so far.
    Idle,
    /// Under way.
    Pending {
        /// Attempts that failed.
        attempt: u32,
        /// Not to be tried again before this.
        next: Timestamp,
    },
    /// Done.
    Undone,
    /// Failed for good; waits for a person.
    Stuck {
        /// Why.
        reason: String,
        /// Whether the target refused it: then it is asked again, not whether it was done.
        rejected: bool,
    },
    /// A person gave it up.
    Abandoned,
}

/// Attempts that a service did not take: what they were to do was not done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Untaken {
    /// How many of those that failed, since it was last tried from the beginning.
    pub(crate) attempts: u32,
    /// The same of its undo.
    pub(crate) undos: u32,
    /// No attempt was ever taken, as far as is known for sure.
    pub(crate) is_unsent: bool,
}

impl Untaken {
    /// How many of the attempts that failed.
    pub(crate) fn count(self, way: Way) -> u32 {
        match way {
            Way::Do => self.attempts,
            Way::Undo => self.undos,
        }
    }

    pub(crate) fn add(&mut self, way: Way, counted: bool) {
        let count = match way {
            Way::Do => &mut self.attempts,
            Way::Undo => &mut self.undos,
        };
        *count = count.saturating_add(u32::from(counted));
    }

    /// It is tried from the beginning.
    pub(crate) fn begin(&mut self, way: Way) {
        match way {
            Way::Do => self.attempts = 0,
            Way::Undo => self.undos = 0,
        }
    }
}

/// One effect of an instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct EffectView {
    /// What was decided: see [`key`](Self::key), [`request`](Self::request) and [`undo_request`](Self::undo_request). Hidden,
    /// since it is what the journal holds.
    #[doc(hidden)]
    pub spec: EffectSpec,
    /// Where it is.
    pub state: EffectState,
    /// Where its undo is.
    pub undo: UndoState,
    /// How often its undo was refused and asked again.
    pub undo_round: u32,
    /// The commit that decided it, if it is known: it is not while that commit is being written.
    pub decided_at: Option<LogSequence>,
    /// What governs it beyond the options of the application.
    pub terms: Terms,
    /// The first of those that were decided as one with it.
    pub together: Option<u32>,
    /// Whoever was asked says that it was done: what its own attempts are answered from then on does not change that.
    pub found_done: bool,
    /// What its service did not take of its attempts.
    pub(crate) untaken: Untaken,
    /// A person said that it is not to be done, and what to go on with: then it is not taken back.
    pub skipped: bool,
    /// Its child was begun.
    pub begun: bool,
    /// Its child is begun when there is room for it: as many are alive as may be
    /// ([`Next::at_most`](crate::Next::at_most)).
    pub awaits_room: bool,
}

impl EffectView {
    /// What the saga calls it.
    pub fn key(&self) -> &str {
        &self.spec.key
    }

    /// What is to be done.
    pub fn request(&self) -> &Request {
        &self.spec.request
    }

    /// What is done to take it back, as far as that is known; `None` if it need not be.
    pub fn undo_request(&self) -> Option<&Request> {
        let undo = self.spec.undo.as_ref()?;
        match self.state {
            EffectState::Unknown => Some(undo.if_unknown.as_ref().unwrap_or(&undo.if_done)),
            _ => Some(&undo.if_done),
        }
    }

    /// Whether it is not answered yet, and is not a person's.
    pub(crate) fn is_under_way(&self) -> bool {
        matches!(
            self.state,
            EffectState::Pending { .. } | EffectState::Awaited
        )
    }

    /// Whether its child is not begun yet, for want of room.
    pub(crate) fn is_awaiting_room(&self) -> bool {
        self.awaits_room && matches!(self.state, EffectState::Pending { .. })
    }

    /// Whether it begins another saga.
    pub(crate) fn is_start(&self) -> bool {
        matches!(self.spec.request, Request::Start { .. })
    }

    /// Whether its own answer may still change where it is.
    pub(crate) fn is_open(&self) -> bool {
        self.is_under_way() || matches!(self.state, EffectState::Parked { .. })
    }

    /// Whether nothing can come of it any more, once another effect has its key: it is settled, and was taken back, or
    /// never will be.
    pub(crate) fn is_of_no_account(&self) -> bool {
        let is_settled = matches!(
            self.state,
            EffectState::Done | EffectState::Rejected | EffectState::Unknown
        );
        let is_through = match self.undo {
            UndoState::Undone => true,
            UndoState::Idle => self.spec.undo.is_none() || self.state == EffectState::Rejected,
            _ => false,
        };
        is_settled && is_through
    }

    /// Whether it was done, or may have been, and is to be taken back.
    pub(crate) fn is_to_be_undone(&self) -> bool {
        self.spec.undo.is_some()
            && self.undo == UndoState::Idle
            && matches!(self.state, EffectState::Done | EffectState::Unknown)
    }
}
