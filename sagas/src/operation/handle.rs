//! Sagas seen from outside: where they are, and what an operator can do about them.

use std::sync::Arc;

use chronicler_domain::{AggregateId, Category, StreamId, Tenant, Timestamp};
use chronicler_runtime::{DispatchError, Entity, FollowerHandle, Selection};
use chronicler_store::codec::EventDecoder;
use chronicler_store::{ReadError, StreamQuery};
use futures::StreamExt;

use crate::definition::answer::Answer;
use crate::definition::effect_view::EffectView;
use crate::definition::saga::Saga;
use crate::execution::asking::{AskError, Patience};
use crate::execution::executor::Executor;
use crate::instance::id::{InstanceId, printed};
use crate::instance::open_fact::waits_for;
use crate::instance::status::{Ending, SagaStatus};
use crate::instance::transition::command::{Fork, SagaCommand};
use crate::instance::transition::refusal::SagaRefusal;
use crate::instance::verb::Order;
use crate::instance::verb::SagaVerb;
use crate::operation::error::OperateError;
use crate::operation::history::HistoryLine;
use crate::operation::open::{OpenSaga, list_open};

/// The instances of one saga type.
pub struct SagaHandle<S: Saga> {
    pub(crate) executor: Arc<Executor<S>>,
    pub(crate) follower: FollowerHandle,
}

impl<S: Saga> Clone for SagaHandle<S> {
    fn clone(&self) -> Self {
        Self {
            executor: Arc::clone(&self.executor),
            follower: self.follower.clone(),
        }
    }
}

/// One instance, looked at.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SagaView<S: Saga> {
    /// Where it is.
    pub status: SagaStatus,
    /// What it knows.
    pub state: S::State,
    /// Its effects, in the order in which they were decided.
    pub effects: Vec<EffectView>,
    /// Its timers and when they are due.
    pub timers: Vec<(String, Timestamp)>,
    /// Whether it has passed its pivot.
    pub pivoted: bool,
    /// The version of the definition that it goes by; `None` if it was never started.
    pub version: Option<u32>,
    /// Why a person should look at it.
    pub escalated: Option<String>,
    /// The stream of the instance that began it, if it is a child.
    pub parent: Option<String>,
    /// Inputs that wait for its release, or until it is resumed.
    pub stalled: usize,
    /// When it began.
    pub started_at: Timestamp,
    /// When it last took an input.
    pub moved_at: Timestamp,
}

impl<S: Saga> SagaHandle<S> {
    /// The category of the instances' streams.
    pub(crate) fn category(&self) -> &Category {
        self.executor.handle.entity().category()
    }

    fn stream(&self, tenant: &Tenant, id: &AggregateId) -> StreamId {
        StreamId::new(tenant, self.category(), id)
    }

    /// Looks at an instance, as durable.
    ///
    /// # Errors
    /// When it cannot be recovered.
    pub async fn get(
        &self,
        tenant: &Tenant,
        id: &AggregateId,
    ) -> Result<SagaView<S>, DispatchError> {
        let saga = Arc::clone(self.executor.handle.entity());
        let found = self
            .executor
            .handle
            .query(tenant, id, move |state, _| SagaView {
                status: state.status_with(|| waits_for(saga.saga(), state.user())),
                version: state.saga_version,
                escalated: state.escalated.clone(),
                parent: state.parent.as_ref().map(|parent| printed(&parent.stream)),
                stalled: state.stalled.len(),
                state: state.user().clone(),
                effects: state.effects().to_vec(),
                timers: state
                    .timers
                    .iter()
                    .map(|(key, due)| (key.clone(), *due))
                    .collect(),
                pivoted: state.pivoted,
                started_at: state.started_at,
                moved_at: state.moved_at,
            });
        Ok(found.await?.state)
    }

    /// Waits for the end of an instance, and says how it ended: at once if it has, however long ago, and also in another
    /// life of the application than the one it ended in. One that has not begun yet is waited for as well: who has just
    /// sent the command that leads to it can ask at once. Put a time-out around it where an end may never come.
    ///
    /// # Errors
    /// When the instance cannot be recovered, or the log cannot be read; `ReadError::Closed` when the application stops
    /// first.
    ///
    /// # Cancel safety
    /// Nothing changes when the wait is dropped.
    pub async fn ended(&self, tenant: &Tenant, id: &AggregateId) -> Result<Ending, DispatchError> {
        let (tenant, id) = (tenant.clone(), id.clone());
        self.executor.ending(&InstanceId { tenant, id }).await
    }

    /// Lists the open instances, without waking any of them.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn open(&self) -> Result<Vec<OpenSaga>, ReadError> {
        let category = self.category().as_str();
        let listed = list_open(self.executor.runtime.store().as_ref()).await?;
        let own = listed
            .into_iter()
            .filter(|saga| saga.stream.category() == category);
        Ok(own.collect())
    }

    /// How many instances are awake, each with an actor of its own. One that only waits sleeps, when more of its type are
    /// awake than are kept warm (`RuntimeOptions::warm_max`).
    pub fn awake(&self) -> usize {
        self.executor.handle.live()
    }

    /// The name of the saga.
    pub fn name(&self) -> &'static str {
        S::NAME
    }

    /// What happened to an instance: every entry of its stream, in order, in words.
    ///
    /// # Errors
    /// When the store cannot be read, or holds an entry that cannot be.
    pub async fn history(
        &self,
        tenant: &Tenant,
        id: &AggregateId,
    ) -> Result<Vec<HistoryLine>, ReadError> {
        let stream = self.stream(tenant, id);
        let mut commits = self
            .executor
            .runtime
            .store()
            .read_stream(StreamQuery::new(stream));
        let decoder = EventDecoder::new();
        let mut history = Vec::new();
        while let Some(batch) = commits.next().await {
            for commit in batch? {
                let lines = commit
                    .events()
                    .map(|event| HistoryLine::of(&event, tenant, &decoder));
                history.extend(lines);
            }
        }
        Ok(history)
    }

    /// Has carried out on an instance what an operator wants, and says where it then is. Journaled with who and why; asked
    /// again, it changes nothing more.
    ///
    /// # Errors
    /// A refusal for what the instance is, with its reason; else a fault.
    pub async fn operate(
        &self,
        tenant: &Tenant,
        id: &AggregateId,
        order: Order,
    ) -> Result<SagaStatus, OperateError> {
        if let SagaVerb::Fork { before, id: other } = &order.verb {
            let other = AggregateId::new(other).map_err(OperateError::failed)?;
            let (before, handle) = (before.clone(), self.clone());
            let (tenant, id) = (tenant.clone(), id.clone());
            return self
                .whole(async move {
                    let fork = handle.fork_of(&tenant, &id, before).await?;
                    handle.go_on_as(&tenant, &id, &other, fork, order).await
                })
                .await;
        }
        self.tell(tenant, id, SagaCommand::Operate(order)).await?;
        self.take_up(tenant, id).await
    }

    /// Has another instance go on with what this one did.
    async fn go_on_as(
        &self,
        tenant: &Tenant,
        id: &AggregateId,
        other: &AggregateId,
        fork: Fork,
        order: Order,
    ) -> Result<SagaStatus, OperateError> {
        let own = (fork.from.clone(), fork.before.clone());
        let new = InstanceId::new(tenant, other);
        let is_another = self.executor.look(Patience::PERSON, &new, move |state, _| {
            state.is_started() && state.forked_from.as_ref() != Some(&own)
        });
        if is_another.await? {
            // Before it is written down that the one goes on as the other.
            return Err(SagaRefusal::StartedBefore.into());
        }
        self.try_fork(&new, &fork, &order)?;
        let given_away = SagaCommand::Operate(order.clone());
        self.tell(tenant, id, given_away).await?;
        let begun = SagaCommand::Fork(Box::new(fork), order);
        self.tell(tenant, other, begun).await?;
        self.take_up(tenant, other).await
    }

    /// Runs the undos of an instance. Journaled with who and why.
    ///
    /// # Errors
    /// A refusal when it is over or past its pivot; else a fault. One that is being compensated already goes on so.
    pub async fn cancel(
        &self,
        tenant: &Tenant,
        id: &AggregateId,
        reason: &str,
        by: &str,
    ) -> Result<(), OperateError> {
        self.operate(tenant, id, SagaVerb::Cancel.by(by, reason))
            .await
            .map(|_| ())
    }

    /// Has parked effects and stuck undos tried again, with a fresh budget, and what waits for its next attempt tried at
    /// once. Journaled with who.
    ///
    /// # Errors
    /// A refusal when it is over or was never started; else a fault.
    pub async fn retry_now(
        &self,
        tenant: &Tenant,
        id: &AggregateId,
        by: &str,
    ) -> Result<(), OperateError> {
        let retried = self.operate(tenant, id, SagaVerb::RetryNow.by(by, ""));
        retried.await.map(|_| ())
    }

    /// Says how a parked effect or a stuck undo ended, by the effect's key, when a person has found it out: then it is
    /// not tried again. For an undo the answer does not matter: it counts as done. Journaled with who and why.
    ///
    /// # Errors
    /// A refusal when no effect of this key waits for a person, a command is said to be unknown (its aggregate knows), or
    /// the saga's own code cannot take the answer; the effect then goes on waiting. Else a fault.
    pub async fn settle(
        &self,
        tenant: &Tenant,
        id: &AggregateId,
        key: &str,
        answer: Answer,
        by: &str,
        reason: &str,
    ) -> Result<(), OperateError> {
        let (key, by, reason) = (key.to_owned(), by.to_owned(), reason.to_owned());
        let command = SagaCommand::Settle {
            key,
            answer,
            by,
            reason,
        };
        self.tell(tenant, id, command).await
    }

    /// Releases an instance from quarantine, whether its own code failed on an input or the runtime could not recover it,
    /// and takes up what waited, in order. Journaled with who. If its code fails again, it is quarantined again.
    ///
    /// # Errors
    /// When the store or the instance fails.
    pub async fn release(
        &self,
        tenant: &Tenant,
        id: &AggregateId,
        by: &str,
    ) -> Result<SagaStatus, OperateError> {
        let (handle, tenant, id) = (self.clone(), tenant.clone(), id.clone());
        let by = by.to_owned();
        self.whole(async move { handle.let_go(&tenant, &id, &by).await })
            .await
    }

    /// Carries out an order that takes several commits, although whoever gave it goes in the middle.
    async fn whole<T: Send + 'static>(
        &self,
        order: impl Future<Output = Result<T, OperateError>> + Send + 'static,
    ) -> Result<T, OperateError> {
        let done = self.executor.runtime.carry_out(order).await;
        done.unwrap_or_else(|| {
            Err(OperateError::failed("the application's own code panicked on it, or everything was ended: look at it, and ask again"))
        })
    }

    async fn let_go(
        &self,
        tenant: &Tenant,
        id: &AggregateId,
        by: &str,
    ) -> Result<SagaStatus, OperateError> {
        let stream = self.stream(tenant, id);
        let released = self.executor.runtime.release(&stream).await;
        let released = released.map_err(OperateError::failed)?;
        if released {
            // Known to be under way by the time that this is answered.
            let instance = InstanceId::new(tenant, id);
            self.executor
                .tell_for_a_person(&instance, SagaCommand::Resume)
                .await?;
            let key = Selection::Key(stream.key().into());
            // Where the sagas are only looked at there is nobody to try.
            _ = self.follower.retry(key).await;
        }
        let order = SagaVerb::Release.by(by, "");
        match self.operate(tenant, id, order).await {
            // It was not its own code that had failed.
            Err(error) if error.is_refusal() && released => self.take_up(tenant, id).await,
            answered => answered,
        }
    }

    /// The follower that brings events to the instances: how far it is, and what it has parked, with the verbs for that.
    /// An event is parked whose routing failed, and one whose instance the runtime has in quarantine. It is taken up at the
    /// release of the instance, at the next start, or when somebody asks.
    pub fn follower(&self) -> &FollowerHandle {
        &self.follower
    }

    /// Takes up the inputs that wait, in order, as long as nothing keeps it from that, and says where it then is. What was
    /// asked for is journaled by then.
    async fn take_up(&self, tenant: &Tenant, id: &AggregateId) -> Result<SagaStatus, OperateError> {
        let instance = InstanceId::new(tenant, id);
        self.executor.take_up(&instance, Patience::PERSON).await.map_err(|error| {
            OperateError::from(error).after(
                "it is done and journaled, but what came of it is not known, and inputs may still wait for a `release`",
            )
        })
    }

    async fn tell(
        &self,
        tenant: &Tenant,
        id: &AggregateId,
        command: SagaCommand,
    ) -> Result<(), OperateError> {
        let instance = InstanceId::new(tenant, id);
        let executor = &self.executor;
        let told = executor.tell_for_a_person(&instance, command.clone()).await;
        // It may only believe that an attempt is under way.
        let must_wait = matches!(
            &told,
            Err(AskError::Refused(
                SagaRefusal::AttemptUnderWay | SagaRefusal::NothingToSettle
            ))
        );
        if must_wait {
            let turns = executor.hold_what_rests(&instance).await?;
            if !turns.is_empty() {
                executor.tell_for_a_person(&instance, command).await?;
                return Ok(());
            }
        }
        Ok(told?)
    }
}
