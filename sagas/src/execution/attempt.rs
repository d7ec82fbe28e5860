//! One attempt at one effect: when its time has come, its turn, and there is room.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use chronicler_domain::{AggregateId, LogSequence, StreamId, Timestamp};
use chronicler_runtime::{EffectCommand, Entity, SendOptions};
use chronicler_store::codec::CodecId;
use chronicler_store::test_points::{CrashPlace, reached};
use chronicler_store::{OutcomeResult, panic_text};
use futures::FutureExt;
use tokio::sync::watch;
use uuid::Uuid;

use crate::definition::answer::Answer;
use crate::definition::effect::{Request, effect_id};
use crate::definition::external::CallResult;
use crate::definition::payload::Payload;
use crate::definition::saga::Saga;
use crate::definition::terms::Tries;
use crate::execution::child::ChildAnswer;
use crate::execution::circuit::{Circuit, Pass, Probing};
use crate::execution::executor::{Executor, QUICK_ATTEMPTS};
use crate::execution::resources::Place;
use crate::execution::turns::Turn;
use crate::instance::id::InstanceId;
use crate::instance::journal::Parent;
use crate::instance::status::Ending;
use crate::instance::transition::command::SagaCommand;
use crate::instance::work::Task;

/// The latest time for which an attempt is put off: whoever is put off for ever waits for a service.
const LATEST: Timestamp = Timestamp::from_micros(u64::MAX - 1);

/// What an attempt led to.
enum Attempted {
    Answered(Answer),
    /// The child goes its way.
    Begun,
    /// The child had ended before.
    Ended(Ending),
    /// Its service takes no requests.
    Unavailable(String),
    /// Its target cannot take it at present: a trouble of the machinery that may pass, and is no reason to give up.
    Delayed(String),
    /// It was not done, or nobody can say whether; the machinery's reasons.
    Failed(String),
}

/// An attempt that may go. What it holds it gives back when it has ended.
struct Passage {
    _room: Option<Place>,
    probing: Option<Probing>,
    had_to_wait: bool,
}

impl Passage {
    /// Whether it goes for all that wait for the service.
    fn is_probe(&self) -> bool {
        self.probing.is_some()
    }
}

impl<S: Saga> Executor<S> {
    /// One attempt at one effect; `None` if it is not wanted any more when its time has come.
    pub(crate) async fn carry_out(
        &self,
        instance: &InstanceId,
        task: Task,
        sequence: LogSequence,
    ) -> Option<(SagaCommand, SendOptions, Turn)> {
        let clock = self.runtime.clock();
        let is_held = task.not_before == Timestamp::MAX;
        if !is_held {
            clock.sleep(self.left_before(&task)).await;
        }
        let (turn, has_waited) = self.turns.take(instance, &task).await;
        let category = self.handle.entity().category();
        let stream = StreamId::new(&instance.tenant, category, &instance.id);
        let id = effect_id(
            &stream,
            task.action.effect,
            task.action.is_undo().then_some(task.undo_round),
        );
        let options = SendOptions {
            correlation_id: Some(task.metadata.correlation_id),
            // The answer belongs to the decision it is an answer to: it lies no deeper, however many steps follow
            // one another. What goes round through events of aggregates does get deeper.
            causation: Some((id, task.metadata.causation_depth.saturating_sub(2))),
            principal: task.metadata.principal.clone(),
            ..SendOptions::default()
        };
        let decided_at = task.decided_at.unwrap_or(sequence);
        let (action, attempt) = (task.action, task.attempt + 1);
        let circuit = match &task.request {
            Request::Call { service, .. } => Some(self.shared.circuits.of(service)),
            _ => None,
        };
        let passage = self.passage(&task, decided_at, circuit.as_ref(), is_held);
        let passage = match passage.await {
            Ok(passage) => passage,
            Err(reason) => {
                let held = SagaCommand::Held {
                    action,
                    attempt,
                    reason,
                    decided_at,
                };
                return Some((held, options, turn));
            }
        };
        if task.attempt > 0 || has_waited || passage.had_to_wait || is_held {
            let asked = SagaCommand::Attempt {
                action,
                attempt: task.attempt,
                next: task.not_before,
            };
            if let Err(error) = self.ask(instance, asked, SendOptions::default()).await {
                tracing::debug!(saga = S::NAME, id = %instance.id, ?error, "no further attempt");
                return None;
            }
        }
        reached(CrashPlace::Dispatch);
        let attempted = match &task.request {
            Request::Command { .. } => self.command(instance, &task, id, decided_at).await,
            Request::Call { service, request } => {
                let patience = task.terms.patience.unwrap_or(self.options.call_timeout);
                self.call(service, request, id, patience).await
            }
            Request::Nothing => Attempted::Answered(Answer::nothing()),
            Request::Start { .. } => {
                let parent = Parent {
                    stream: stream.key().to_owned(),
                    effect: action.effect,
                    depth: task.metadata.causation_depth.saturating_sub(2),
                };
                self.child(instance, &task, parent, &options).await
            }
        };
        reached(CrashPlace::Dispatched);
        let now_all_wait = match (&circuit, &attempted) {
            (Some(circuit), Attempted::Answered(_)) => circuit.ended(true, clock.monotonic()),
            (Some(circuit), Attempted::Unavailable(_)) => {
                // A service that is away is no reason to give up.
                if self.tries_of(&task, false).wait_after(attempt).is_none() {
                    circuit.trip(clock.monotonic());
                }
                circuit.ended(false, clock.monotonic())
            }
            _ => false,
        };
        let jitter = self.runtime.jitter();
        let failed = |reason: String, wait: Option<Duration>| SagaCommand::Failed {
            action,
            attempt,
            next: wait.map(|wait| clock.now().plus(jitter.shorten(wait)).min(LATEST)),
            reason,
            decided_at,
        };
        let command = match attempted {
            Attempted::Begun => SagaCommand::Begun {
                effect: action.effect,
                was_to_end: task.is_to_end,
                decided_at,
            },
            Attempted::Ended(ending) => SagaCommand::ChildEnded {
                effect: action.effect,
                ending,
            },
            // It was asked for all that wait: that costs none of its own attempts.
            Attempted::Unavailable(reason) if passage.is_probe() || now_all_wait => {
                SagaCommand::Held {
                    action,
                    attempt,
                    reason,
                    decided_at,
                }
            }
            Attempted::Answered(Answer::Unknown(reason))
                if action.is_undo() || self.tries_of(&task, true).wait_after(attempt).is_some() =>
            {
                failed(reason, self.tries_of(&task, true).wait_after(attempt))
            }
            Attempted::Answered(answer) => SagaCommand::Answer { action, answer },
            Attempted::Delayed(reason) => {
                let tries = self.tries_of(&task, false);
                let wait = tries.wait_after(attempt).unwrap_or(tries.longest);
                failed(reason, Some(wait))
            }
            Attempted::Failed(reason) | Attempted::Unavailable(reason) => {
                failed(reason, self.tries_of(&task, false).wait_after(attempt))
            }
        };
        Some((command, options, turn))
    }

    /// How long a retry still has to wait. Its date is in the journal; the wait is no longer than its terms ever ask for,
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

    /// Waits until there is room for an attempt and its circuit lets it through. First room, then the circuit: what waits
    /// for room must not be what all others wait for.
    ///
    /// # Errors
    /// Why the circuit does not, for an attempt of which that is not journaled yet.
    async fn passage(
        &self,
        task: &Task,
        decided_at: LogSequence,
        circuit: Option<&Arc<Circuit>>,
        is_held: bool,
    ) -> Result<Passage, String> {
        let mut had_to_wait = false;
        loop {
            let room = match &task.terms.resource {
                Some((name, count)) => {
                    let resources = &self.shared.resources;
                    let (room, waited) = resources.take(name, *count, decided_at).await;
                    had_to_wait |= waited;
                    Some(room)
                }
                None => None,
            };
            let passage = |probing| Passage {
                _room: room,
                probing,
                had_to_wait,
            };
            let Some(circuit) = circuit else {
                return Ok(passage(None));
            };
            let mut changes = circuit.changes();
            changes.mark_unchanged();
            let until = match circuit.pass(self.runtime.clock().monotonic()) {
                Pass::Go => return Ok(passage(None)),
                Pass::Probe => return Ok(passage(Some(circuit.probing()))),
                Pass::Wait(until) => until,
            };
            if !is_held {
                return Err("its service takes no requests: it waits until it does".to_owned());
            }
            // Others may have the room meanwhile.
            drop(passage);
            let _holding = self.held.hold();
            self.until_it_may_pass(changes, until).await;
        }
    }

    /// Waits until a circuit changes, or until its next probe may go.
    async fn until_it_may_pass<T>(&self, mut changes: watch::Receiver<T>, until: Option<Instant>) {
        let clock = self.runtime.clock();
        let probe_at = async {
            match until {
                None => std::future::pending().await,
                Some(until) => {
                    let left = until.saturating_duration_since(clock.monotonic());
                    clock.sleep(left).await;
                }
            }
        };
        tokio::select! {
            biased;
            // It lives as long as the circuit does.
            _ = changes.changed() => {}
            () = probe_at => {}
        }
    }

    async fn command(
        &self,
        instance: &InstanceId,
        task: &Task,
        effect_id: Uuid,
        decided_at: LogSequence,
    ) -> Attempted {
        let Request::Command { codec, command, .. } = &task.request else {
            return Attempted::Failed("it is not a command".to_owned());
        };
        let Some(target) = task.request.target(&instance.tenant) else {
            return Attempted::Failed(format!("{} is no target", task.request.describe()));
        };
        let effect = EffectCommand {
            target,
            codec: CodecId::new(*codec),
            command: Bytes::copy_from_slice(command),
            effect_id,
            decided_at,
            metadata: task.metadata.clone(),
            deadline: None,
        };
        let mut quick = 0;
        loop {
            match self.runtime.effects().dispatch(effect.clone()).await {
                Ok(outcome) => {
                    let payload = Payload::new(outcome.codec, outcome.payload.to_vec());
                    return Attempted::Answered(match outcome.result {
                        OutcomeResult::Reply => Answer::Done(payload),
                        OutcomeResult::Rejection => Answer::Rejected(payload),
                    });
                }
                Err(error) if error.is_retryable() && quick < QUICK_ATTEMPTS => {
                    quick += 1;
                    self.pause(quick).await;
                }
                Err(error) if error.is_retryable() => {
                    return Attempted::Delayed(error.to_string());
                }
                Err(error) => return Attempted::Failed(error.to_string()),
            }
        }
    }

    async fn call(
        &self,
        service: &str,
        request: &[u8],
        key: Uuid,
        patience: Duration,
    ) -> Attempted {
        let Some(found) = self.shared.services.get(service) else {
            return Attempted::Failed(format!("no service {service:?} is registered"));
        };
        let clock = self.runtime.clock();
        let (called, request) = (Arc::clone(found), request.to_vec());
        let call = AssertUnwindSafe(async move { called.call(key, request).await }).catch_unwind();
        let result = tokio::select! {
            biased;
            result = call => result.unwrap_or_else(|panic| {
                CallResult::Unknown(format!("the call panicked: {}", panic_text(panic.as_ref())))
            }),
            () = clock.sleep(patience) => {
                CallResult::Unknown(format!("no answer in {} s", patience.as_secs_f64()))
            }
        };
        let encoded = |bytes| Payload::new(CodecId::BINCODE, bytes);
        Attempted::Answered(match result {
            CallResult::Done(reply) => Answer::Done(encoded(reply)),
            CallResult::Rejected(reason) => Answer::Rejected(encoded(reason)),
            CallResult::Unknown(reason) => Answer::Unknown(reason),
            CallResult::Unavailable(reason) => return Attempted::Unavailable(reason),
        })
    }

    /// Begins a child, or has it end.
    async fn child(
        &self,
        instance: &InstanceId,
        task: &Task,
        parent: Parent,
        options: &SendOptions,
    ) -> Attempted {
        let Request::Start {
            saga,
            id,
            codec,
            start,
        } = &task.request
        else {
            return Attempted::Failed("it is no child".to_owned());
        };
        if !self.children.contains(saga) {
            return Attempted::Failed(format!(
                "saga {} does not say in its routes that {saga} can be its child",
                S::NAME
            ));
        }
        let found = self
            .shared
            .hosts
            .read()
            .get(saga)
            .and_then(|host| host.upgrade());
        let Some(host) = found else {
            return Attempted::Failed(format!("no saga {saga:?} is registered"));
        };
        let id = match AggregateId::new(id) {
            Ok(id) => id,
            Err(error) => return Attempted::Failed(error.to_string()),
        };
        let child = InstanceId {
            tenant: instance.tenant.clone(),
            id,
        };
        let began = match task.is_to_end {
            true => host.end_child(child, parent).await,
            false => {
                let beginning = Payload::new(CodecId::new(*codec), start.clone());
                // It lies deeper than who begins it: children that begin children end somewhere.
                let depth = task.metadata.causation_depth.saturating_sub(1);
                let causation = options.causation.map(|(cause, _)| (cause, depth));
                let options = SendOptions {
                    causation,
                    ..options.clone()
                };
                host.begin_child(child, parent, beginning, options).await
            }
        };
        match began {
            Ok(ChildAnswer::GoesOn) => Attempted::Begun,
            Ok(ChildAnswer::Ended(ending)) => Attempted::Ended(ending),
            Ok(ChildAnswer::Refused(reason)) => Attempted::Answered(Answer::rejected(&reason)),
            Err(reason) => Attempted::Failed(reason),
        }
    }
}
