//! Carries out what sagas decided, after it is durable, and tells them how it went.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use chronicler_domain::{LogSequence, StreamId, StreamVersion};
use chronicler_runtime::{
    Backoff, Deadline, DispatchError, EntityHandle, FiredTimer, Runtime, SendError, SendOptions,
    TimerHandler, WorkerContext, WorkerError,
};
use chronicler_store::{AppendError, FactKind, FactQuery};
use futures::future::{BoxFuture, Fuse, FusedFuture};
use futures::stream::{FuturesUnordered, StreamExt};
use futures::{FutureExt, stream};
use tokio::sync::Mutex;

use crate::definition::answer::Answer;
use crate::definition::external::ExternalService;
use crate::definition::routes::Routes;
use crate::definition::saga::Saga;
use crate::execution::backlog::{Backlog, Decided};
use crate::execution::child::ChildHosts;
use crate::execution::circuit::Circuits;
use crate::execution::entity::SagaEntity;
use crate::execution::held::Held;
use crate::execution::options::SagaOptions;
use crate::execution::quiet::{Quiet, UnderWay};
use crate::execution::resources::Resources;
use crate::execution::turns::{Turn, Turns};
use crate::instance::id::InstanceId;
use crate::instance::open_fact::OpenFact;
use crate::instance::state::InstanceState;
use crate::instance::transition::command::SagaCommand;
use crate::instance::transition::refusal::SagaRefusal;
use crate::instance::work::Task;

/// Attempts that follow one another quickly and are not journaled: for a moment of overload.
pub(crate) const QUICK_ATTEMPTS: u32 = 5;
/// Attempts at what a person wants: four seconds of them at most.
pub(crate) const PERSON_ATTEMPTS: u32 = 30;
/// The waits between them.
const QUICK_WAITS: Backoff = Backoff::new(Duration::from_millis(10), Duration::from_millis(160));
/// Outcomes of one decision that are taken in one commit.
const OUTCOMES_MAX: usize = 512;
/// The bytes of their answers; a longer one goes alone.
const OUTCOMES_BYTES_MAX: usize = 1 << 20;
/// Open sagas that are woken at a time after a restart.
const RESUMED_AT_A_TIME: usize = 64;

/// The services that sagas call, by name.
pub(crate) type Services = Arc<HashMap<String, Arc<dyn ExternalService>>>;

/// What the executors of all saga types share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) services: Services,
    pub(crate) circuits: Arc<Circuits>,
    pub(crate) resources: Arc<Resources>,
    pub(crate) hosts: Arc<ChildHosts>,
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
    pub(crate) shared: Shared,
    /// The sagas that it may begin as children.
    pub(crate) children: HashSet<String>,
    pub(crate) turns: Turns,
    pub(crate) held: Held,
    pub(crate) routes: Arc<Routes<S>>,
    /// From the beginning until what was left open is under way.
    starting: Mutex<Option<UnderWay>>,
}

impl<S: Saga> Executor<S> {
    pub(crate) fn new(
        runtime: Runtime,
        handle: EntityHandle<SagaEntity<S>>,
        shared: Shared,
        routes: Arc<Routes<S>>,
        options: SagaOptions,
    ) -> Self {
        let children = routes.children.clone();
        let quiet = Arc::clone(handle.entity().backlog().quiet());
        Self {
            runtime,
            handle,
            options,
            shared,
            children,
            turns: Turns::default(),
            held: Held::default(),
            routes,
            starting: Mutex::new(Some(quiet.begin())),
            quiet,
        }
    }

    fn backlog(&self) -> &Backlog {
        self.handle.entity().backlog()
    }

    /// Gives an instance an input, again and again while the machinery is only busy, once there is room for what it
    /// may decide. What it decides is handed on by its commit.
    pub(crate) async fn tell(
        &self,
        instance: &InstanceId,
        command: SagaCommand,
        options: SendOptions,
    ) -> Result<(), AskError> {
        self.tell_at_most(u32::MAX, instance, command, options)
            .await
    }

    /// The same, with so many attempts after the first.
    pub(crate) async fn tell_at_most(
        &self,
        attempts_max: u32,
        instance: &InstanceId,
        command: SagaCommand,
        options: SendOptions,
    ) -> Result<(), AskError> {
        self.backlog().below(self.options.deliveries_max).await;
        self.ask_or_set_aside_at_most(attempts_max, instance, command, options)
            .await
    }

    /// The same for a person, who would rather hear that it is busy than wait for ever.
    pub(crate) async fn tell_for_a_person(
        &self,
        instance: &InstanceId,
        command: SagaCommand,
    ) -> Result<(), AskError> {
        let options = SendOptions::default();
        self.ask_at_most(PERSON_ATTEMPTS, instance, command, options)
            .await
    }

    /// Whether what was decided before must be carried out before an input is given.
    fn is_full(&self) -> bool {
        self.backlog().is_full(self.options.deliveries_max)
    }

    /// Looks at an instance, again and again while the machinery is only busy.
    pub(crate) async fn look_at_most<T: Send + 'static>(
        &self,
        instance: &InstanceId,
        attempts_max: u32,
        look: impl FnOnce(&InstanceState<S::State>, StreamVersion) -> T + Clone + Send + 'static,
    ) -> Result<T, AskError> {
        let mut attempt = 0;
        loop {
            let (tenant, id) = (&instance.tenant, &instance.id);
            match self.handle.query(tenant, id, look.clone()).await {
                Ok(found) => return Ok(found.state),
                Err(error) if error.is_retryable() && attempt < attempts_max => {
                    attempt += 1;
                    self.pause(attempt).await;
                }
                Err(error) => return Err(AskError::Failed(error)),
            }
        }
    }

    /// Gives an instance an input. If the log refuses for good what is decided on it (it is too long, or cannot be
    /// written), the instance alone is quarantined at it.
    pub(crate) async fn ask_or_set_aside(
        &self,
        instance: &InstanceId,
        command: SagaCommand,
        options: SendOptions,
    ) -> Result<(), AskError> {
        self.ask_or_set_aside_at_most(u32::MAX, instance, command, options)
            .await
    }

    async fn ask_or_set_aside_at_most(
        &self,
        attempts_max: u32,
        instance: &InstanceId,
        command: SagaCommand,
        options: SendOptions,
    ) -> Result<(), AskError> {
        let asked = self.ask_at_most(attempts_max, instance, command.clone(), options.clone());
        let error = match asked.await {
            Err(AskError::Failed(error)) if is_refused_for_good(&error) => error,
            answered => return answered,
        };
        tracing::error!(saga = S::NAME, id = %instance.id, %error, "the log refuses for good what was decided");
        let input = Box::new(command);
        let reason = format!("the log does not take what it decided: {error}");
        let set_aside = SagaCommand::SetAside { input, reason };
        self.ask_at_most(attempts_max, instance, set_aside, options)
            .await
    }

    pub(crate) async fn ask(
        &self,
        instance: &InstanceId,
        command: SagaCommand,
        options: SendOptions,
    ) -> Result<(), AskError> {
        self.ask_at_most(u32::MAX, instance, command, options).await
    }

    pub(crate) async fn ask_at_most(
        &self,
        attempts_max: u32,
        instance: &InstanceId,
        command: SagaCommand,
        options: SendOptions,
    ) -> Result<(), AskError> {
        // Asked again after a deadline, what it decided would not come back.
        let options = SendOptions {
            deadline: Deadline::None,
            ..options
        };
        // Its dates are taken from the clock as it is now, and not as it was before somebody set it.
        self.runtime.timers().compare_clocks();
        let mut attempt = 0;
        loop {
            let sent = self.handle.send(
                &instance.tenant,
                &instance.id,
                command.clone(),
                options.clone(),
            );
            match sent.await {
                Ok(_) => return Ok(()),
                Err(SendError::Rejected(refusal)) => return Err(AskError::Refused(refusal)),
                Err(SendError::Failed(error)) if error.is_retryable() && attempt < attempts_max => {
                    attempt = attempt.saturating_add(1);
                    self.pause(attempt).await;
                }
                Err(SendError::Failed(error)) => return Err(AskError::Failed(error)),
            }
        }
    }

    /// Waits before an attempt is made again, counted from 1.
    pub(crate) async fn pause(&self, attempt: u32) {
        let wait = QUICK_WAITS.wait(attempt, self.runtime.jitter());
        self.runtime.clock().sleep(wait).await;
    }

    /// The worker: takes up what was left open, then whatever is decided.
    pub(crate) async fn run(self: Arc<Self>, context: WorkerContext) -> Result<(), WorkerError> {
        let stopping = context.stopping();
        let mut under_way: FuturesUnordered<BoxFuture<'static, ()>> = FuturesUnordered::new();
        // Not counted among what is under way: it waits for that.
        let mut resuming = Arc::clone(&self).resume().boxed().fuse();
        let mut released = self.runtime.releases();
        // Not counted either: a place for what was decided is never taken by what waits for one.
        let mut resumed: FuturesUnordered<BoxFuture<'static, ()>> = FuturesUnordered::new();
        loop {
            // What waits for a service that is away is in nobody's way.
            let at_work = under_way.len().saturating_sub(self.held.count());
            let room = at_work < self.options.under_way_max;
            tokio::select! {
                biased;
                () = stopping.cancelled() => break,
                () = self.held.changed(), if !room => {}
                Some(()) = under_way.next(), if !under_way.is_empty() => {}
                () = &mut resuming => {}
                Some(()) = resumed.next(), if !resumed.is_empty() => {}
                released = released.recv(), if resumed.len() < RESUMED_AT_A_TIME => {
                    // What it had under way when it was quarantined is taken up.
                    let until_the_end = self.quiet.begin();
                    let resuming = Arc::clone(&self).resume_released(released.ok());
                    resumed.push(resuming.map(|()| drop(until_the_end)).boxed());
                }
                decided = self.backlog().next(), if room => {
                    if let Some(due) = decided.work.armed {
                        self.runtime.timers().notice(due);
                    }
                    under_way.push(Arc::clone(&self).drive(decided).boxed());
                }
            }
        }
        // What waits is in the journal, too.
        self.backlog().close();
        Ok(())
    }

    /// Wakes the open instances that have something to carry out.
    async fn resume(self: Arc<Self>) {
        let _until_the_end = self.quiet.begin();
        drop(self.starting.lock().await.take());
        self.resume_all().await;
    }

    async fn resume_all(self: &Arc<Self>) {
        let prefix = |tenant_and_category: &StreamId| {
            tenant_and_category.category() == self.handle_category()
        };
        let mut attempt = 0_u32;
        let facts = loop {
            let listed = self
                .runtime
                .store()
                .facts(FactQuery::all(FactKind::OPEN_SAGA));
            match listed.await {
                Ok(facts) => break facts,
                Err(error) => {
                    tracing::error!(saga = S::NAME, %error, "open sagas could not be listed; trying again");
                    attempt = attempt.saturating_add(1);
                    self.pause(attempt).await;
                }
            }
        };
        let with_work = facts.iter().filter_map(|fact| {
            let stream = StreamId::from_key(std::str::from_utf8(&fact.key).ok()?)?;
            // One whose fact cannot be read is woken, too.
            let has_work = OpenFact::read(&fact.value).is_none_or(|open| open.has_work);
            (prefix(&stream) && has_work)
                .then(|| InstanceId::of(&stream))
                .flatten()
        });
        let woken: Vec<InstanceId> = with_work.collect();
        stream::iter(woken)
            .for_each_concurrent(RESUMED_AT_A_TIME, |instance| {
                let executor = Arc::clone(self);
                async move { executor.resume_one(&instance).await }
            })
            .await;
    }

    /// Takes up what an instance has to carry out that was released from the runtime's quarantine; `None`: some were.
    async fn resume_released(self: Arc<Self>, stream: Option<StreamId>) {
        let Some(stream) = stream else {
            return self.resume_all().await;
        };
        if stream.category() != self.handle_category() {
            return;
        }
        if let Some(instance) = InstanceId::of(&stream) {
            self.resume_one(&instance).await;
        }
    }

    async fn resume_one(&self, instance: &InstanceId) {
        let asked = self.tell(instance, SagaCommand::Resume, SendOptions::default());
        if let Err(error) = asked.await {
            tracing::error!(saga = S::NAME, id = %instance.id, ?error, "not resumed");
        }
    }

    fn handle_category(&self) -> &str {
        use chronicler_runtime::Entity;
        self.handle.entity().category().as_str()
    }

    /// Carries out what one decision asks for.
    async fn drive(self: Arc<Self>, decided: Decided) {
        let Decided {
            instance,
            work,
            sequence,
            under_way: _until_the_end,
        } = decided;
        let takes_up = async {
            if work.takes_up
                && let Err(error) = self.take_up(&instance, u32::MAX).await
            {
                tracing::warn!(saga = S::NAME, id = %instance.id, ?error, "inputs still wait");
            }
        };
        futures::join!(
            takes_up,
            self.carry_out_all(&instance, work.tasks, sequence)
        );
    }

    async fn carry_out_all(&self, instance: &InstanceId, tasks: Vec<Task>, sequence: LogSequence) {
        let begin = |task: Task| self.carry_out(instance, task, sequence);
        let mut under_way: FuturesUnordered<_> = tasks.into_iter().map(begin).collect();
        let mut come = VecDeque::new();
        let mut taking = Fuse::terminated();
        // While outcomes are committed others come: those are then committed as one.
        loop {
            if taking.is_terminated() && !come.is_empty() {
                let together = together(&mut come);
                taking = self.take_in(instance, together).boxed().fuse();
            }
            tokio::select! {
                biased;
                () = &mut taking, if !taking.is_terminated() => {}
                Some(done) = under_way.next(), if !under_way.is_empty() => come.extend(done),
                else => return,
            }
        }
    }

    /// Gives an instance outcomes that came together, in one commit if the log takes that, else one by one.
    async fn take_in(&self, instance: &InstanceId, mut outcomes: Vec<Outcome>) {
        if outcomes.len() > 1
            && let Some((_, options, _)) = outcomes.first()
        {
            let options = options.clone();
            let commands = outcomes.iter().map(|(command, ..)| command.clone());
            let several = SagaCommand::Several(commands.collect());
            match self.ask(instance, several, options).await {
                Err(AskError::Failed(error)) if is_refused_for_good(&error) => {}
                Err(error) => return not_taken::<S>(instance, &error),
                Ok(()) => return,
            }
        }
        // The turn ends when the answer has been taken: a copy that waits for it then sees what came of it.
        for (command, options, _turn) in outcomes.drain(..) {
            let asked = self.ask_or_set_aside(instance, command.clone(), options.clone());
            let mut taken = asked.await;
            if let Some(given_up) = given_up(&command, &taken) {
                taken = self.ask(instance, given_up, options).await;
            }
            if let Err(error) = taken {
                not_taken::<S>(instance, &error);
            }
        }
    }
}

/// What became of an attempt, and the turn that it had.
type Outcome = (SagaCommand, SendOptions, Turn);

/// A restart or an operator takes it up again: the effect is still open in the journal.
fn not_taken<S: Saga>(instance: &InstanceId, error: &AskError) {
    tracing::warn!(saga = S::NAME, id = %instance.id, ?error, "outcome not taken");
}

/// Takes off what goes into one commit: answers, or other outcomes, as many as belong together at the front.
fn together(come: &mut VecDeque<Outcome>) -> Vec<Outcome> {
    let answers = |(command, ..): &Outcome| match command {
        SagaCommand::Answer {
            answer: Answer::Done(payload) | Answer::Rejected(payload),
            ..
        } => Some(payload.bytes().len()),
        SagaCommand::Answer { .. } => Some(0),
        _ => None,
    };
    let are_answers = come.front().map(|first| answers(first).is_some());
    let (mut bytes, mut count) = (0, 0);
    for outcome in come.iter().take(OUTCOMES_MAX) {
        let size = answers(outcome);
        bytes += size.unwrap_or_default();
        let fits = bytes <= OUTCOMES_BYTES_MAX || count == 0;
        if Some(size.is_some()) != are_answers || !fits {
            break;
        }
        count += 1;
    }
    come.drain(..count).collect()
}

/// Whether the log would refuse the same commit again, however often it is asked.
fn is_refused_for_good(error: &DispatchError) -> bool {
    matches!(
        error,
        DispatchError::Codec(_)
            | DispatchError::Append(AppendError::TooLarge { .. } | AppendError::Invalid { .. })
    )
}

/// What an instance is told instead of an answer that the log does not take even by itself: the attempt failed for good,
/// and a person sees to it.
fn given_up<T>(command: &SagaCommand, taken: &Result<T, AskError>) -> Option<SagaCommand> {
    let Err(AskError::Failed(error)) = taken else {
        return None;
    };
    match command {
        SagaCommand::Answer { action, .. } if is_refused_for_good(error) => {
            Some(SagaCommand::GiveUp {
                action: *action,
                reason: format!("it was answered, and the log does not take the answer: {error}"),
            })
        }
        _ => None,
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
            let instance = StreamId::from_key(stream).as_ref().and_then(InstanceId::of);
            let instance = instance.ok_or("the timer has no instance")?;
            let command = SagaCommand::Fire {
                key: key.to_owned(),
                due: timer.due,
            };
            if executor.is_full() {
                // Waiting here it would hold up the timers of all sagas.
                return Err("what was decided before waits to be carried out".to_owned());
            }
            let told = executor
                .ask_or_set_aside(&instance, command, SendOptions::default())
                .await;
            told.map(|_| ()).map_err(|error| format!("{error:?}"))
        }
        .boxed()
    }
}
