//! Work that an instance hands to its executor after a transition.

use chronicler_domain::{LogSequence, Metadata, Timestamp};

use crate::definition::effect::Request;
use crate::definition::terms::Terms;
use crate::instance::action::Action;
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
}

impl Work {
    pub(crate) fn is_nothing(&self) -> bool {
        self.tasks.is_empty() && self.armed.is_none() && !self.takes_up
    }
}

/// One effect or undo to be carried out.
#[derive(Clone, Debug)]
pub(crate) struct Task {
    pub(crate) action: Action,
    pub(crate) undo_round: u32,
    pub(crate) attempt: u32,
    pub(crate) not_before: Timestamp,
    pub(crate) request: Request,
    pub(crate) terms: Terms,
    /// For a child: it is to be cancelled, not begun.
    pub(crate) is_to_end: bool,
    pub(crate) decided_at: Option<LogSequence>,
    pub(crate) metadata: Metadata,
}
