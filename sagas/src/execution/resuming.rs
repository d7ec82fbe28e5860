//! Instances are woken: those with work that an earlier life left open or a quarantine held up, and those whose timers are
//! due.

use std::sync::Arc;
use std::time::Duration;

use chronicler_domain::StreamId;
use chronicler_runtime::{Backoff, Entity, FiredTimer, SendOptions, TimerHandler};
use chronicler_store::{FactKind, FactQuery};
use futures::FutureExt;
use futures::future::{BoxFuture, pending};
use futures::stream::{FuturesUnordered, StreamExt};

use crate::definition::saga::Saga;
use crate::execution::asking::{AskError, Patience};
use crate::execution::executor::Executor;
use crate::execution::quiet::UnderWay;
use crate::execution::wake_queue::{Wake, WakeQueue};
use crate::instance::id::InstanceId;
use crate::instance::open_fact::OpenFact;
use crate::instance::transition::command::SagaCommand;

/// Open sagas that are woken at a time, after a restart and after a release.
const WOKEN_AT_A_TIME: usize = 64;
/// The wait before one that could not be woken is tried again; it doubles up to the maximum. Others have its place until
/// then.
const AGAIN: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(30));

/// Instances that were found, and what is under way until they are woken.
type Found = (Vec<InstanceId>, Arc<UnderWay>);

/// Has instances take up what they have to carry out.
pub(super) struct Waking<S: Saga> {
    executor: Arc<Executor<S>>,
    /// Finds the open ones; once more if that was asked for since it began.
    finding: Option<BoxFuture<'static, Found>>,
    finds_again: bool,
    queue: WakeQueue,
    /// Those that are woken at present, and whether they are tried again.
    at_work: FuturesUnordered<BoxFuture<'static, (Wake, bool)>>,
}

impl<S: Saga> Waking<S> {
    pub(super) fn new(executor: &Arc<Executor<S>>) -> Self {
        Self {
            executor: Arc::clone(executor),
            finding: None,
            finds_again: false,
            queue: WakeQueue::default(),
            at_work: FuturesUnordered::new(),
        }
    }

    /// Wakes the open instances that have something to carry out.
    pub(super) fn wake_all(&mut self) {
        if self.finding.is_some() {
            self.finds_again = true;
            return;
        }
        let until_then = Arc::new(self.executor.quiet.begin());
        let executor = Arc::clone(&self.executor);
        let finding = async move { (executor.open_with_work().await, until_then) };
        self.finding = Some(finding.boxed());
    }

    /// Wakes an instance that was released from the runtime's quarantine; `None`: some were.
    pub(super) fn wake_released(&mut self, stream: Option<&StreamId>) {
        let Some(stream) = stream else {
            return self.wake_all();
        };
        if self.executor.is_own(stream)
            && let Some(instance) = InstanceId::of(stream)
        {
            let until_then = Arc::new(self.executor.quiet.begin());
            self.queue.push(instance, until_then);
        }
    }

    /// Goes on with it; never ends while there is nothing to do.
    ///
    /// # Cancel safety
    /// Nothing is lost when it is dropped.
    pub(super) async fn go_on(&mut self) {
        let clock = Arc::clone(self.executor.runtime.clock());
        let now = clock.monotonic();
        while self.at_work.len() < WOKEN_AT_A_TIME
            && let Some(wake) = self.queue.pop(now)
        {
            let executor = Arc::clone(&self.executor);
            let waking = async move {
                let is_tried_again = executor.is_to_be_woken_again(&wake.instance).await;
                (wake, is_tried_again)
            };
            self.at_work.push(waking.boxed());
        }
        let has_room = self.at_work.len() < WOKEN_AT_A_TIME;
        let due = self.queue.next_due().filter(|_| has_room);
        let left = due.map(|due| due.saturating_duration_since(now));
        let found = async {
            match &mut self.finding {
                Some(finding) => finding.await,
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            (found, until_then) = found => {
                for instance in found {
                    self.queue.push(instance, Arc::clone(&until_then));
                }
                self.finding = None;
                if std::mem::take(&mut self.finds_again) {
                    self.wake_all();
                }
            }
            Some((wake, is_tried_again)) = self.at_work.next(), if !self.at_work.is_empty() => {
                if is_tried_again {
                    let wait = AGAIN.wait(wake.failures.saturating_add(1), self.executor.runtime.jitter());
                    self.queue.again(wake, clock.monotonic() + wait);
                }
            }
            () = clock.sleep(left.unwrap_or_default()), if left.is_some() => {}
        }
    }
}

impl<S: Saga> Executor<S> {
    /// The open instances that have something to carry out.
    async fn open_with_work(&self) -> Vec<InstanceId> {
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
            (self.is_own(&stream) && has_work)
                .then(|| InstanceId::of(&stream))
                .flatten()
        });
        with_work.collect()
    }

    /// Wakes an instance, and says whether it could not be for a reason that may pass.
    async fn is_to_be_woken_again(&self, instance: &InstanceId) -> bool {
        let options = SendOptions::default();
        let asked = self.tell(Patience::PLACE, instance, SagaCommand::Resume, options);
        match asked.await {
            Ok(()) => false,
            Err(AskError::Failed(error)) if error.is_retryable() => {
                tracing::debug!(saga = S::NAME, id = %instance.id, %error, "resumed later");
                true
            }
            Err(error) => {
                tracing::error!(saga = S::NAME, id = %instance.id, ?error, "not resumed");
                false
            }
        }
    }

    fn is_own(&self, stream: &StreamId) -> bool {
        stream.category() == self.handle.entity().category().as_str()
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
            // All sagas share the places of the timers, and a timer whose handler failed comes again.
            let options = SendOptions::default();
            let told = executor.ask_or_quarantine_for(Patience::PLACE, &instance, command, options);
            told.await.map(|_| ()).map_err(|error| format!("{error:?}"))
        }
        .boxed()
    }
}
