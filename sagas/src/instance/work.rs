//! Work that an instance hands to its executor after a transition.

use chronicler_domain::{LogSequence, Metadata, Timestamp};

use crate::definition::effect::Request;
use crate::definition::terms::Terms;
use crate::instance::action::Action;
use crate::instance::occupancy::OccupancyChange;
use crate::instance::status::Ending;

/// The work that is to be carried out after a transition is durable.
#[derive(Clone, Debug, Default)]
pub(crate) struct Work {
    pub(crate) tasks: Vec<Task>,
    pub(crate) armed: Option<Timestamp>,
    /// Inputs that waited are to be taken up.
    pub(crate) takes_up: bool,
    /// How the transition ended the instance, if it did: nothing is carried out for that.
    pub(crate) ended: Option<Ending>,
    /// What became of the place that it has as a child.
    pub(crate) occupancy: Option<OccupancyChange>,
}

impl Work {
    pub(crate) fn is_nothing(&self) -> bool {
        self.tasks.is_empty() && self.armed.is_none() && !self.takes_up
    }
}

/// What is to become of the child of an effect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum ChildTask {
    /// It is to be begun, or to say again how it ended. With `limit` no more than so many of that name are alive;
    /// `awaits_room`: its instance knows that it waits for that.
    Begin {
        limit: Option<(String, u32)>,
        has_begun: bool,
        awaits_room: bool,
    },
    /// It is to be undone, and never to be begun.
    Cancel,
    /// It is never to be begun; if it was, it goes on.
    Forgo,
    /// It has none.
    #[default]
    Nothing,
}

/// One effect or undo to be carried out.
#[derive(Clone, Debug)]
pub(crate) struct Task {
    pub(crate) action: Action,
    pub(crate) undo_round: u32,
    pub(crate) attempt: u32,
    pub(crate) not_before: Timestamp,
    /// How many of the attempts that failed its service did not take.
    pub(crate) untaken: u32,
    /// Nothing was ever sent for it.
    pub(crate) is_unsent: bool,
    pub(crate) request: Request,
    pub(crate) terms: Terms,
    /// For a child.
    pub(crate) child: ChildTask,
    pub(crate) decided_at: Option<LogSequence>,
    pub(crate) metadata: Metadata,
}
