//! One step of an instance: an input comes in, entries of the journal come out. Pure.

mod act;
mod children;
#[cfg(test)]
mod cost_tests;
mod decide;
mod inputs;
mod operate;
mod stalled;
mod verbs;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use chronicler_domain::{GlobalPosition, LogSequence, Timestamp};
use chronicler_runtime::Refusal;
use chronicler_store::codec::{CodecError, PayloadCodec, encode_event};
use chronicler_store::{NewEvent, panic_text};

use crate::definition::answer::Answer;
use crate::definition::routes::Delivery;
use crate::definition::saga::{RoutedEvent, Saga};
use crate::instance::journal::{Entry, Parent, StalledInput};
use crate::instance::state::InstanceState;
use crate::instance::status::Ending;

pub(crate) use operate::Wish;

/// What is asked of an instance.
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
    Answer {
        effect: u32,
        is_undo: bool,
        answer: Answer,
    },
    /// What became of several effects and undos, each as one of the commands about it, in one commit.
    Several(Vec<SagaCommand>),
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
    /// No further attempt at an effect is made by itself: what it was answered cannot be kept.
    GiveUp {
        effect: u32,
        is_undo: bool,
        reason: String,
    },
    /// A timer came due.
    Fire { key: String, due: Timestamp },
    /// An operator has something done.
    Operate(Wish),
    /// An operator has it begin as a copy of another.
    Fork(Box<Fork>, Wish),
    /// Another saga begins it.
    Begin {
        parent: Parent,
        codec: u8,
        start: Vec<u8>,
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
    EndChild { parent: Parent, reason: String },
    /// The service of an effect takes no requests.
    Held {
        effect: u32,
        is_undo: bool,
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
    SetAside {
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
        effect: u32,
        is_undo: bool,
        attempt: u32,
        next: Timestamp,
    },
    /// What is to be carried out? Asked after a restart.
    Resume,
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

/// What of one instance another begins with.
#[derive(Clone, Debug)]
pub(crate) struct Fork {
    pub(crate) from: String,
    pub(crate) before: String,
    pub(crate) entries: Vec<Copied>,
    /// When the last of them was accepted.
    pub(crate) at: Timestamp,
}

/// One event of a stream, decoded.
#[derive(Clone, Debug)]
pub(crate) enum Copied {
    Entry(Entry),
    Own(RoutedEvent),
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
    #[error("`0x` begins bytes, as pairs of hexadecimal digits, and these are none")]
    NoBytes,
    #[error("the saga has decided how it ends, and only waits for what is under way")]
    Concluded,
    #[error("it was forked before, to another id: what it did is that one's")]
    ForkedBefore,
    #[error("no timer of this key is armed")]
    NoTimer,
    #[error("an attempt at this effect is under way: wait for its outcome")]
    AttemptUnderWay,
    #[error("effects are under way: wait for their outcomes, or pause it")]
    UnderWay,
    #[error("an instance of this id was started before")]
    StartedBefore,
    #[error("the saga's own code cannot take {what}: {reason}")]
    NotTaken { what: &'static str, reason: String },
    #[error("the saga's pivot is under way: whether it can still be undone is not known yet")]
    PivotUnderWay,
}

/// What one step adds to the journal, and to the state along the way.
pub(crate) struct Step<'a, S: Saga> {
    saga: &'a S,
    state: &'a mut InstanceState<S::State>,
    now: Timestamp,
    events: Vec<NewEvent>,
    due: Vec<(u32, bool)>,
    /// Why the saga is not to decide on the input, but to be quarantined at it.
    set_aside: Option<String>,
    /// When each timer was due before this, of those that it armed, moved or disarmed.
    moved: BTreeMap<String, Option<Timestamp>>,
    /// Timers that were armed for a date, not for a while.
    dated: BTreeSet<String>,
    /// How many causes lie before the input, if those are too many.
    pub(crate) too_deep: Option<u16>,
    /// Why nothing of the step counts.
    refused: Option<SagaRefusal>,
    /// What could not be encoded; the step then fails as a whole.
    error: Option<CodecError>,
}

/// Why an instance is set aside at an input that so many causes lie before.
pub(crate) fn cycle_of(depth: u16) -> String {
    format!(
        "{depth} causes lie before this input: a cycle is assumed and cut; released, it goes on"
    )
}

/// What a step came to.
pub(crate) struct Taken {
    /// The events of the commit, encoded, in order.
    pub(crate) events: Vec<NewEvent>,
    /// Effects (and undos) that became due.
    pub(crate) due: Vec<(u32, bool)>,
    /// When each timer was due before, of those that were armed, moved or disarmed.
    pub(crate) moved: BTreeMap<String, Option<Timestamp>>,
    /// Timers that were armed for a date, not for a while.
    pub(crate) dated: BTreeSet<String>,
}

impl<'a, S: Saga> Step<'a, S> {
    pub(crate) fn new(saga: &'a S, state: &'a mut InstanceState<S::State>, now: Timestamp) -> Self {
        Self {
            saga,
            state,
            now,
            events: Vec::new(),
            due: Vec::new(),
            set_aside: None,
            moved: BTreeMap::new(),
            dated: BTreeSet::new(),
            too_deep: None,
            refused: None,
            error: None,
        }
    }

    /// Takes an input.
    ///
    /// # Errors
    /// Why nothing of it counts; whether the state was changed on the way, the refusal says.
    pub(crate) fn take(mut self, command: SagaCommand) -> Result<Taken, Refusal<SagaRefusal>> {
        if let Err(refusal) = self.carry_out(command) {
            return Err(match self.events.is_empty() {
                true => Refusal::Rejected(refusal),
                false => Refusal::Withdrawn(refusal),
            });
        }
        let Self {
            events,
            due,
            moved,
            dated,
            refused,
            error,
            ..
        } = self;
        match (refused, error) {
            (Some(refusal), _) => Err(Refusal::Withdrawn(refusal)),
            (_, Some(error)) => Err(Refusal::Failed(error)),
            (None, None) => Ok(Taken {
                events,
                due,
                moved,
                dated,
            }),
        }
    }

    fn carry_out(&mut self, command: SagaCommand) -> Result<(), SagaRefusal> {
        match command {
            SagaCommand::Deliver {
                position,
                parts,
                is_late,
            } => self.deliver(position, parts, is_late),
            SagaCommand::Answer {
                effect,
                is_undo,
                answer,
            } => self.answer(effect, is_undo, answer),
            SagaCommand::Several(outcomes) => return self.several(outcomes),
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
            SagaCommand::GiveUp {
                effect,
                is_undo,
                reason,
            } => {
                if let Some((failed, _)) = self.state.pending(effect, is_undo) {
                    self.failed(effect, is_undo, failed.saturating_add(1), None, reason);
                }
            }
            SagaCommand::Fire { key, due } => self.fire(key, due),
            SagaCommand::Operate(wish) => self.operate(wish)?,
            SagaCommand::Fork(fork, wish) => self.fork(*fork, &wish)?,
            SagaCommand::Begin {
                parent,
                codec,
                start,
            } => self.begin(parent, codec, start)?,
            SagaCommand::ChildEnded { effect, ending } => self.child_ended(effect, &ending),
            SagaCommand::EndChild { parent, reason } => self.end_child(parent, reason)?,
            SagaCommand::Begun {
                effect,
                was_to_end,
                decided_at,
            } => {
                self.state.know_decided_at(effect, decided_at);
                self.begun(effect, was_to_end);
            }
            SagaCommand::Held {
                effect,
                is_undo,
                attempt,
                reason,
                decided_at,
            } => {
                self.state.know_decided_at(effect, decided_at);
                self.held(effect, is_undo, attempt, reason);
            }
            SagaCommand::Unstall { input, events } => self.unstall(&input, events),
            SagaCommand::SetAside { input, reason } => {
                self.set_aside = Some(reason);
                return self.carry_out(*input);
            }
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
                if wanted != Some((attempt, next)) || self.state.paused.is_some() {
                    return Err(SagaRefusal::NotWanted);
                }
                // From here on it is under way: a compensation waits for it again, whatever the time of its own input.
                self.enter(Entry::Retrying {
                    effect,
                    is_undo,
                    attempt,
                    next: self.now,
                    reason: "the next attempt begins".to_owned(),
                });
                return Ok(());
            }
            // A child whose end was told while nobody listened says so again.
            SagaCommand::Resume => self.ask_children(),
        }
        self.move_on();
        Ok(())
    }

    /// Takes several outcomes, each as if it had come alone.
    fn several(&mut self, outcomes: Vec<SagaCommand>) -> Result<(), SagaRefusal> {
        let (mut taken, mut answers) = (0, Vec::new());
        for outcome in outcomes {
            let answered = match &outcome {
                SagaCommand::Answer {
                    effect, is_undo, ..
                } => Some((*effect, *is_undo)),
                _ => None,
            };
            let before = self.events.len();
            self.carry_out(outcome)?;
            if self.events.len() > before {
                taken += 1;
                answers.extend(answered);
            }
        }
        if taken > 1 {
            // Those of which not all are answers are taken as they were by whoever replays them.
            answers.truncate(if answers.len() == taken { taken } else { 0 });
            let entry = Entry::Outcomes { answers };
            match encode_event(PayloadCodec::default(), &entry) {
                Ok(event) => self.events.insert(0, event),
                Err(error) => self.error = Some(error),
            }
        }
        Ok(())
    }

    /// Sets the instance aside before it takes an input that too many causes lie before. One that has decided how it ends
    /// takes no more of the cycle anyway.
    pub(super) fn cut_cycle(&mut self) {
        if let Some(depth) = self.too_deep
            && self.state.quarantined.is_none()
            && self.state.concluded.is_none()
        {
            let reason = cycle_of(depth);
            self.enter(Entry::Quarantined { reason });
        }
    }

    /// It is over; who began it is told.
    pub(super) fn finish(&mut self, ending: Ending) {
        self.enter(Entry::Ended(ending.clone()));
        if let Some(parent) = self.state.parent.clone() {
            self.enter(Entry::Reported { parent, ending });
        }
    }

    /// Remembers an event of the saga's own.
    pub(super) fn record(&mut self, event: &S::Event) -> Result<(), String> {
        let encoded = encode_event(PayloadCodec::default(), event);
        self.events
            .push(encoded.map_err(|error| error.to_string())?);
        let user = &mut self.state.user;
        let evolved = catch_unwind(AssertUnwindSafe(|| S::evolve(user, event)));
        evolved.map_err(|panic| format!("evolve panicked: {}", panic_text(panic.as_ref())))
    }

    pub(super) fn enter(&mut self, entry: Entry) {
        match encode_event(PayloadCodec::default(), &entry) {
            Ok(event) => self.events.push(event),
            Err(error) => self.error = Some(error),
        }
        match &entry {
            Entry::Armed { key, .. } | Entry::Disarmed { key } | Entry::Fired { key } => {
                let before = self.state.timers.get(key).copied();
                self.moved.entry(key.clone()).or_insert(before);
            }
            Entry::Ended(_) => {
                for (key, due) in self.state.timers.iter() {
                    self.moved.entry(key.clone()).or_insert(Some(*due));
                }
            }
            _ => {}
        }
        self.state.apply(&entry);
    }
}
