//! Instances are woken: those with work that an earlier life left open or a quarantine held up, and those whose timers are
//! due.

use std::sync::Arc;

use chronicler_domain::StreamId;
use chronicler_runtime::{FiredTimer, SendOptions, TimerHandler};
use chronicler_store::{FactKind, FactQuery};
use futures::future::BoxFuture;
use futures::stream::StreamExt;
use futures::{FutureExt, stream};

use crate::definition::saga::Saga;
use crate::execution::executor::{Executor, RESUMED_AT_A_TIME};
use crate::instance::id::InstanceId;
use crate::instance::open_fact::OpenFact;
use crate::instance::transition::command::SagaCommand;

impl<S: Saga> Executor<S> {
    /// Wakes the open instances that have something to carry out.
    pub(crate) async fn resume(self: Arc<Self>) {
        let _until_the_end = self.quiet.begin();
        drop(self.starting.lock().await.take());
        self.resume_all().await;
    }

    async fn resume_all(self: &Arc<Self>) {
        let is_own = |stream: &StreamId| stream.category() == self.handle_category();
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
            (is_own(&stream) && has_work)
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
    pub(crate) async fn resume_released(self: Arc<Self>, stream: Option<StreamId>) {
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
                .ask_or_quarantine(&instance, command, SendOptions::default())
                .await;
            told.map(|_| ()).map_err(|error| format!("{error:?}"))
        }
        .boxed()
    }
}
