//! One attempt at one effect: when its time has come, its turn, and there is room.

use std::pin::pin;
use std::slice;
use std::sync::Arc;
use std::time::Duration;

use chronicler_domain::{LogSequence, StreamId, Timestamp};
use chronicler_runtime::{Entity, SendOptions};
use chronicler_store::test_points::{CrashPlace, reached};
use futures::future::{Either, select};
use uuid::Uuid;

use crate::definition::answer::Answer;
use crate::definition::effect::{Request, effect_id};
use crate::definition::saga::Saga;
use crate::definition::terms::Tries;
use crate::execution::asking::AskError;
use crate::execution::circuit::Circuit;
use crate::execution::executor::Executor;
use crate::execution::outcomes::{AttemptOutcome, LONG};
use crate::execution::passage::Passage;
use crate::execution::places::AtWork;
use crate::execution::targets::AttemptResult;
use crate::execution::turns::Turn;
use crate::instance::entry::Parent;
use crate::instance::id::InstanceId;
use crate::instance::transition::command::SagaCommand;
use crate::instance::transition::refusal::SagaRefusal;
use crate::instance::work::{ChildTask, Task};

/// The latest time for which an attempt is put off: whoever is put off for ever waits for a service.
const LATEST: Timestamp = Timestamp::from_micros(u64::MAX - 1);

/// One attempt, before it goes.
pub(super) struct Attempt<'a> {
    pub(super) instance: &'a InstanceId,
    /// The stream of the instance.
    stream: StreamId,
    /// The id of the effect, or of its undo.
    id: Uuid,
    /// What the answer is given with.
    options: SendOptions,
    pub(super) decided_at: LogSequence,
    /// Of the service that it calls.
    pub(super) circuit: Option<Arc<Circuit>>,
    pub(super) task: Task,
}

impl Attempt<'_> {
    /// Which attempt it is, counted from 1.
    fn number(&self) -> u32 {
        self.task.attempt + 1
    }

    /// Whether its instance knows that it waits for its service, or for the release of its target.
    pub(super) fn is_held(&self) -> bool {
        self.task.not_before == Timestamp::MAX
    }

    /// The same of an attempt that its service did not take.
    fn not_taken(&self, outcome: SagaCommand, counted: bool) -> SagaCommand {
        SagaCommand::NotTaken {
            outcome: Box::new(outcome),
            action: self.task.action,
            counted,
            unsent: self.task.is_unsent,
        }
    }

    /// What its instance is told when it waits for its service, and was not sent.
    fn held_back(&self, reason: String) -> SagaCommand {
        let held = self.held(reason);
        match self.task.is_unsent && self.task.request.is_call() {
            true => self.not_taken(held, false),
            false => held,
        }
    }

    /// What its instance is told when it waits for that.
    fn held(&self, reason: String) -> SagaCommand {
        SagaCommand::Held {
            action: self.task.action,
            attempt: self.number(),
            reason,
            decided_at: self.decided_at,
        }
    }
}

impl<S: Saga> Executor<S> {
    /// One attempt at one effect; `None` if it is not wanted any more when its time has come. Whatever it only waits for, it
    /// waits for without its place.
    pub(super) async fn carry_out<'p>(
        &self,
        instance: &InstanceId,
        task: Task,
        sequence: LogSequence,
        had_to_wait: bool,
        holds: u64,
        mut place: AtWork<'p>,
    ) -> Option<AttemptOutcome<'p>> {
        let mut attempt = self.attempt(instance, task, sequence);
        // What began at once is wanted: it was decided just then. Anything may have happened during a wait.
        let mut is_fresh = attempt.task.attempt == 0 && !attempt.is_held() && !had_to_wait;
        if !attempt.is_held() {
            let left = self.left_before(&attempt.task);
            if !left.is_zero() {
                is_fresh = false;
                place.aside(self.runtime.clock().sleep(left)).await;
            }
        }
        let mut turn = None;
        let passage = loop {
            // First room for a child, then its turn: what ends it must not wait for room.
            let child = match self.child_place(&mut attempt, &mut place).await {
                Ok((child, had_to_wait)) => {
                    is_fresh &= !had_to_wait;
                    child
                }
                Err(refusal) => return self.refused(attempt, &refusal, turn, place),
            };
            if turn.is_none() {
                let taking = self.turns.take(instance, attempt.task.action);
                let (taken, had_to_queue) = place.aside(taking).await;
                is_fresh &= !had_to_queue && self.turns.holds() == holds;
                turn = Some(taken);
            }
            let mut passage = match self.passage(&attempt, &mut place).await {
                Ok(passage) => passage,
                Err(reason) => {
                    return Some(AttemptOutcome {
                        command: attempt.held_back(reason),
                        options: attempt.options,
                        turn,
                        place,
                    });
                }
            };
            passage.child = child;
            if is_fresh && !passage.had_to_wait {
                break passage;
            }
            match self.ask_first(&attempt, passage, &mut place).await {
                (Ok(()), Some(passage)) => break passage,
                (Ok(()), None) => {
                    // Its instance has it begun. If it has to wait again, that is asked again.
                    attempt.begins();
                    is_fresh = !place.come_back().await;
                    if attempt.begins_child() {
                        (is_fresh, turn) = (false, None);
                    }
                }
                (Err(refusal), _) => return self.refused(attempt, &refusal, turn, place),
            }
        };
        reached(CrashPlace::Dispatch);
        let result = self.go(&attempt, &mut place).await;
        reached(CrashPlace::Dispatched);
        let now_all_wait = self.tell_circuit(&attempt, &result);
        let goes_for_all = passage.is_trial() || now_all_wait;
        let command = self.command_of(&attempt, result, goes_for_all);
        Some(AttemptOutcome {
            command,
            options: attempt.options,
            turn,
            place,
        })
    }

    /// What its instance is told of an attempt that it refused; nothing if it is just not wanted any more.
    fn refused<'p>(
        &self,
        attempt: Attempt<'_>,
        refusal: &SagaRefusal,
        turn: Option<Turn>,
        place: AtWork<'p>,
    ) -> Option<AttemptOutcome<'p>> {
        let command = match refusal {
            // Known to wait for the end of the pause or the release, it can be skipped and settled until then.
            SagaRefusal::Paused | SagaRefusal::Quarantined => {
                attempt.held_back(refusal.to_string())
            }
            SagaRefusal::Compensating if attempt.begins_child() => SagaCommand::ForgoChild {
                effect: attempt.task.action.effect,
            },
            _ => return None,
        };
        Some(AttemptOutcome {
            command,
            options: attempt.options,
            turn,
            place,
        })
    }

    fn attempt<'a>(
        &self,
        instance: &'a InstanceId,
        task: Task,
        sequence: LogSequence,
    ) -> Attempt<'a> {
        let category = self.handle.entity().category();
        let stream = StreamId::new(&instance.tenant, category, &instance.id);
        let round = task.action.is_undo().then_some(task.undo_round);
        let id = effect_id(&stream, task.action.effect, round);
        let options = SendOptions {
            correlation_id: Some(task.metadata.correlation_id),
            // The answer belongs to the decision it is an answer to: it lies no deeper, however many steps follow
            // one another. What goes round through events of aggregates does get deeper.
            causation: Some((id, task.metadata.causation_depth.saturating_sub(2))),
            principal: task.metadata.principal.clone(),
            ..SendOptions::default()
        };
        let circuit = match &task.request {
            Request::Call { service, .. } => Some(self.shared.circuits.of(service)),
            _ => None,
        };
        Attempt {
            instance,
            stream,
            id,
            options,
            decided_at: task.decided_at.unwrap_or(sequence),
            circuit,
            task,
        }
    }

    /// Asks the instance of an attempt that may go whether it is still to be made. If that takes long, the passage and the place
    /// are others' until then.
    async fn ask_first(
        &self,
        attempt: &Attempt<'_>,
        passage: Passage,
        place: &mut AtWork<'_>,
    ) -> (Result<(), SagaRefusal>, Option<Passage>) {
        let asking = pin!(self.still_wants(attempt));
        match select(asking, self.runtime.clock().sleep(LONG)).await {
            Either::Left((wanted, _)) => (wanted, Some(passage)),
            Either::Right(((), asking)) => {
                drop(passage);
                place.leave();
                (asking.await, None)
            }
        }
    }

    /// Asks the instance of an effect that had to wait whether it is still to be done; it then notes that the attempt begins.
    ///
    /// # Errors
    /// Why it is not.
    async fn still_wants(&self, attempt: &Attempt<'_>) -> Result<(), SagaRefusal> {
        self.ask_of(
            attempt,
            SagaCommand::Attempt {
                action: attempt.task.action,
                attempt: attempt.task.attempt,
                next: attempt.task.not_before,
                begins_child: attempt.begins_child(),
            },
        )
        .await
    }

    /// Asks the instance of an attempt that waits something.
    ///
    /// # Errors
    /// Why the attempt is not to be made.
    pub(super) async fn ask_of(
        &self,
        attempt: &Attempt<'_>,
        asked: SagaCommand,
    ) -> Result<(), SagaRefusal> {
        let instance = attempt.instance;
        let asked = self.ask(instance, asked, SendOptions::default()).await;
        asked.map_err(|error| {
            tracing::debug!(saga = S::NAME, id = %instance.id, ?error, "no further attempt");
            match error {
                AskError::Refused(refusal) => refusal,
                AskError::Failed(_) => SagaRefusal::NotWanted,
            }
        })
    }

    /// Sends it where it goes.
    async fn go(&self, attempt: &Attempt<'_>, place: &mut AtWork<'_>) -> AttemptResult {
        let Attempt {
            instance,
            task,
            id,
            options,
            decided_at,
            ..
        } = attempt;
        match &task.request {
            Request::Command { .. } => {
                let sending = self.command(instance, task, *id, *decided_at);
                self.leaving(slice::from_mut(place), sending).await
            }
            Request::Call { service, request } => {
                let patience = task.terms.patience.unwrap_or(self.options.call_timeout);
                self.call(service, request, *id, patience).await
            }
            Request::Nothing => AttemptResult::Answered(Answer::nothing()),
            Request::Start { .. } => {
                let parent = Parent {
                    stream: attempt.stream.key().to_owned(),
                    effect: task.action.effect,
                    depth: task.metadata.causation_depth.saturating_sub(2),
                };
                let asking = self.child(instance, task, parent, attempt.occupies(), options);
                self.leaving(slice::from_mut(place), asking).await
            }
        }
    }

    /// Tells the circuit of its service how it went, and says whether others wait now.
    fn tell_circuit(&self, attempt: &Attempt<'_>, result: &AttemptResult) -> bool {
        let Some(circuit) = &attempt.circuit else {
            return false;
        };
        let now = self.runtime.clock().monotonic();
        match result {
            AttemptResult::Answered(_) => circuit.ended(true, now),
            AttemptResult::Unavailable(_) => {
                // A service that is away is no reason to give up.
                let tries = self.tries_of(&attempt.task, false);
                if tries.wait_after(attempt.number()).is_none() {
                    circuit.trip(now);
                }
                circuit.ended(false, now)
            }
            _ => false,
        }
    }

    /// What its instance is told. An attempt that a service did not take, and that went for all that wait for the service,
    /// costs none of its own tries.
    fn command_of(
        &self,
        attempt: &Attempt<'_>,
        result: AttemptResult,
        goes_for_all: bool,
    ) -> SagaCommand {
        let (task, number) = (&attempt.task, attempt.number());
        let (action, decided_at) = (task.action, attempt.decided_at);
        // One that its service did not take says nothing of whether it was done.
        let wait_after = |is_unknown| {
            let number = match is_unknown {
                true => number.saturating_sub(task.untaken).max(1),
                false => number,
            };
            self.tries_of(task, is_unknown).wait_after(number)
        };
        match result {
            AttemptResult::Begun => SagaCommand::Begun {
                effect: action.effect,
                was_to_end: task.child == ChildTask::Cancel,
                decided_at,
            },
            AttemptResult::Ended(ending) => SagaCommand::ChildEnded {
                effect: action.effect,
                ending,
            },
            AttemptResult::Unavailable(reason) if goes_for_all => {
                attempt.not_taken(attempt.held(reason), false)
            }
            AttemptResult::Answered(Answer::Unknown(reason))
                if action.is_undo() || wait_after(true).is_some() =>
            {
                self.failed(attempt, reason, wait_after(true))
            }
            AttemptResult::Answered(answer) => SagaCommand::Answer { action, answer },
            // Nothing is journaled again until its release.
            AttemptResult::SetAside(reason) if self.waits_for_a_release(attempt) => {
                attempt.held(reason)
            }
            AttemptResult::Delayed(reason) | AttemptResult::SetAside(reason) => {
                let longest = self.tries_of(task, false).longest;
                let wait = wait_after(false).unwrap_or(longest);
                self.failed(attempt, reason, Some(wait))
            }
            AttemptResult::Unavailable(reason) => {
                attempt.not_taken(self.failed(attempt, reason, wait_after(false)), true)
            }
            AttemptResult::Failed(reason) => self.failed(attempt, reason, wait_after(false)),
        }
    }

    fn failed(&self, attempt: &Attempt<'_>, reason: String, wait: Option<Duration>) -> SagaCommand {
        let (clock, jitter) = (self.runtime.clock(), self.runtime.jitter());
        SagaCommand::Failed {
            action: attempt.task.action,
            attempt: attempt.number(),
            next: wait.map(|wait| clock.now().plus(jitter.shorten(wait)).min(LATEST)),
            reason,
            decided_at: attempt.decided_at,
        }
    }

    /// How long a retry still has to wait. Its date is in the stream; the wait is no longer than its terms ever ask for,
    /// whatever became of the wall clock since.
    fn left_before(&self, task: &Task) -> Duration {
        let longest = |is_unknown| self.tries_of(task, is_unknown).longest;
        let left = task.not_before.since(self.runtime.clock().now());
        left.min(longest(false).max(longest(true)))
    }

    /// How often it is tried: as its own terms say, else as the options do.
    fn tries_of(&self, task: &Task, is_unknown: bool) -> Tries {
        let (own, policy) = match (task.action.is_undo(), is_unknown) {
            (true, _) => (task.terms.undo_tries, self.options.undos),
            (false, true) => (task.terms.tries, self.options.unknown_calls),
            (false, false) => (task.terms.tries, self.options.effects),
        };
        own.unwrap_or(Tries {
            budget: policy.budget,
            first: policy.backoff_min,
            longest: policy.backoff_max,
        })
    }
}
