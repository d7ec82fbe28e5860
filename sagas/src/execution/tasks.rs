//! Tasks: what is due after a transition, as an executor carries it out.

use chronicler_domain::{Context, LogSequence};

use crate::definition::effect_view::EffectView;
use crate::definition::terms::Orphan;
use crate::instance::action::Action;
use crate::instance::state::InstanceState;
use crate::instance::work::{ChildTask, Task, Work};

/// Which of the actions that are due may have been sent before this transition.
#[derive(Clone, Copy)]
pub(super) struct SentBefore {
    /// The effects below this index: they were decided by earlier commits.
    pub(super) effects: u32,
    /// Whether the undos may have been.
    pub(super) undos: bool,
}

impl SentBefore {
    fn has(self, action: Action) -> bool {
        match action.is_undo() {
            true => self.undos,
            false => action.effect < self.effects,
        }
    }
}

/// The work that what is due comes to. The commit that decided an effect is not known while it is written, nor to a snapshot
/// that was taken then; the target of what may have been sent before by such a commit looks through everything.
pub(super) fn work<S>(
    state: &InstanceState<S>,
    due: Vec<Action>,
    sent: SentBefore,
    ctx: &Context,
) -> Work {
    let metadata = ctx.metadata().caused_by(ctx.command_id());
    // Nothing new begins while it stands; what it then wants is due when it is resumed or released.
    let due = match state.stands() {
        true => Vec::new(),
        false => due,
    };
    let task = |action: Action| {
        let view = state.effect(action.effect)?;
        let (attempt, not_before) = state.pending(action)?;
        let request = state.request(action)?.clone();
        let unknown = sent.has(action).then_some(LogSequence::ZERO.next());
        let mut terms = view.terms.clone();
        if view.is_start() {
            // It limits how many children are alive, and neither their beginning nor their undo.
            terms.resource = None;
        }
        let is_child = view.is_start() && !action.is_undo();
        Some(Task {
            terms,
            child: match is_child {
                true => child(view, state.is_compensating()),
                false => ChildTask::Nothing,
            },
            action,
            undo_round: view.undo_round,
            attempt,
            not_before,
            untaken: view.untaken.count(action.way),
            // What this commit decided nobody can have sent.
            is_unsent: !action.is_undo() && (!sent.has(action) || view.untaken.is_unsent),
            request,
            decided_at: view.decided_at.or(unknown),
            metadata: metadata.clone(),
        })
    };
    Work {
        tasks: due.into_iter().filter_map(task).collect(),
        armed: None,
        takes_up: false,
        ended: None,
        occupancy: None,
    }
}

/// What is to become of a child. Once the saga is compensated it is not begun any more, whatever becomes of one that was.
fn child(view: &EffectView, is_undone: bool) -> ChildTask {
    match (is_undone, view.terms.orphan) {
        (false, _) => ChildTask::Begin {
            limit: view.terms.resource.clone(),
            has_begun: view.begun,
            awaits_room: view.is_awaiting_room(),
        },
        (true, Orphan::Cancel) => ChildTask::Cancel,
        (true, Orphan::Wait | Orphan::Abandon) => ChildTask::Forgo,
    }
}
