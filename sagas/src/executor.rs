//! Carries out what sagas decided, after it is durable, and tells them how it went.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chronicler_domain::{AggregateId, LogSequence, StreamId, Tenant};
use chronicler_runtime::{
    DispatchError, EffectCommand, EntityHandle, FiredTimer, Runtime, SendError, SendOptions,
    TimerHandler, WorkerContext, WorkerError,
};
use chronicler_store::codec::{CodecId, decode};
use chronicler_store::test_points::{CrashPlace, reached};
use chronicler_store::{FactKind, FactQuery, OutcomeResult};
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use futures::{FutureExt, stream};
use tokio::sync::{Mutex, mpsc};
use uuid::Uuid;

use crate::answer::Answer;
use crate::effect::{Request, effect_id};
use crate::entity::{OpenFact, SagaEntity, Task, Work};
use crate::external::{CallResult, ExternalService};
use crate::options::SagaOptions;
use crate::quiet::{Quiet, UnderWay};
use crate::saga::Saga;
use crate::step::{SagaCommand, SagaRefusal, said};
use crate::turns::{Turn, Turns};

/// Attempts that follow one another quickly and are not journaled: for a moment of overload.
const QUICK_ATTEMPTS: u32 = 5;
/// The wait before the first of them; it doubles.
const QUICK_WAIT: Duration = Duration::from_millis(5);
/// Open sagas that are woken at a time after a restart.
const RESUMED_AT_A_TIME: usize = 64;

/// The services that sagas call, by name.
pub(crate) type Services = Arc<HashMap<String, Arc<dyn ExternalService>>>;

/// Who an instance is.
#[derive(Clone, Debug)]
pub(crate) struct Instance {
    pub(crate) tenant: Tenant,
    pub(crate) id: AggregateId,
}

impl Instance {
    pub(crate) fn of(stream: &StreamId) -> Option<Self> {
        let tenant = Tenant::try_from(stream.tenant().to_owned()).ok()?;
        Some(Self {
            tenant,
            id: AggregateId::new(stream.id()).ok()?,
        })
    }
}

/// What was decided, durably, and is now to be carried out.
pub(crate) struct Decided {
    pub(crate) instance: Instance,
    pub(crate) work: Work,
    pub(crate) sequence: LogSequence,
    pub(crate) under_way: UnderWay,
}

/// Why an instance gave no answer.
#[derive(Clone, Debug)]
pub(crate) enum AskError {
    Refused(SagaRefusal),
    Failed(DispatchError),
}

/// The executor of one saga type.
pub(crate) struct Executor<S: Saga> {
    pub(crate) runtime: Runtime,
    pub(crate) handle: EntityHandle<SagaEntity<S>>,
    pub(crate) options: SagaOptions,
    pub(crate) quiet: Arc<Quiet>,
    services: Services,
    turns: Turns,
    queue: mpsc::Sender<Decided>,
    queued: Mutex<mpsc::Receiver<Decided>>,
    /// From the beginning until what was left open is under way.
    starting: Mutex<Option<UnderWay>>,
}

impl<S: Saga> Executor<S> {
    pub(crate) fn new(
        runtime: Runtime,
        handle: EntityHandle<SagaEntity<S>>,
        services: Services,
        options: SagaOptions,
    ) -> Self {
        let (queue, queued) = mpsc::channel(options.deliveries_max.max(1));
        let quiet = Quiet::new();
        Self {
            runtime,
            handle,
            options,
            services,
            turns: Turns::default(),
            queue,
            queued: Mutex::new(queued),
            starting: Mutex::new(Some(quiet.begin())),
            quiet,
        }
    }

    /// Gives an instance a command, again and again while the machinery is only busy, and hands on what is
    /// then to be carried out.
    pub(crate) async fn tell(
        &self,
        instance: &Instance,
        command: SagaCommand,
        options: SendOptions,
    ) -> Result<Work, AskError> {
        let (work, sequence) = self.ask(instance, command, options).await?;
        if !work.tasks.is_empty() {
            let decided = Decided {
                instance: instance.clone(),
                work: work.clone(),
                sequence,
                under_way: self.quiet.begin(),
            };
            // Without a receiver the executor has stopped; a restart finds the work in the journal.
            drop(self.queue.send(decided).await);
        }
        Ok(work)
    }

    async fn ask(
        &self,
        instance: &Instance,
        command: SagaCommand,
        options: SendOptions,
    ) -> Result<(Work, LogSequence), AskError> {
        let mut attempt = 0;
        loop {
            let sent = self.handle.send(
                &instance.tenant,
                &instance.id,
                command.clone(),
                options.clone(),
            );
            match sent.await {
                Ok(receipt) => {
                    reached(CrashPlace::SagaCommitted);
                    if let Some(due) = receipt.reply.armed {
                        self.runtime.timers().notice(due);
                    }
                    return Ok((receipt.reply, receipt.sequence));
                }
                Err(SendError::Rejected(refusal)) => return Err(AskError::Refused(refusal)),
                Err(SendError::Failed(error)) if error.is_retryable() => {
                    attempt = (attempt + 1).min(QUICK_ATTEMPTS);
                    self.pause(attempt).await;
                }
                Err(SendError::Failed(error)) => return Err(AskError::Failed(error)),
            }
        }
    }

    async fn pause(&self, attempt: u32) {
        let clock = self.runtime.clock();
        let wait = QUICK_WAIT.saturating_mul(2_u32.saturating_pow(attempt));
        clock.sleep_until(clock.now().plus(wait)).await;
    }

    /// The worker: takes up what was left open, then whatever is decided.
    pub(crate) async fn run(self: Arc<Self>, context: WorkerContext) -> Result<(), WorkerError> {
        let mut queued = self.queued.lock().await;
        let stopping = context.stopping();
        let mut under_way: FuturesUnordered<BoxFuture<'static, ()>> = FuturesUnordered::new();
        under_way.push(Arc::clone(&self).resume().boxed());
        loop {
            let room = under_way.len() < self.options.under_way_max;
            tokio::select! {
                biased;
                () = stopping.cancelled() => return Ok(()),
                Some(()) = under_way.next(), if !under_way.is_empty() => {}
                Some(decided) = queued.recv(), if room => {
                    under_way.push(Arc::clone(&self).drive(decided).boxed());
                }
            }
        }
    }

    /// Wakes the open instances that have something to carry out.
    async fn resume(self: Arc<Self>) {
        let _until_the_end = self.quiet.begin();
        drop(self.starting.lock().await.take());
        let prefix = |tenant_and_category: &StreamId| {
            tenant_and_category.category() == self.handle_category()
        };
        let mut attempt = 0;
        let facts = loop {
            let listed = self
                .runtime
                .store()
                .facts(FactQuery::all(FactKind::OPEN_SAGA));
            match listed.await {
                Ok(facts) => break facts,
                Err(error) => {
                    tracing::error!(saga = S::NAME, %error, "open sagas could not be listed; trying again");
                    attempt = (attempt + 1).min(QUICK_ATTEMPTS);
                    self.pause(attempt).await;
                }
            }
        };
        let with_work = facts.iter().filter_map(|fact| {
            let stream = StreamId::from_key(std::str::from_utf8(&fact.key).ok()?)?;
            let open: OpenFact = decode(CodecId::BINCODE, &fact.value).ok()?;
            (prefix(&stream) && open.has_work)
                .then(|| Instance::of(&stream))
                .flatten()
        });
        let woken: Vec<Instance> = with_work.collect();
        stream::iter(woken)
            .for_each_concurrent(RESUMED_AT_A_TIME, |instance| {
                let executor = Arc::clone(&self);
                async move {
                    let asked =
                        executor.tell(&instance, SagaCommand::Resume, SendOptions::default());
                    if let Err(error) = asked.await {
                        tracing::error!(saga = S::NAME, id = %instance.id, ?error, "not resumed");
                    }
                }
            })
            .await;
    }

    fn handle_category(&self) -> &str {
        use chronicler_runtime::Entity;
        self.handle.entity().category().as_str()
    }

    /// Carries out the effects of one instance, and whatever its answers set in motion.
    async fn drive(self: Arc<Self>, decided: Decided) {
        let Decided {
            instance,
            work,
            sequence,
            under_way: _until_the_end,
        } = decided;
        let mut under_way = FuturesUnordered::new();
        let begin = |task: Task, sequence: LogSequence| {
            let (executor, instance) = (Arc::clone(&self), instance.clone());
            async move { executor.carry_out(&instance, task, sequence).await }
        };
        under_way.extend(work.tasks.into_iter().map(|task| begin(task, sequence)));
        while let Some(done) = under_way.next().await {
            // The turn ends when the answer has been taken: a copy that waits for it then sees what came of it.
            let Some((command, options, _turn)) = done else {
                continue;
            };
            match self.ask(&instance, command, options).await {
                Ok((work, sequence)) => {
                    under_way.extend(work.tasks.into_iter().map(|task| begin(task, sequence)));
                }
                Err(error) => {
                    // A restart or an operator takes it up again: the effect is still open in the journal.
                    tracing::warn!(saga = S::NAME, id = %instance.id, ?error, "outcome not taken");
                }
            }
        }
    }

    /// One attempt at one effect; `None` if it is not wanted any more when its time has come.
    async fn carry_out(
        &self,
        instance: &Instance,
        task: Task,
        sequence: LogSequence,
    ) -> Option<(SagaCommand, SendOptions, Turn)> {
        let clock = self.runtime.clock();
        clock.sleep_until(task.not_before).await;
        let (turn, has_waited) = self.turns.take(instance, &task).await;
        if task.attempt > 0 || has_waited {
            let asked = SagaCommand::Attempt {
                effect: task.effect,
                is_undo: task.is_undo,
                attempt: task.attempt,
                next: task.not_before,
            };
            if let Err(error) = self.ask(instance, asked, SendOptions::default()).await {
                tracing::debug!(saga = S::NAME, id = %instance.id, ?error, "no further attempt");
                return None;
            }
        }
        use chronicler_runtime::Entity;
        let category = self.handle.entity().category();
        let stream = StreamId::new(&instance.tenant, category, &instance.id);
        let id = effect_id(
            &stream,
            task.effect,
            task.is_undo.then_some(task.undo_round),
        );
        let options = SendOptions {
            correlation_id: Some(task.metadata.correlation_id),
            // The answer belongs to the decision it is an answer to: it lies no deeper, however many steps follow
            // one another. What goes round through events of aggregates does get deeper.
            causation: Some((id, task.metadata.causation_depth.saturating_sub(2))),
            principal: task.metadata.principal.clone(),
            ..SendOptions::default()
        };
        let (effect, is_undo, attempt) = (task.effect, task.is_undo, task.attempt + 1);
        reached(CrashPlace::Dispatch);
        let attempted = match &task.request {
            Request::Command { .. } => self.command(instance, &task, id, sequence).await,
            Request::Call { service, request } => self.call(service, request, id).await,
            Request::Nothing => Ok(Answer::nothing()),
        };
        reached(CrashPlace::Dispatched);
        let failed = |reason: String, policy: chronicler_runtime::RestartPolicy| {
            let next = (attempt < policy.budget)
                .then(|| self.runtime.clock().now().plus(policy.backoff(attempt)));
            SagaCommand::Failed {
                effect,
                is_undo,
                attempt,
                next,
                reason,
                decided_at: task.decided_at.unwrap_or(sequence),
            }
        };
        let command = match attempted {
            Ok(Answer::Unknown { reason }) if is_undo => failed(reason, self.options.undos),
            Ok(Answer::Unknown { reason }) if attempt < self.options.unknown_calls.budget => {
                failed(reason, self.options.unknown_calls)
            }
            Ok(answer) => SagaCommand::Answer {
                effect,
                is_undo,
                answer,
            },
            Err(reason) if is_undo => failed(reason, self.options.undos),
            Err(reason) => failed(reason, self.options.effects),
        };
        Some((command, options, turn))
    }

    async fn command(
        &self,
        instance: &Instance,
        task: &Task,
        effect_id: Uuid,
        sequence: LogSequence,
    ) -> Result<Answer, String> {
        let Request::Command { codec, command, .. } = &task.request else {
            return Err("it is not a command".to_owned());
        };
        let target = task.request.target(&instance.tenant);
        let target = target.ok_or_else(|| format!("{} is no target", task.request.describe()))?;
        let effect = EffectCommand {
            target,
            codec: CodecId::new(*codec),
            command: Bytes::copy_from_slice(command),
            effect_id,
            decided_at: task.decided_at.unwrap_or(sequence),
            metadata: task.metadata.clone(),
            deadline: None,
        };
        let mut quick = 0;
        loop {
            match self.runtime.effects().dispatch(effect.clone()).await {
                Ok(outcome) => {
                    let (codec, payload) = (outcome.codec.number(), outcome.payload.to_vec());
                    return Ok(match outcome.result {
                        OutcomeResult::Reply => Answer::Done { codec, payload },
                        OutcomeResult::Rejection => Answer::Rejected { codec, payload },
                    });
                }
                Err(error) if error.is_retryable() && quick < QUICK_ATTEMPTS => {
                    quick += 1;
                    self.pause(quick).await;
                }
                Err(error) => return Err(error.to_string()),
            }
        }
    }

    async fn call(&self, service: &str, request: &[u8], key: Uuid) -> Result<Answer, String> {
        let Some(found) = self.services.get(service) else {
            return Err(format!("no service {service:?} is registered"));
        };
        let clock = self.runtime.clock();
        let (called, request) = (Arc::clone(found), request.to_vec());
        let call = AssertUnwindSafe(async move { called.call(key, request).await }).catch_unwind();
        let result = tokio::select! {
            biased;
            result = call => result.unwrap_or_else(|panic| {
                CallResult::Unknown(format!("the call panicked: {}", said(panic.as_ref())))
            }),
            () = clock.sleep_until(clock.now().plus(self.options.call_timeout)) => {
                CallResult::Unknown(format!("no answer in {} s", self.options.call_timeout.as_secs_f64()))
            }
        };
        let codec = CodecId::BINCODE.number();
        Ok(match result {
            CallResult::Done(payload) => Answer::Done { codec, payload },
            CallResult::Rejected(payload) => Answer::Rejected { codec, payload },
            CallResult::Unknown(reason) => Answer::Unknown { reason },
        })
    }
}

/// Wakes instances whose timers are due.
pub(crate) struct Alarm<S: Saga>(pub(crate) Arc<Executor<S>>);

impl<S: Saga> TimerHandler for Alarm<S> {
    fn fire(&self, timer: FiredTimer) -> BoxFuture<'static, Result<(), String>> {
        let executor = Arc::clone(&self.0);
        async move {
            let name = std::str::from_utf8(&timer.name).map_err(|error| error.to_string())?;
            let (stream, key) = name.rsplit_once('\0').ok_or("the timer has no key")?;
            let instance = StreamId::from_key(stream).as_ref().and_then(Instance::of);
            let instance = instance.ok_or("the timer has no instance")?;
            let command = SagaCommand::Fire {
                key: key.to_owned(),
                due: timer.due,
            };
            let told = executor
                .tell(&instance, command, SendOptions::default())
                .await;
            told.map(|_| ()).map_err(|error| format!("{error:?}"))
        }
        .boxed()
    }
}
