//! Follows the log and brings events to the instances that they concern.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chronicler_domain::{AggregateId, GlobalPosition, StreamId, Tenant};
use chronicler_runtime::{
    Batch, DispatchError, SendOptions, SubscriptionOptions, WorkerContext, WorkerError,
};
use chronicler_store::codec::{CodecId, EventDecoder, PayloadCodec, decode, encode};
use chronicler_store::{Append, EventRef, FactKind, Filter, SideRecord};
use futures::stream::{self, StreamExt};

use crate::entity::CATEGORY_PREFIX;
use crate::executor::{AskError, Executor, Instance};
use crate::journal::{Entry, REPORTED};
use crate::routes::{EventInfo, Route, Routes};
use crate::saga::{RoutedEvent, Saga};
use crate::step::{Part, SagaCommand, said};

/// Positions after which the cursor is committed under load.
const CURSOR_EVERY: u64 = 4_096;
/// The quiet time after which it is committed in any case.
const CURSOR_IDLE: Duration = Duration::from_secs(1);

/// Brings events to instances of one saga type.
pub(crate) struct Router<S: Saga> {
    pub(crate) executor: Arc<Executor<S>>,
    pub(crate) routes: Arc<Routes<S>>,
    pub(crate) name: String,
}

/// One event on its way to one instance.
struct Delivered {
    command: SagaCommand,
    options: SendOptions,
}

/// What an event is read as and where each part goes, or why its routing failed.
type Routed = Result<Vec<(Route, RoutedEvent)>, String>;

impl<S: Saga> Router<S> {
    pub(crate) async fn run(self: Arc<Self>, context: WorkerContext) -> Result<(), WorkerError> {
        let wrong = |error: &dyn std::fmt::Display| WorkerError(error.to_string());
        let mut committed = self.cursor().await.map_err(|error| wrong(&error))?;
        let children = self.routes.children.iter();
        let children = children.map(|name| format!("{CATEGORY_PREFIX}{name}"));
        let filter = Filter {
            categories: self
                .routes
                .entries
                .keys()
                .cloned()
                .chain(children)
                .collect(),
            ..Filter::default()
        };
        let runtime = &self.executor.runtime;
        let mut subscription = runtime.subscribe(SubscriptionOptions {
            after: committed,
            filter,
        });
        let stopping = context.stopping();
        let quiet = &self.executor.quiet;
        quiet.routed(committed);
        loop {
            let clock = runtime.clock();
            let dirty = subscription.through() > committed;
            let batch = tokio::select! {
                biased;
                () = stopping.cancelled() => break,
                batch = subscription.next() => batch.map_err(|error| wrong(&error))?,
                () = clock.sleep(CURSOR_IDLE), if dirty => {
                    committed = subscription.through();
                    self.commit_cursor(committed).await.map_err(|error| wrong(&error))?;
                    continue;
                }
            };
            let through = batch.through;
            tokio::select! {
                biased;
                () = stopping.cancelled() => return Ok(()),
                delivered = self.deliver(batch) => delivered.map_err(WorkerError)?,
            }
            quiet.routed(through);
            if through.get() >= committed.get() + CURSOR_EVERY {
                committed = through;
                self.commit_cursor(committed)
                    .await
                    .map_err(|error| wrong(&error))?;
            }
        }
        let through = subscription.through();
        if through > committed {
            self.commit_cursor(through)
                .await
                .map_err(|error| wrong(&error))?;
        }
        Ok(())
    }

    /// Everything up to here was brought to its instances, and committed by them.
    async fn cursor(&self) -> Result<GlobalPosition, chronicler_store::ReadError> {
        let key = Bytes::copy_from_slice(self.name.as_bytes());
        let fact = self
            .executor
            .runtime
            .store()
            .fact(FactKind::CURSOR, key)
            .await?;
        let position = fact.and_then(|fact| decode(CodecId::BINCODE, &fact.value).ok());
        Ok(position.unwrap_or_default())
    }

    pub(crate) async fn commit_cursor(
        &self,
        position: GlobalPosition,
    ) -> Result<(), chronicler_store::AppendError> {
        let runtime = &self.executor.runtime;
        let key = Bytes::copy_from_slice(self.name.as_bytes());
        let value = encode(PayloadCodec::default(), &position).ok();
        let record = SideRecord::Fact {
            kind: FactKind::CURSOR,
            key,
            value,
        };
        let append = Append::new(runtime.new_id(), runtime.clock().now()).record(record);
        runtime.store().append(append).await.map(|_| ())
    }

    /// Brings a batch to its instances: many at a time, each in order. Ends when all have committed it.
    async fn deliver(&self, batch: Batch) -> Result<(), String> {
        let mut order = Order::default();
        for commit in &batch.commits {
            for event in commit.events() {
                if self.routes.is_of_a_child(event.part().category()) {
                    if let Some((parent, delivered)) = self.report(&event)
                        && let Some(waiting) = order.of(parent)
                    {
                        waiting.push(delivered);
                    }
                    continue;
                }
                let routed = match self.route(&event) {
                    Ok(routed) => routed,
                    Err(reason) => {
                        self.park(&event, &reason).await?;
                        continue;
                    }
                };
                let tenant = Tenant::try_from(event.part().tenant().to_owned()).unwrap_or_default();
                let of = u32::try_from(routed.len()).unwrap_or(u32::MAX);
                for (place, (route, input)) in (0..).zip(routed) {
                    for (id, delivery) in route.0 {
                        let Ok(id) = AggregateId::new(&id) else {
                            self.park(&event, &format!("{id:?} is no saga id")).await?;
                            continue;
                        };
                        let tenant = tenant.clone();
                        let part = Part {
                            place,
                            of,
                            delivery,
                            event: input.clone(),
                        };
                        order.push(Instance { tenant, id }, &event, part);
                    }
                }
            }
        }
        let deliveries =
            stream::iter(order.all.into_iter().map(|(instance, waiting)| async move {
                for delivered in waiting {
                    self.bring(&instance, delivered).await?;
                }
                Ok::<(), String>(())
            }));
        let mut deliveries = deliveries.buffer_unordered(self.executor.options.deliveries_max);
        // The others are brought in any case: what they decide is handed on by whoever brings them.
        let mut failed = Ok(());
        while let Some(delivered) = deliveries.next().await {
            failed = failed.and(delivered);
        }
        failed
    }

    async fn bring(&self, instance: &Instance, delivered: Delivered) -> Result<(), String> {
        let Delivered { command, options } = delivered;
        match self.executor.tell(instance, command, options).await {
            Ok(_) => Ok(()),
            // Its journal cannot be folded, and it was set aside as a whole: what comes for it is passed over. The others go on.
            Err(AskError::Failed(DispatchError::Quarantined { .. })) => Ok(()),
            Err(AskError::Refused(refusal)) => Err(refusal.to_string()),
            Err(AskError::Failed(error)) => Err(error.to_string()),
        }
    }

    /// What the end of a child says to the instance that began it, if that is one of this saga.
    fn report(&self, event: &EventRef<'_>) -> Option<(Instance, Delivered)> {
        if event.event_type() != REPORTED {
            return None;
        }
        let decoded = EventDecoder::<Entry>::new().decode(event).ok()?;
        let Some(Entry::Reported { parent, ending }) = decoded.into_iter().next() else {
            return None;
        };
        let stream = StreamId::from_key(&parent.stream)?;
        let own = stream.category().strip_prefix(CATEGORY_PREFIX)?;
        let instance = Instance::of(&stream).filter(|_| own == S::NAME)?;
        let effect = parent.effect;
        let command = SagaCommand::ChildEnded { effect, ending };
        let options = options_of(event, parent.depth);
        Some((instance, Delivered { command, options }))
    }

    pub(crate) fn route(&self, event: &EventRef<'_>) -> Routed {
        let Some(entry) = self.routes.entries.get(event.part().category()) else {
            return Ok(Vec::new());
        };
        let decoded = (entry.decode)(event).map_err(|error| error.to_string())?;
        let info = EventInfo {
            tenant: Tenant::try_from(event.part().tenant().to_owned()).unwrap_or_default(),
            id: event.part().id().to_owned(),
            version: event.version(),
            position: event.position(),
            timestamp: event.timestamp(),
        };
        let find = |input: RoutedEvent| {
            let found = catch_unwind(AssertUnwindSafe(|| (entry.find)(input.0.as_ref(), &info)));
            let route =
                found.map_err(|panic| format!("routing panicked: {}", said(panic.as_ref())))?;
            Ok((route, input))
        };
        decoded.into_iter().map(find).collect()
    }

    /// Sets an event aside that cannot be routed: it is journaled, and in nobody's way.
    async fn park(&self, event: &EventRef<'_>, reason: &str) -> Result<(), String> {
        let position = event.position();
        tracing::error!(saga = S::NAME, %position, reason, "event parked");
        let runtime = &self.executor.runtime;
        let mut key = self.name.as_bytes().to_vec();
        key.push(0);
        key.extend_from_slice(&position.get().to_be_bytes());
        let value = Some(Bytes::copy_from_slice(reason.as_bytes()));
        let record = SideRecord::Fact {
            kind: FactKind::PARKED,
            key: key.into(),
            value,
        };
        let append = Append::new(runtime.new_id(), runtime.clock().now()).record(record);
        runtime
            .store()
            .append(append)
            .await
            .map(|_| ())
            .map_err(|error| error.to_string())
    }
}

/// What waits to be brought, by instance.
#[derive(Default)]
struct Order {
    all: Vec<(Instance, Vec<Delivered>)>,
    places: HashMap<(Tenant, AggregateId), usize>,
}

impl Order {
    fn of(&mut self, instance: Instance) -> Option<&mut Vec<Delivered>> {
        let key = (instance.tenant.clone(), instance.id.clone());
        let place = *self.places.entry(key).or_insert(self.all.len());
        if place == self.all.len() {
            self.all.push((instance, Vec::new()));
        }
        self.all.get_mut(place).map(|(_, waiting)| waiting)
    }

    /// Adds a part of an event; those of one event go together, so that they are one commit.
    fn push(&mut self, instance: Instance, event: &EventRef<'_>, part: Part) {
        let position = event.position();
        let Some(waiting) = self.of(instance) else {
            return;
        };
        if let Some(SagaCommand::Deliver {
            position: last,
            parts,
        }) = waiting.last_mut().map(|last| &mut last.command)
            && *last == position
        {
            return parts.push(part);
        }
        let parts = vec![part];
        let command = SagaCommand::Deliver { position, parts };
        let options = options_of(event, event.commit().metadata().causation_depth);
        waiting.push(Delivered { command, options });
    }
}

fn options_of(event: &EventRef<'_>, depth: u16) -> SendOptions {
    let metadata = event.commit().metadata();
    SendOptions {
        correlation_id: Some(metadata.correlation_id),
        causation: Some((event.id(), depth)),
        principal: metadata.principal,
        ..SendOptions::default()
    }
}
