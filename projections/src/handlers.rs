//! Which events a projection takes, and what it does with each.

use chronicler_domain::{Aggregate, Event};
use chronicler_store::codec::{EventDecoder, check_events, event_types};
use chronicler_store::{EventRef, Filter};

use crate::event_info::EventInfo;
use crate::failure::FailureReason;

/// What a handler that may refuse answers with; made from any error or text with `?` or `into()`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused(String);

impl<T: std::fmt::Display> From<T> for Refused {
    fn from(reason: T) -> Self {
        Self(reason.to_string())
    }
}

/// The handlers of one projection, by category; filled in its `define`.
///
/// Handlers are pure: they see the view, the event and what is known about it, and change only the view. They
/// may be run again for the same event (after a crash, a failure or for a rebuild), on a view that does not
/// hold that event yet, and must then do the same.
pub struct Handlers<V> {
    by_category: Vec<Category<V>>,
    problems: Vec<String>,
}

struct Category<V> {
    name: Box<str>,
    handler: Box<dyn Handle<V>>,
}

impl<V: 'static> Handlers<V> {
    pub(crate) fn new() -> Self {
        Self {
            by_category: Vec::new(),
            problems: Vec::new(),
        }
    }

    /// Takes every event of an aggregate, whatever its tenant. One handler for each category.
    pub fn events<A: Aggregate>(
        &mut self,
        handler: impl Fn(&mut V, &A::Event, &EventInfo<'_>) + Send + Sync + 'static,
    ) -> &mut Self {
        self.try_events::<A>(move |view, event, info| {
            handler(view, event, info);
            Ok(())
        })
    }

    /// The same with a handler that may refuse an event, which is then retried and set aside as the
    /// projection's failure policy says.
    pub fn try_events<A: Aggregate>(
        &mut self,
        handler: impl Fn(&mut V, &A::Event, &EventInfo<'_>) -> Result<(), Refused>
        + Send
        + Sync
        + 'static,
    ) -> &mut Self {
        self.define::<A::Event>(A::CATEGORY, None, handler)
    }

    /// Handles a category that no aggregate stands for, such as the history of a saga: `saga:` and its name. What the
    /// executor of sagas enters there for itself, under types that begin with `$`, is passed over, but for types that `E` has.
    pub fn category<E: Event>(
        &mut self,
        category: &str,
        handler: impl Fn(&mut V, &E, &EventInfo<'_>) -> Result<(), Refused> + Send + Sync + 'static,
    ) -> &mut Self {
        self.define::<E>(category, Some(event_types::<E>()), handler)
    }

    /// `types`: those that are taken of the types that are the executor's.
    fn define<E: Event>(
        &mut self,
        category: &str,
        types: Option<Vec<&'static str>>,
        handler: impl Fn(&mut V, &E, &EventInfo<'_>) -> Result<(), Refused> + Send + Sync + 'static,
    ) -> &mut Self {
        if self.find(category).is_some() {
            self.problems
                .push(format!("category {category:?} has two handlers: keep one"));
            return self;
        }
        if let Err(wrong) = check_events::<E>() {
            self.problems.extend(wrong);
        }
        self.by_category.push(Category {
            name: category.into(),
            handler: Box::new(Typed {
                decoder: EventDecoder::<E>::new(),
                types,
                handler,
            }),
        });
        self
    }

    /// The handler of a category. A projection has few of them, so looking at each name in turn is quicker
    /// than hashing one.
    pub(crate) fn find(&self, category: &str) -> Option<&dyn Handle<V>> {
        let found = self.by_category.iter().find(|c| &*c.name == category);
        found.map(|category| &*category.handler)
    }

    /// Which commits have something for this projection.
    pub(crate) fn filter(&self) -> Filter {
        let names = self.by_category.iter().map(|c| c.name.to_string());
        Filter {
            categories: names.collect(),
            ..Filter::default()
        }
    }

    /// What is wrong with the definition, one sentence each.
    pub(crate) fn problems(&self) -> Vec<String> {
        let mut problems = self.problems.clone();
        if self.by_category.is_empty() {
            problems.push("it takes no events: define at least one handler".to_owned());
        }
        problems
    }
}

/// A handler with the type of its events taken away.
pub(crate) trait Handle<V>: Send + Sync {
    /// Decodes an event and hands it on. May panic if the application's handler does.
    fn handle(&self, view: &mut V, event: &EventRef<'_>) -> Result<(), FailureReason>;
}

/// The executor of sagas begins the types of its own entries with this.
const EXECUTORS: char = '$';

struct Typed<E, F> {
    decoder: EventDecoder<E>,
    types: Option<Vec<&'static str>>,
    handler: F,
}

impl<V, E, F> Handle<V> for Typed<E, F>
where
    E: Event,
    F: Fn(&mut V, &E, &EventInfo<'_>) -> Result<(), Refused> + Send + Sync,
{
    fn handle(&self, view: &mut V, event: &EventRef<'_>) -> Result<(), FailureReason> {
        if let Some(types) = &self.types {
            let name = event.event_type();
            if name.starts_with(EXECUTORS) && !types.contains(&name) {
                return Ok(());
            }
        }
        let decoded = self.decoder.decode(event);
        let decoded = decoded.map_err(|error| FailureReason::undecodable(&error.to_string()))?;
        for one in decoded {
            let handled = (self.handler)(view, &one, &EventInfo::new(event));
            handled.map_err(|Refused(reason)| FailureReason::refused(&reason))?;
        }
        Ok(())
    }
}
