//! Commands to an instance.

use chronicler_domain::{GlobalPosition, LogSequence, Timestamp};

use crate::definition::answer::Answer;
use crate::definition::input::RoutedEvent;
use crate::definition::payload::Payload;
use crate::definition::routes::Delivery;
use crate::instance::action::Action;
use crate::instance::entry::{Parent, StalledInput};
use crate::instance::fold::Recorded;
use crate::instance::occupancy::Occupancy;
use crate::instance::reason::cut;
use crate::instance::status::Ending;
use crate::instance::verb::{Order, SagaVerb};

/// A command to an instance.
#[derive(Clone)]
pub(crate) enum SagaCommand {
    /// The event at one position of the log, as far as it was routed here.
    Deliver {
        position: GlobalPosition,
        parts: Vec<Part>,
        /// It could not be routed when it came, and later ones may have been consumed since.
        is_late: bool,
    },
    /// An effect or undo was answered.
    Answer { action: Action, answer: Answer },
    /// What became of several effects and undos, each as one of the commands about it, in one commit.
    Several(Vec<SagaCommand>),
    /// An attempt failed for reasons that are not the domain's. Without `next` its budget is spent.
    Failed {
        action: Action,
        attempt: u32,
        next: Option<Timestamp>,
        reason: String,
        /// The commit that decided it, or an earlier one.
        decided_at: LogSequence,
    },
    /// The service of an effect did not take an attempt, which is told as `outcome`, failed or held.
    NotTaken {
        outcome: Box<SagaCommand>,
        action: Action,
        counted: bool,
        unsent: bool,
    },
    /// No further attempt at an effect is made by itself: what it was answered cannot be kept.
    GiveUp { action: Action, reason: String },
    /// A timer came due.
    Fire { key: String, due: Timestamp },
    /// An operator has something done.
    Operate(Order),
    /// An operator has it begin as a copy of another.
    Fork(Box<Fork>, Order),
    /// Another saga begins it.
    Begin {
        parent: Parent,
        start: Payload,
        /// The place that it has from then on.
        occupies: Option<Occupancy>,
    },
    /// The child of an effect was begun.
    Begun {
        effect: u32,
        /// It was told to end.
        was_to_end: bool,
        decided_at: LogSequence,
    },
    /// The child of an effect has ended.
    ChildEnded { effect: u32, ending: Ending },
    /// The saga that began it, or was about to, is being compensated.
    EndChild {
        parent: Parent,
        reason: String,
        /// If it was begun, it goes on.
        is_spared: bool,
    },
    /// The child of an effect, which waited until then, is not to be begun any more.
    ForgoChild { effect: u32 },
    /// The child of an effect is not begun yet: as many are alive as may be. `attempt` and `next` say of which wait.
    AwaitRoom {
        effect: u32,
        attempt: u32,
        next: Timestamp,
        reason: String,
        decided_at: LogSequence,
    },
    /// The service of an effect takes no requests, or its target is in quarantine.
    Held {
        action: Action,
        attempt: u32,
        reason: String,
        decided_at: LogSequence,
    },
    /// This stalled input, the first, is taken up again, with its events if it is one of the log.
    Unstall {
        input: StalledInput,
        events: Vec<RoutedEvent>,
    },
    /// The log refuses for good what is decided on this input: the instance is quarantined at it, in a commit that holds
    /// nothing but that.
    QuarantineAt {
        input: Box<SagaCommand>,
        reason: String,
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
        action: Action,
        attempt: u32,
        next: Timestamp,
        /// It would begin a child.
        begins_child: bool,
    },
    /// What is to be carried out? Asked after a restart.
    Resume,
}

impl SagaCommand {
    /// The same with what a service or the machinery says of a failure cut: it is for people to read, and no reason why the
    /// log should not take it.
    pub(crate) fn with_short_reason(mut self) -> Self {
        match &mut self {
            Self::Failed { reason, .. }
            | Self::Held { reason, .. }
            | Self::GiveUp { reason, .. }
            | Self::QuarantineAt { reason, .. }
            | Self::Answer {
                answer: Answer::Unknown(reason),
                ..
            } => *reason = cut(std::mem::take(reason)),
            Self::NotTaken { outcome, .. } => {
                // As short as it is told by itself.
                let told = std::mem::replace(outcome.as_mut(), Self::Resume);
                **outcome = told.with_short_reason();
            }
            _ => {}
        }
        self
    }

    /// Whether effects may be due by it that were sent before, by a commit that is not known.
    pub(crate) fn sends_again(&self) -> bool {
        match self {
            Self::Resume => true,
            Self::Operate(order) => matches!(
                order.verb,
                SagaVerb::RetryNow | SagaVerb::Resume | SagaVerb::Release | SagaVerb::Edit { .. }
            ),
            _ => false,
        }
    }

    /// Whether inputs that waited may be taken up after it.
    pub(crate) fn takes_up(&self) -> bool {
        match self {
            Self::Resume => true,
            Self::Operate(order) => matches!(
                order.verb,
                SagaVerb::Release | SagaVerb::Resume | SagaVerb::Migrate
            ),
            _ => false,
        }
    }
}

/// One of the events that an event of the log is read as: the only one, unless an upcaster split it. Each goes its own way.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    /// Its place among them, counted from 0.
    pub(crate) place: u32,
    /// How many there are.
    pub(crate) of: u32,
    pub(crate) delivery: Delivery,
    pub(crate) event: RoutedEvent,
}

/// The part of one instance that another begins with.
#[derive(Clone, Debug)]
pub(crate) struct Fork {
    pub(crate) from: String,
    pub(crate) before: String,
    pub(crate) events: Vec<Recorded<RoutedEvent>>,
    /// When the last of them was accepted.
    pub(crate) at: Timestamp,
}
