//! Says which events concern which instances, and brings them: what the follower of a saga type does.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use chronicler_domain::{AggregateId, GlobalPosition, StreamId, Tenant};
use chronicler_runtime::{Consumer, DispatchError, Entity, Plan, Planned, SendOptions, Trouble};
use chronicler_store::codec::{CodecId, EventDecoder, PayloadCodec, decode, encode};
use chronicler_store::{EventRef, Filter, StreamQuery, panic_text};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::definition::input::RoutedEvent;
use crate::definition::routes::{Delivery, EventOrigin, Route, Routes};
use crate::definition::saga::CATEGORY_PREFIX;
use crate::definition::saga::Saga;
use crate::execution::asking::{AskError, Patience};
use crate::execution::executor::Executor;
use crate::execution::quiet::UnderWay;
use crate::instance::entry::{CONSUMED, Entry, PARTS, REPORTED, STARTED};
use crate::instance::id::InstanceId;
use crate::instance::transition::command::{Part, SagaCommand};

/// Characters of what is no id that are shown.
const SHOWN_MAX: usize = 100;

/// Brings events to instances of one saga type.
pub(crate) struct Router<S: Saga> {
    pub(crate) executor: Arc<Executor<S>>,
    pub(crate) routes: Arc<Routes<S>>,
    /// While its follower tries again what it has parked.
    busy: Mutex<Option<UnderWay>>,
}

/// One event on its way to one instance.
pub(crate) struct RoutedInput {
    command: SagaCommand,
    options: SendOptions,
}

/// What is remembered of a part of an event that waits: the routes are not asked again for it. On disk.
#[derive(Serialize, Deserialize)]
struct StoredPart {
    place: u32,
    of: u32,
    delivery: Delivery,
}

/// What an event is read as and where each part goes, or why its routing failed.
type RouteResult = Result<Vec<(Route, RoutedEvent)>, String>;

/// What an instance was given of one event.
#[derive(Default)]
struct TakenParts {
    /// It is read as one event, and that was taken.
    whole: bool,
    places: Vec<u32>,
    /// The instance began with this part: what it goes on with and came before that was meant for nobody.
    began_with: Option<u32>,
}

impl TakenParts {
    /// Takes in a commit of the instance.
    fn add(&mut self, position: GlobalPosition, entries: &[Entry]) {
        let is_it =
            |entry: &Entry| matches!(entry, Entry::Consumed { position: at } if *at == position);
        if !entries.iter().any(is_it) {
            return;
        }
        let given = entries.iter().find_map(|entry| match entry {
            Entry::Parts { places, .. } => Some(places),
            _ => None,
        });
        let Some(places) = given else {
            self.whole = true;
            return;
        };
        self.places.extend(places);
        let begins = |entry: &Entry| matches!(entry, Entry::Started { .. });
        if entries.iter().any(begins) {
            self.began_with = places.first().copied();
        }
    }

    fn has(&self, part: &Part) -> bool {
        let came_too_early = part.delivery == Delivery::Resume
            && self.began_with.is_some_and(|first| part.place < first);
        self.whole || came_too_early || self.places.contains(&part.place)
    }
}

impl<S: Saga> Consumer for Router<S> {
    type Item = RoutedInput;

    fn plan(&self, event: &EventRef<'_>, is_late: bool) -> Result<Plan<RoutedInput>, String> {
        if self.routes.is_of_a_child(event.part().category()) {
            let planned = self.report(event)?.map(|(parent, item)| Planned {
                key: self.key(&parent),
                item,
            });
            return Ok(Plan::of(planned.into_iter().collect()));
        }
        let routed = self.route(event)?;
        let of = u32::try_from(routed.len()).unwrap_or(u32::MAX);
        let mut parts: Vec<(Arc<str>, Vec<Part>)> = Vec::new();
        // A route names an instance once; that of another part may name it again.
        let mut places: Option<HashMap<Arc<str>, usize>> = (of > 1).then(HashMap::new);
        let mut failed = None;
        for (place, (route, input)) in (0..).zip(routed) {
            for (id, delivery) in route.0 {
                let Ok(id) = AggregateId::new(&id) else {
                    let shown: String = id.chars().take(SHOWN_MAX).collect();
                    let reason = format!("{shown:?} is no saga id");
                    failed = Some((Arc::from(reason.as_str()), reason));
                    continue;
                };
                let tenant = tenant_of(event);
                let part = Part {
                    place,
                    of,
                    delivery,
                    event: input.clone(),
                };
                let key = self.key(&InstanceId { tenant, id });
                // Those of one instance go together, so that they are one commit.
                let next = parts.len();
                let place = places.as_mut().map_or(next, |places| {
                    *places.entry(Arc::clone(&key)).or_insert(next)
                });
                match parts.get_mut(place) {
                    Some((_, parts)) => parts.push(part),
                    None => parts.push((key, vec![part])),
                }
            }
        }
        let items = parts.into_iter().map(|(key, parts)| Planned {
            key,
            item: input_of(event, parts, is_late),
        });
        Ok(Plan {
            items: items.collect(),
            failed,
        })
    }

    fn keep(&self, item: &RoutedInput) -> Vec<u8> {
        let SagaCommand::Deliver { parts, is_late, .. } = &item.command else {
            return Vec::new();
        };
        let parts = parts.iter().map(|part| StoredPart {
            place: part.place,
            of: part.of,
            delivery: part.delivery,
        });
        let kept = (parts.collect::<Vec<_>>(), *is_late);
        // Numbers and variants can always be written.
        let kept = encode(PayloadCodec::Bincode, &kept);
        kept.map(|kept| kept.to_vec()).unwrap_or_default()
    }

    fn restore(&self, event: &EventRef<'_>, kept: &[u8]) -> Result<RoutedInput, String> {
        if kept.is_empty() {
            let report = self.report(event)?.map(|(_, item)| item);
            return report.ok_or_else(|| "it is the end of no child of this saga".to_owned());
        }
        let (kept, is_late): (Vec<StoredPart>, bool) =
            decode(CodecId::BINCODE, kept).map_err(|error| error.to_string())?;
        let read = self.routes.read(event).map_err(|error| error.to_string())?;
        let part = |kept: StoredPart| {
            let place = usize::try_from(kept.place).unwrap_or(usize::MAX);
            let event = read
                .get(place)
                .filter(|_| usize::try_from(kept.of) == Ok(read.len()));
            let event = event.cloned().ok_or_else(|| {
                format!(
                    "it was read as {} events when it came, and is read as {} now",
                    kept.of,
                    read.len()
                )
            })?;
            Ok(Part {
                place: kept.place,
                of: kept.of,
                delivery: kept.delivery,
                event,
            })
        };
        let parts: Result<_, String> = kept.into_iter().map(part).collect();
        Ok(input_of(event, parts?, is_late))
    }

    fn take<'a>(
        &'a self,
        key: &'a Arc<str>,
        item: &'a RoutedInput,
    ) -> BoxFuture<'a, Result<(), Trouble>> {
        async move {
            let stream = StreamId::from_key(key);
            let found = stream.and_then(|stream| Some((InstanceId::of(&stream)?, stream)));
            let Some((instance, stream)) = found else {
                return Err(Trouble::Lasting("it has no instance".to_owned()));
            };
            let RoutedInput { command, options } = item;
            let (mut command, options) = (command.clone(), options.clone());
            // Whatever lasts longer than a moment the follower tries again, and others have the place until then.
            let mut patience = Patience::MOMENT;
            if let SagaCommand::Deliver {
                position,
                parts,
                is_late: true,
            } = &mut command
            {
                // What an earlier run of the follower brought may still wait at the instance, or for the log: a look is
                // answered after that, when it is durable.
                let looked = self.executor.look(Patience::MOMENT, &instance, |_, _| ());
                looked.await.map_err(trouble_of)?;
                // Its state does not know each event that it ever took, and its stream does.
                let taken = self.taken(&stream, *position).await;
                let taken = taken.map_err(|error| Trouble::Passing(error.to_string()))?;
                parts.retain(|part| !taken.has(part));
                if parts.is_empty() {
                    return Ok(());
                }
                // Nor which parts of it: whoever tries again asks the stream again.
                if parts.iter().any(|part| part.of > 1) {
                    patience = Patience::ONCE;
                }
            }
            let told = self.executor.tell(patience, &instance, command, options);
            told.await.map_err(trouble_of)
        }
        .boxed()
    }

    fn can_take(&self, key: &str) -> bool {
        let stream = StreamId::from_key(key);
        stream.is_none_or(|stream| !self.executor.runtime.is_quarantined(&stream))
    }

    fn progressed(&self, through: GlobalPosition, is_busy: bool) {
        // What is about to be tried again without a person is under way.
        let mut busy = self.busy.lock();
        match is_busy {
            true => _ = busy.get_or_insert_with(|| self.executor.quiet.begin()),
            false => *busy = None,
        }
        self.executor.quiet.routed(through);
    }
}

impl<S: Saga> Router<S> {
    pub(crate) fn new(executor: Arc<Executor<S>>, routes: Arc<Routes<S>>) -> Self {
        Self {
            executor,
            routes,
            busy: Mutex::default(),
        }
    }

    /// What the stream of an instance says that it was given of the event at a position.
    async fn taken(
        &self,
        stream: &StreamId,
        position: GlobalPosition,
    ) -> Result<TakenParts, DispatchError> {
        let query = StreamQuery::new(stream.clone());
        let mut commits = self.executor.runtime.store().read_stream(query);
        let decoder = EventDecoder::<Entry>::new();
        let mut taken = TakenParts::default();
        while let Some(batch) = commits.next().await {
            for commit in batch? {
                let mut entries = Vec::new();
                let told =
                    |event: &EventRef<'_>| [CONSUMED, PARTS, STARTED].contains(&event.event_type());
                for event in commit.events().filter(told) {
                    entries.extend(decoder.decode(&event)?);
                }
                taken.add(position, &entries);
            }
        }
        Ok(taken)
    }

    /// The events that may concern instances.
    pub(crate) fn filter(&self) -> Filter {
        let children = self.routes.children.iter();
        let children = children.map(|name| format!("{CATEGORY_PREFIX}{name}"));
        Filter {
            categories: self
                .routes
                .entries
                .keys()
                .cloned()
                .chain(children)
                .collect(),
            ..Filter::default()
        }
    }

    /// The key of an instance's events: its stream.
    fn key(&self, instance: &InstanceId) -> Arc<str> {
        let category = self.executor.handle.entity().category();
        StreamId::new(&instance.tenant, category, &instance.id)
            .key()
            .into()
    }

    /// What the end of a child says to the instance that began it, if that is one of this saga.
    fn report(&self, event: &EventRef<'_>) -> Result<Option<(InstanceId, RoutedInput)>, String> {
        if event.event_type() != REPORTED {
            return Ok(None);
        }
        let decoded = EventDecoder::<Entry>::new().decode(event);
        let decoded = decoded.map_err(|error| error.to_string())?;
        let Some(Entry::Reported { parent, ending }) = decoded.into_iter().next() else {
            return Ok(None);
        };
        let stream = StreamId::from_key(&parent.stream);
        let own =
            |stream: &StreamId| stream.category().strip_prefix(CATEGORY_PREFIX) == Some(S::NAME);
        let Some(instance) = stream.filter(own).as_ref().and_then(InstanceId::of) else {
            return Ok(None);
        };
        let effect = parent.effect;
        let command = SagaCommand::ChildEnded { effect, ending };
        let options = options_of(event, parent.depth);
        Ok(Some((instance, RoutedInput { command, options })))
    }

    fn route(&self, event: &EventRef<'_>) -> RouteResult {
        let Some(entry) = self.routes.entries.get(event.part().category()) else {
            return Ok(Vec::new());
        };
        let decoded = entry.read(event).map_err(|error| error.to_string())?;
        let info = EventOrigin {
            tenant: tenant_of(event),
            id: event.part().id().to_owned(),
            version: event.version(),
            position: event.position(),
            timestamp: event.timestamp(),
        };
        let find = |input: RoutedEvent| {
            let found = catch_unwind(AssertUnwindSafe(|| (entry.find)(input.0.as_ref(), &info)));
            let route = found
                .map_err(|panic| format!("routing panicked: {}", panic_text(panic.as_ref())))?;
            Ok((route, input))
        };
        decoded.into_iter().map(find).collect()
    }
}

/// What keeps an instance from taking an event.
fn trouble_of(error: AskError) -> Trouble {
    match error {
        AskError::Refused(refusal) => Trouble::Lasting(refusal.to_string()),
        AskError::Failed(DispatchError::Quarantined { reason, .. }) => {
            Trouble::Lasting(format!("its instance is quarantined: {reason}"))
        }
        AskError::Failed(error) if error.is_retryable() => Trouble::Passing(error.to_string()),
        AskError::Failed(DispatchError::Stopped) => {
            Trouble::Passing("the application stops".to_owned())
        }
        AskError::Failed(error) => Trouble::Lasting(error.to_string()),
    }
}

fn tenant_of(event: &EventRef<'_>) -> Tenant {
    Tenant::try_from(event.part().tenant().to_owned()).unwrap_or_default()
}

fn input_of(event: &EventRef<'_>, parts: Vec<Part>, is_late: bool) -> RoutedInput {
    let command = SagaCommand::Deliver {
        position: event.position(),
        parts,
        is_late,
    };
    let options = options_of(event, event.commit().metadata().causation_depth);
    RoutedInput { command, options }
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
