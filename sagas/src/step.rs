//! One step of an instance: an input comes in, entries of the journal come out. Pure.

use std::panic::{AssertUnwindSafe, catch_unwind};

use chronicler_domain::{GlobalPosition, Timestamp};
use chronicler_store::NewEvent;
use chronicler_store::codec::{PayloadCodec, encode_event, read_back};

use crate::answer::{Answer, Outcome};
use crate::instance::{EffectState, InstanceState, Phase, UndoState};
use crate::journal::{Entry, OWN_PREFIX, StalledInput};
use crate::next::{Action, Next, When};
use crate::routes::Delivery;
use crate::saga::{Input, RoutedEvent, Saga, SagaContext};
use crate::status::Ending;

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
    },
    /// A timer came due.
    Fire { key: String, due: Timestamp },
    /// Somebody wants it undone.
    Cancel { reason: String, by: String },
    /// Somebody wants parked effects and stuck undos tried again.
    RetryNow { by: String },
    /// Somebody releases it from quarantine.
    Release { by: String },
    /// The first stalled input is taken up again, with its events if it is one of the log.
    Unstall { events: Vec<RoutedEvent> },
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
            } => {
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
            SagaCommand::Unstall { events } => self.unstall(events),
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

    fn deliver(&mut self, position: GlobalPosition, delivery: Delivery, events: Vec<RoutedEvent>) {
        let started = self.state.is_started();
        let passes = match delivery {
            Delivery::Start => !started,
            Delivery::Resume => started,
            Delivery::StartOrResume => true,
        };
        if position <= self.state.consumed || !passes || self.state.ended.is_some() {
            return;
        }
        if !started {
            self.enter(Entry::Started {
                saga_version: S::VERSION,
            });
        }
        self.enter(Entry::Consumed { position });
        if self.must_wait() {
            return self.enter(Entry::Stalled(StalledInput::Event(position)));
        }
        let failed = events
            .into_iter()
            .find_map(|event| self.decide(&Input::Event(event)).err());
        if let Some(reason) = failed {
            self.quarantine(reason, StalledInput::Event(position));
        }
    }

    fn answer(&mut self, index: u32, is_undo: bool, answer: Answer) {
        let Some(effect) = self.state.effect(index) else {
            return;
        };
        if is_undo {
            if !matches!(effect.undo, UndoState::Pending { .. }) {
                return;
            }
            return match answer {
                Answer::Done { .. } => self.enter(Entry::Undone { effect: index }),
                Answer::Rejected { .. } | Answer::Unknown { .. } => {
                    let reason = format!("the undo was answered {}", answer.word());
                    self.enter(Entry::UndoStuck {
                        effect: index,
                        reason,
                        rejected: true,
                    });
                }
            };
        }
        if !matches!(
            effect.state,
            EffectState::Pending { .. } | EffectState::Parked { .. }
        ) {
            return;
        }
        let key = effect.spec.key.clone();
        self.enter(Entry::Answered {
            effect: index,
            answer: answer.clone(),
        });
        if self.state.phase != Phase::Forward || self.state.ended.is_some() {
            return;
        }
        let stalled = StalledInput::Outcome {
            effect: index,
            answer: answer.clone(),
        };
        self.input(Input::Outcome(Outcome::new(key, answer)), stalled);
    }

    fn failed(
        &mut self,
        index: u32,
        is_undo: bool,
        attempt: u32,
        next: Option<Timestamp>,
        reason: String,
    ) {
        let Some(effect) = self.state.effect(index) else {
            return;
        };
        let pending = match (&effect.state, &effect.undo) {
            (EffectState::Pending { .. }, _) if !is_undo => true,
            (_, UndoState::Pending { .. }) if is_undo => true,
            _ => false,
        };
        if !pending {
            return;
        }
        let effect = index;
        self.enter(match next {
            Some(next) => Entry::Retrying {
                effect,
                is_undo,
                attempt,
                next,
                reason,
            },
            None if is_undo => Entry::UndoStuck {
                effect,
                reason,
                rejected: false,
            },
            None => Entry::Parked { effect, reason },
        });
        if next.is_some() {
            self.due.push((index, is_undo));
        }
    }

    fn fire(&mut self, key: String, due: Timestamp) {
        // Of another time than this: it was moved, disarmed or fired meanwhile.
        if self.state.timers.get(&key) != Some(&due) || self.state.ended.is_some() {
            return;
        }
        self.enter(Entry::Fired { key: key.clone() });
        if self.state.phase == Phase::Forward {
            self.input(Input::Timer(key.clone()), StalledInput::Timer(key));
        }
    }

    fn cancel(&mut self, reason: String, by: String) -> Result<(), SagaRefusal> {
        self.open()?;
        if self.state.pivoted {
            return Err(SagaRefusal::PastPivot);
        }
        if self.state.phase != Phase::Forward {
            return Err(SagaRefusal::Compensating);
        }
        self.compensate(reason, Some(by));
        Ok(())
    }

    fn retry_now(&mut self, by: &str) -> Result<(), SagaRefusal> {
        self.open()?;
        for index in 0..u32::try_from(self.state.effects.len()).unwrap_or(u32::MAX) {
            let Some(effect) = self.state.effect(index) else {
                break;
            };
            let is_undo = matches!(effect.undo, UndoState::Stuck { .. });
            if is_undo || matches!(effect.state, EffectState::Parked { .. }) {
                self.enter(Entry::Unparked {
                    effect: index,
                    is_undo,
                    by: by.to_owned(),
                });
                self.due.push((index, is_undo));
            }
        }
        Ok(())
    }

    fn unstall(&mut self, events: Vec<RoutedEvent>) {
        if self.state.quarantined.is_some() || self.state.ended.is_some() {
            return;
        }
        let Some(stalled) = self.state.stalled.front().cloned() else {
            return;
        };
        self.enter(Entry::Unstalled);
        let inputs = match &stalled {
            StalledInput::Event(_) => events.into_iter().map(Input::Event).collect(),
            StalledInput::Outcome { effect, answer } => {
                let key = self
                    .state
                    .effect(*effect)
                    .map(|effect| effect.spec.key.clone());
                vec![Input::Outcome(Outcome::new(
                    key.unwrap_or_default(),
                    answer.clone(),
                ))]
            }
            StalledInput::Timer(key) => vec![Input::Timer(key.clone())],
            StalledInput::Compensated { reason } => {
                vec![Input::Compensated {
                    reason: reason.clone(),
                }]
            }
        };
        let failed = inputs.iter().find_map(|input| self.decide(input).err());
        if let Some(reason) = failed {
            self.quarantine(reason, stalled);
        }
    }

    fn open(&self) -> Result<(), SagaRefusal> {
        match (self.state.is_started(), &self.state.ended) {
            (false, _) => Err(SagaRefusal::NotStarted),
            (_, Some(_)) => Err(SagaRefusal::Over),
            _ => Ok(()),
        }
    }

    /// Whether inputs wait: it is quarantined, or others wait before them.
    fn must_wait(&self) -> bool {
        self.state.quarantined.is_some() || !self.state.stalled.is_empty()
    }

    /// Gives an input to the saga, or lets it wait.
    fn input(&mut self, input: Input, stalled: StalledInput) {
        if self.must_wait() {
            return self.enter(Entry::Stalled(stalled));
        }
        if let Err(reason) = self.decide(&input) {
            self.quarantine(reason, stalled);
        }
    }

    fn quarantine(&mut self, reason: String, input: StalledInput) {
        tracing::error!(
            saga = S::NAME,
            id = self.state.id,
            reason,
            "saga instance quarantined"
        );
        self.enter(Entry::Quarantined { reason });
        self.enter(Entry::Stalled(input));
    }

    /// Lets the saga decide, and carries its decision into the journal.
    ///
    /// # Errors
    /// What its code did wrong. Nothing of the decision is then in the journal.
    fn decide(&mut self, input: &Input) -> Result<(), String> {
        if self.state.ended.is_some() {
            return Ok(());
        }
        let ctx = SagaContext {
            id: self.state.id.clone(),
            tenant: self.state.tenant.clone(),
            now: self.now,
        };
        let (saga, user) = (self.saga, &self.state.user);
        let decided = catch_unwind(AssertUnwindSafe(|| saga.on(user, input, &ctx)));
        let next = decided.map_err(|panic| {
            format!(
                "its code panicked on {}: {}",
                input.describe(),
                said(panic.as_ref())
            )
        })?;
        self.check(&next, input)?;
        for action in next.actions {
            self.act(action)?;
        }
        Ok(())
    }

    /// Finds everything that is wrong with a decision before any of it is journaled.
    fn check(&self, next: &Next<S>, input: &Input) -> Result<(), String> {
        if let Some(mistake) = &next.mistake {
            return Err(format!("on {}: {mistake}", input.describe()));
        }
        let mut pivoted = self.state.pivoted;
        for action in &next.actions {
            match action {
                Action::Pivot => pivoted = true,
                Action::Compensate { reason } if pivoted => {
                    return Err(format!(
                        "on {} it wants to compensate ({reason}), and has passed its pivot",
                        input.describe()
                    ));
                }
                Action::Record(event) => {
                    let encoded = encode_event(PayloadCodec::default(), event);
                    let encoded = encoded.map_err(|error| error.to_string())?;
                    read_back::<S::Event>(&encoded).map_err(|error| error.to_string())?;
                    if encoded.event_type.starts_with(OWN_PREFIX) {
                        let name = encoded.event_type;
                        return Err(format!("event type {name:?} begins with {OWN_PREFIX:?}"));
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn act(&mut self, action: Action<S::Event>) -> Result<(), String> {
        match action {
            Action::Record(event) => {
                let encoded = encode_event(PayloadCodec::default(), &event);
                self.events
                    .push(encoded.map_err(|error| error.to_string())?);
                let user = &mut self.state.user;
                let evolved = catch_unwind(AssertUnwindSafe(|| S::evolve(user, &event)));
                evolved.map_err(|panic| format!("evolve panicked: {}", said(panic.as_ref())))?;
            }
            Action::Effect(spec) => {
                let index = u32::try_from(self.state.effects.len()).unwrap_or(u32::MAX);
                self.enter(Entry::Decided(spec));
                self.due.push((index, false));
            }
            Action::Arm { key, when } => {
                let due = match when {
                    When::After(after) => self.now.plus(after),
                    When::At(at) => at,
                };
                self.enter(Entry::Armed { key, due });
            }
            Action::Disarm { key } => {
                if self.state.timers.contains_key(&key) {
                    self.enter(Entry::Disarmed { key });
                }
            }
            Action::Pivot => self.enter(Entry::Pivoted),
            Action::Compensate { reason } => self.compensate(reason, None),
            Action::Complete => self.end(Ending::Completed),
            Action::Fail { reason } => self.end(Ending::Failed { reason }),
        }
        Ok(())
    }

    fn compensate(&mut self, reason: String, by: Option<String>) {
        if self.state.phase != Phase::Forward {
            return;
        }
        self.enter(Entry::Compensating { reason, by });
        // A call that leaves the process may never be answered: from here on it may or may not have been done.
        // A command to an aggregate will be answered, and is waited for; a parked one is given up on.
        for index in 0..u32::try_from(self.state.effects.len()).unwrap_or(u32::MAX) {
            let Some(effect) = self.state.effect(index) else {
                break;
            };
            let open = matches!(
                effect.state,
                EffectState::Pending { .. } | EffectState::Parked { .. }
            );
            if open && effect.spec.request.is_call() {
                let reason = "compensation began before it was answered".to_owned();
                self.enter(Entry::Answered {
                    effect: index,
                    answer: Answer::Unknown { reason },
                });
            } else if matches!(effect.state, EffectState::Parked { .. }) {
                let by = "compensation".to_owned();
                self.enter(Entry::Unparked {
                    effect: index,
                    is_undo: false,
                    by,
                });
                self.due.push((index, false));
            }
        }
    }

    fn end(&mut self, ending: Ending) {
        let ending = match (&self.state.phase, ending) {
            // A saga that says it is done after it was undone has been undone.
            (Phase::Compensating { reason } | Phase::Closing { reason }, Ending::Completed) => {
                Ending::Compensated {
                    reason: reason.clone(),
                }
            }
            (_, ending) => ending,
        };
        if self.state.stuck().is_empty() {
            self.enter(Entry::Ended(ending));
        }
    }

    /// What follows by itself: the next undo, the end of compensation.
    fn move_on(&mut self) {
        if self.state.ended.is_some() || self.must_wait() {
            return;
        }
        if let Phase::Compensating { reason } = self.state.phase.clone() {
            if let Some(effect) = self.state.next_undo() {
                let (attempt, next) = (0, Timestamp::EPOCH);
                let reason = "undo begins".to_owned();
                self.enter(Entry::Retrying {
                    effect,
                    is_undo: true,
                    attempt,
                    next,
                    reason,
                });
                self.due.push((effect, true));
                return;
            }
            if self.state.has_work() {
                return;
            }
            self.enter(Entry::Closing);
            let input = Input::Compensated {
                reason: reason.clone(),
            };
            self.input(input, StalledInput::Compensated { reason });
        }
        if let Phase::Closing { reason } = self.state.phase.clone()
            && !self.must_wait()
            && !self.state.has_work()
            && self.state.ended.is_none()
        {
            self.end(Ending::Compensated { reason });
        }
    }

    fn enter(&mut self, entry: Entry) {
        match encode_event(PayloadCodec::default(), &entry) {
            Ok(event) => self.events.push(event),
            Err(error) => self.error = Some(error),
        }
        self.state.apply(&entry);
    }
}

/// What a panic said, as far as it said it in words.
pub(crate) fn said(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "it said nothing in words".to_owned())
}
