//! Routes: they say which events concern which instances.

use std::any::{Any, TypeId};
use std::collections::{HashMap, HashSet};
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use chronicler_domain::{Aggregate, GlobalPosition, StreamVersion, Tenant, Timestamp};
use chronicler_store::codec::{CodecError, EventDecoder};
use chronicler_store::{EventRef, panic_text};
use serde::{Deserialize, Serialize};

use crate::definition::input::RoutedEvent;
use crate::definition::saga::{CATEGORY_PREFIX, Saga};

/// The place of an event, for routing by more than its content.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EventOrigin {
    /// Whose data it is. Instances of another tenant cannot be reached.
    pub tenant: Tenant,
    /// The id of the aggregate that it happened to.
    pub id: String,
    /// Its place in its stream.
    pub version: StreamVersion,
    /// Its place in the log.
    pub position: GlobalPosition,
    /// When its commit was accepted.
    pub timestamp: Timestamp,
}

/// The way of an event: the instances that it goes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Route(pub(crate) Vec<(String, Delivery)>);

/// The delivery of an event: what is to happen if the instance is there, or is not.
///
/// The order of the variants is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Delivery {
    Start,
    Resume,
    StartOrResume,
}

impl Route {
    /// Nowhere.
    pub fn ignore() -> Self {
        Self::default()
    }

    /// Starts this instance. If it is there already, the event is passed over.
    pub fn start(id: impl Into<String>) -> Self {
        Self(vec![(id.into(), Delivery::Start)])
    }

    /// Goes to this instance. If it is not there, the event is passed over.
    pub fn resume(id: impl Into<String>) -> Self {
        Self(vec![(id.into(), Delivery::Resume)])
    }

    /// Goes to this instance, and starts it if it is not there.
    pub fn start_or_resume(id: impl Into<String>) -> Self {
        Self(vec![(id.into(), Delivery::StartOrResume)])
    }

    /// Goes to all of these, once to each: an instance that is started here and resumed there is started or resumed.
    pub fn each(routes: impl IntoIterator<Item = Self>) -> Self {
        let mut all: Vec<(String, Delivery)> = Vec::new();
        let mut places = HashMap::new();
        for (id, delivery) in routes.into_iter().flat_map(|route| route.0) {
            let place = *places.entry(id.clone()).or_insert(all.len());
            match all.get_mut(place) {
                Some((_, before)) if *before != delivery => *before = Delivery::StartOrResume,
                Some(_) => {}
                None => all.push((id, delivery)),
            }
        }
        Self(all)
    }
}

type Decode = dyn Fn(&EventRef<'_>) -> Result<Vec<RoutedEvent>, CodecError> + Send + Sync;
type Find = dyn Fn(&(dyn Any + Send + Sync), &EventOrigin) -> Route + Send + Sync;

pub(crate) struct Entry {
    /// The type of its events.
    pub(crate) of: TypeId,
    decode: Box<Decode>,
    pub(crate) find: Box<Find>,
}

impl Entry {
    /// What an event of the log is read as.
    ///
    /// # Errors
    /// When it cannot be decoded; a panic of the application's code over it is that, too.
    pub(crate) fn read(&self, event: &EventRef<'_>) -> Result<Vec<RoutedEvent>, CodecError> {
        let read = catch_unwind(AssertUnwindSafe(|| (self.decode)(event)));
        read.unwrap_or_else(|panic| {
            Err(CodecError::Undecodable {
                type_name: "an event for a saga",
                reason: format!(
                    "reading {} at position {} panicked: {}",
                    event.event_type(),
                    event.position(),
                    panic_text(panic.as_ref())
                ),
            })
        })
    }
}

/// The routes of one saga, by the category of the events.
pub struct Routes<S: ?Sized> {
    pub(crate) entries: HashMap<String, Entry>,
    /// The names of the sagas that it begins as children.
    pub(crate) children: HashSet<String>,
    /// Categories that were routed more than once.
    pub(crate) repeated: Vec<String>,
    saga: PhantomData<fn() -> S>,
}

impl<S: Saga> Routes<S> {
    pub(crate) fn of_saga() -> Self {
        let mut routes = Self {
            entries: HashMap::new(),
            children: HashSet::new(),
            repeated: Vec::new(),
            saga: PhantomData,
        };
        S::routes(&mut routes);
        routes
    }

    /// What an event of the log is read as, whatever the routes make of it.
    ///
    /// # Errors
    /// When its aggregate is not in the routes any more, or it cannot be decoded.
    pub(crate) fn read(&self, event: &EventRef<'_>) -> Result<Vec<RoutedEvent>, CodecError> {
        let category = event.part().category();
        let entry = self.entries.get(category);
        let entry = entry.ok_or_else(|| CodecError::Undecodable {
            type_name: "an event that waits for a saga",
            reason: format!(
                "the routes of {} do not name {category:?} any more: register them with it again, and retry",
                S::NAME
            ),
        })?;
        entry.read(event)
    }

    pub(crate) fn is_of_a_child(&self, category: &str) -> bool {
        let name = category.strip_prefix(CATEGORY_PREFIX);
        name.is_some_and(|name| self.children.contains(name))
    }

    /// Says that it begins instances of another saga as its children, and hears how they end.
    pub fn child<C: Saga>(&mut self) -> &mut Self {
        self.children.insert(C::NAME.to_owned());
        self
    }

    /// Says where the events of an aggregate type go, once for each type: an application that says it twice does not
    /// start. `find` must be pure; a panic in it parks the event.
    pub fn event<A: Aggregate>(
        &mut self,
        find: impl Fn(&A::Event, &EventOrigin) -> Route + Send + Sync + 'static,
    ) -> &mut Self {
        let decoder = EventDecoder::<A::Event>::new();
        let decode = move |event: &EventRef<'_>| {
            let decoded = decoder.decode(event)?.into_iter();
            Ok(decoded.map(|event| RoutedEvent(Arc::new(event))).collect())
        };
        let find = move |event: &(dyn Any + Send + Sync), info: &EventOrigin| {
            event
                .downcast_ref::<A::Event>()
                .map_or_else(Route::ignore, |event| find(event, info))
        };
        let entry = Entry {
            of: TypeId::of::<A::Event>(),
            decode: Box::new(decode),
            find: Box::new(find),
        };
        let before = self.entries.insert(A::CATEGORY.to_owned(), entry);
        if before.is_some() {
            self.repeated.push(A::CATEGORY.to_owned());
        }
        self
    }
}
