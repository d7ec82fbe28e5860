//! One step of an instance: an input comes in, entries for its stream come out. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use chronicler_domain::Timestamp;
use chronicler_runtime::Refusal;
use chronicler_store::codec::{CodecError, PayloadCodec, encode_event};
use chronicler_store::{NewEvent, panic_text};

use super::command::SagaCommand;
use super::fault::Fault;
use super::refusal::SagaRefusal;
use crate::definition::saga::Saga;
use crate::instance::action::Action;
use crate::instance::entry::Entry;
use crate::instance::state::InstanceState;
use crate::instance::status::Ending;

/// What one step adds to the stream, and to the state along the way.
pub(crate) struct Step<'a, S: Saga> {
    pub(super) saga: &'a S,
    pub(super) state: &'a mut InstanceState<S::State>,
    pub(super) now: Timestamp,
    pub(super) events: Vec<NewEvent>,
    pub(super) due: Vec<Action>,
    /// Effects from this index on are decided in this step.
    pub(super) decided_before: u32,
    /// What it is given came before what begins it.
    pub(super) came_early: bool,
    /// The route of what it is given says that it begins it.
    pub(super) is_to_begin: bool,
    /// Why the saga is not to decide on the input, but to be quarantined at it.
    pub(super) not_written: Option<String>,
    /// When each timer was due before this, of those that it armed, moved or disarmed.
    moved: BTreeMap<String, Option<Timestamp>>,
    /// Timers that were armed for a date, not for a while.
    pub(super) dated: BTreeSet<String>,
    /// Effects of other keys than those that are known may have been decided: for whoever begins in the middle of a life.
    pub(crate) knows_all_keys: bool,
    /// How many causes lie before the input, if those are too many.
    pub(crate) too_deep: Option<u16>,
    /// Why nothing of the step counts.
    pub(super) refused: Option<SagaRefusal>,
    /// What could not be encoded; the step then fails as a whole.
    error: Option<CodecError>,
}

/// Why an instance is quarantined at an input that so many causes lie before.
pub(crate) fn cycle_of(depth: u16) -> String {
    format!(
        "{depth} causes lie before this input: a cycle is assumed and cut; released, it goes on"
    )
}

/// What a step came to.
pub(crate) struct StepResult {
    /// The events of the commit, encoded, in order.
    pub(crate) events: Vec<NewEvent>,
    /// Effects (and undos) that became due.
    pub(crate) due: Vec<Action>,
    /// When each timer was due before, of those that were armed, moved or disarmed.
    pub(crate) moved: BTreeMap<String, Option<Timestamp>>,
    /// Timers that were armed for a date, not for a while.
    pub(crate) dated: BTreeSet<String>,
}

impl<'a, S: Saga> Step<'a, S> {
    pub(crate) fn new(saga: &'a S, state: &'a mut InstanceState<S::State>, now: Timestamp) -> Self {
        let decided_before = state.effects.decided();
        Self {
            saga,
            state,
            now,
            events: Vec::new(),
            due: Vec::new(),
            decided_before,
            came_early: false,
            is_to_begin: false,
            not_written: None,
            moved: BTreeMap::new(),
            dated: BTreeSet::new(),
            knows_all_keys: false,
            too_deep: None,
            refused: None,
            error: None,
        }
    }

    /// Takes an input.
    ///
    /// # Errors
    /// Why nothing of it counts; whether the state was changed on the way, the refusal says.
    pub(crate) fn take(mut self, command: SagaCommand) -> Result<StepResult, Refusal<SagaRefusal>> {
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
            (None, None) => Ok(StepResult {
                events,
                due,
                moved,
                dated,
            }),
        }
    }

    pub(super) fn carry_out(&mut self, command: SagaCommand) -> Result<(), SagaRefusal> {
        match command {
            SagaCommand::Deliver {
                position,
                parts,
                is_late,
            } => self.deliver(position, parts, is_late),
            SagaCommand::Answer { action, answer } => self.answer(action, answer),
            SagaCommand::Several(outcomes) => return self.several(outcomes),
            SagaCommand::Failed {
                action,
                attempt,
                next,
                reason,
                decided_at,
            } => {
                self.state.know_decided_at(action.effect, decided_at);
                self.failed(action, attempt, next, reason);
            }
            SagaCommand::NotTaken {
                outcome,
                action,
                counted,
                unsent,
            } => return self.not_taken(*outcome, action, counted, unsent),
            SagaCommand::GiveUp { action, reason } => self.give_up(action, reason),
            SagaCommand::Fire { key, due } => self.fire(key, due),
            SagaCommand::Operate(order) => self.operate(order)?,
            SagaCommand::Fork(fork, order) => self.fork(*fork, &order)?,
            SagaCommand::Begin {
                parent,
                start,
                occupies,
            } => self.begin(parent, start, occupies)?,
            SagaCommand::ChildEnded { effect, ending } => self.child_ended(effect, &ending),
            SagaCommand::EndChild {
                parent,
                reason,
                is_spared,
            } => self.end_child(parent, reason, is_spared)?,
            SagaCommand::ForgoChild { effect } => self.forgo_child(effect),
            SagaCommand::AwaitRoom {
                effect,
                attempt,
                next,
                reason,
                decided_at,
            } => {
                self.wanted(Action::of(effect), attempt, next, true)?;
                self.state.know_decided_at(effect, decided_at);
                self.await_room(effect, reason);
                return Ok(());
            }
            SagaCommand::Begun {
                effect,
                was_to_end,
                decided_at,
            } => {
                self.state.know_decided_at(effect, decided_at);
                self.begun(effect, was_to_end);
            }
            SagaCommand::Held {
                action,
                attempt,
                reason,
                decided_at,
            } => {
                self.state.know_decided_at(action.effect, decided_at);
                self.held(action, attempt, reason);
            }
            SagaCommand::Unstall { input, events } => self.unstall(&input, events),
            SagaCommand::QuarantineAt { input, reason } => {
                self.not_written = Some(reason);
                return self.carry_out(*input);
            }
            SagaCommand::Settle {
                key,
                answer,
                by,
                reason,
            } => self.settle(&key, answer, by, reason)?,
            SagaCommand::Attempt {
                action,
                attempt,
                next,
                begins_child,
            } => return self.begin_attempt(action, attempt, next, begins_child),
            // A child whose end was told while nobody listened says so again.
            SagaCommand::Resume => self.ask_children(),
        }
        self.move_on();
        Ok(())
    }

    /// An attempt that had to wait begins, if it is still wanted: it is the one that waits, and the instance does not stand.
    fn begin_attempt(
        &mut self,
        action: Action,
        attempt: u32,
        next: Timestamp,
        begins_child: bool,
    ) -> Result<(), SagaRefusal> {
        self.wanted(action, attempt, next, begins_child)?;
        if self.state.paused.is_some() {
            return Err(SagaRefusal::Paused);
        }
        if self.state.quarantined.is_some() {
            return Err(SagaRefusal::Quarantined);
        }
        // From here on it is under way, and waits for no date: a compensation waits for it again, whatever becomes of the
        // clock.
        self.enter(Entry::Retrying {
            action,
            attempt,
            next: Timestamp::EPOCH,
            reason: "the next attempt begins".to_owned(),
        });
        Ok(())
    }

    /// Whether an attempt that waits is still the one that is wanted.
    ///
    /// # Errors
    /// Why it is not.
    fn wanted(
        &self,
        action: Action,
        attempt: u32,
        next: Timestamp,
        begins_child: bool,
    ) -> Result<(), SagaRefusal> {
        if self.state.pending(action) != Some((attempt, next)) {
            return Err(SagaRefusal::NotWanted);
        }
        if begins_child && self.state.is_compensating() {
            return Err(SagaRefusal::Compensating);
        }
        Ok(())
    }

    /// Takes several outcomes, each as if it had come alone.
    fn several(&mut self, outcomes: Vec<SagaCommand>) -> Result<(), SagaRefusal> {
        let (mut taken, mut answers) = (0, Vec::new());
        for outcome in outcomes {
            let answered = match &outcome {
                SagaCommand::Answer { action, .. } => Some(*action),
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
            self.enter_at(0, &Entry::Outcomes { answers });
        }
        Ok(())
    }

    /// Enters what is said of entries before them. Such an entry changes nothing in the state.
    pub(super) fn enter_at(&mut self, place: usize, entry: &Entry) {
        match encode_event(PayloadCodec::default(), entry) {
            Ok(event) => self.events.insert(place, event),
            Err(error) => self.error = Some(error),
        }
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
    pub(super) fn record(&mut self, event: &S::Event) -> Result<(), Fault> {
        let encoded = encode_event(PayloadCodec::default(), event)?;
        self.events.push(encoded);
        let user = &mut self.state.user;
        let evolved = catch_unwind(AssertUnwindSafe(|| S::evolve(user, event)));
        evolved.map_err(|panic| Fault::FoldPanicked {
            panic: panic_text(panic.as_ref()).to_owned(),
        })
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
