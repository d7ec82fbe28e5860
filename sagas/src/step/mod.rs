//! One step of an instance: an input comes in, entries of the journal come out. Pure.

mod act;
mod decide;
mod inputs;
mod stalled;
mod verbs;

use chronicler_domain::{GlobalPosition, LogSequence, Timestamp};
use chronicler_store::NewEvent;
use chronicler_store::codec::{PayloadCodec, encode_event};

use crate::answer::Answer;
use crate::instance::InstanceState;
use crate::journal::{Entry, StalledInput};
use crate::routes::Delivery;
use crate::saga::{RoutedEvent, Saga};

pub(crate) use decide::said;

/// What is asked of an instance.
#[derive(Clone)]
pub(crate) enum SagaCommand {
    /// Events at one position of the log: usually one, several where an upcaster split it.
    Deliver {
        position: GlobalPosition,
        delivery: Delivery,
        events: Vec<RoutedEvent>,
    },
    /// An effect or undo was answered.
    Answer {
        effect: u32,
        is_undo: bool,
        answer: Answer,
    },
    /// An attempt failed for reasons that are not the domain's. Without `next` its budget is spent.
    Failed {
        effect: u32,
        is_undo: bool,
        attempt: u32,
        next: Option<Timestamp>,
        reason: String,
        /// The commit that decided it, or an earlier one.
        decided_at: LogSequence,
    },
    /// A timer came due.
    Fire { key: String, due: Timestamp },
    /// Somebody wants it undone.
    Cancel { reason: String, by: String },
    /// Somebody wants parked effects and stuck undos tried again.
    RetryNow { by: String },
    /// Somebody releases it from quarantine.
    Release { by: String },
    /// This stalled input, the first, is taken up again, with its events if it is one of the log.
    Unstall {
        input: StalledInput,
        events: Vec<RoutedEvent>,
    },
    /// Somebody says how an effect or undo ended that its target gave no answer to.
    Settle {
        key: String,
        answer: Answer,
        by: String,
        reason: String,
    },
    /// May an effect or undo be tried again? Asked when its wait is over; `attempt` and `next` say which wait.
    Attempt {
        effect: u32,
        is_undo: bool,
        attempt: u32,
        next: Timestamp,
    },
    /// What is to be carried out? Asked after a restart.
    Resume,
}

/// Why an operator's wish is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SagaRefusal {
    #[error("no saga of this id was ever started")]
    NotStarted,
    #[error("the saga is over")]
    Over,
    #[error("the saga has passed its pivot and only goes forward")]
    PastPivot,
    #[error("the saga is being compensated already")]
    Compensating,
    #[error("the effect is not wanted any more")]
    NotWanted,
    #[error("no effect of this key waits for a person")]
    NothingToSettle,
    #[error(
        "the outcome of a command is known to its aggregate: say whether it was done or rejected"
    )]
    CannotBeUnknown,
    #[error("the saga's pivot is under way: whether it can still be undone is not known yet")]
    PivotUnderWay,
}

/// What one step adds to the journal, and to the state along the way.
pub(crate) struct Step<'a, S: Saga> {
    saga: &'a S,
    state: &'a mut InstanceState<S::State>,
    now: Timestamp,
    /// The events of the commit, encoded, in order.
    pub(crate) events: Vec<NewEvent>,
    /// Effects (and undos) that became due in this step.
    pub(crate) due: Vec<(u32, bool)>,
    /// What could not be encoded; the step then fails as a whole.
    pub(crate) error: Option<chronicler_store::codec::CodecError>,
}

impl<'a, S: Saga> Step<'a, S> {
    pub(crate) fn new(saga: &'a S, state: &'a mut InstanceState<S::State>, now: Timestamp) -> Self {
        Self {
            saga,
            state,
            now,
            events: Vec::new(),
            due: Vec::new(),
            error: None,
        }
    }

    pub(crate) fn take(&mut self, command: SagaCommand) -> Result<(), SagaRefusal> {
        match command {
            SagaCommand::Deliver {
                position,
                delivery,
                events,
            } => {
                self.deliver(position, delivery, events);
            }
            SagaCommand::Answer {
                effect,
                is_undo,
                answer,
            } => self.answer(effect, is_undo, answer),
            SagaCommand::Failed {
                effect,
                is_undo,
                attempt,
                next,
                reason,
                decided_at,
            } => {
                self.state.know_decided_at(effect, decided_at);
                self.failed(effect, is_undo, attempt, next, reason);
            }
            SagaCommand::Fire { key, due } => self.fire(key, due),
            SagaCommand::Cancel { reason, by } => self.cancel(reason, by)?,
            SagaCommand::RetryNow { by } => self.retry_now(&by)?,
            SagaCommand::Release { by } => {
                if self.state.quarantined.is_some() {
                    self.enter(Entry::Released { by });
                }
            }
            SagaCommand::Unstall { input, events } => self.unstall(&input, events),
            SagaCommand::Settle {
                key,
                answer,
                by,
                reason,
            } => self.settle(&key, answer, by, reason)?,
            SagaCommand::Attempt {
                effect,
                is_undo,
                attempt,
                next,
            } => {
                let wanted = self.state.pending(effect, is_undo);
                return match wanted == Some((attempt, next)) {
                    true => Ok(()),
                    false => Err(SagaRefusal::NotWanted),
                };
            }
            SagaCommand::Resume => {}
        }
        self.move_on();
        Ok(())
    }

    /// Sets the instance aside before it takes anything more.
    pub(crate) fn cut(&mut self, reason: String) {
        if self.state.is_open() && self.state.quarantined.is_none() {
            self.enter(Entry::Quarantined { reason });
        }
    }

    pub(super) fn enter(&mut self, entry: Entry) {
        match encode_event(PayloadCodec::default(), &entry) {
            Ok(event) => self.events.push(event),
            Err(error) => self.error = Some(error),
        }
        self.state.apply(&entry);
    }
}
