//! What a follower has under way: events that are taken, parked ones that are taken up, and what each comes to.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use chronicler_domain::GlobalPosition;
use chronicler_store::{Store, panic_text};
use futures::FutureExt;
use futures::future::{BoxFuture, Either, select};

use super::consumer::{Consumer, Plan, Trouble};
use super::ledger::Place;
use super::parked::ParkedEvent;
use super::read::event_at;
use crate::contain::contain;

/// An event on its way to one whom it concerns.
pub(super) struct Task<I> {
    pub(super) item: I,
    pub(super) position: GlobalPosition,
    pub(super) stream_key: Arc<str>,
    pub(super) origin: Origin,
}

/// Where a task comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// The log: its event is outstanding.
    Log,
    /// An event that was parked under its stream, and waits there until it is taken.
    Late,
    /// An event that stays parked, whatever becomes of this.
    Beside,
}

/// What became of something that was under way.
pub(super) enum Done<I> {
    /// The first `count` of these tasks were taken, and the next was not if there is a trouble.
    Taken {
        key: Arc<str>,
        tasks: Arc<Vec<Task<I>>>,
        count: usize,
        trouble: Option<Trouble>,
    },
    /// Of the parked events of a place these were taken, and then one was not.
    TakenUp {
        place: Place,
        taken: Vec<ParkedEvent>,
        failed: Option<(ParkedEvent, Trouble)>,
    },
    /// Whom an event concerns that was parked under its stream.
    Planned {
        place: Place,
        event: ParkedEvent,
        planned: Result<Plan<I>, Trouble>,
    },
    /// What is parked at a place is being tried for so long that others may have the place among what is under way.
    Slow {
        place: Place,
        trying: BoxFuture<'static, Done<I>>,
    },
}

impl Trouble {
    pub(super) fn reason(&self) -> &str {
        match self {
            Self::Passing(reason) | Self::Lasting(reason) => reason,
        }
    }

    /// Says it where operators look.
    pub(super) fn log(&self, follower: &str, key: &str, event: Option<&ParkedEvent>) {
        let position = event.map(|event| event.position.get());
        let tries = event.map(|event| event.tries);
        let reason = self.reason();
        match self {
            Self::Passing(_) => {
                tracing::warn!(
                    follower,
                    key,
                    position,
                    tries,
                    reason,
                    "an event is tried again later"
                );
            }
            Self::Lasting(_) => {
                tracing::error!(follower, key, position, tries, reason, "an event is parked");
            }
        }
    }
}

async fn take<C: Consumer>(consumer: &C, key: &Arc<str>, item: &C::Item) -> Result<(), Trouble> {
    let taking = async { consumer.take(key, item).await };
    let taken = AssertUnwindSafe(taking).catch_unwind().await;
    taken.unwrap_or_else(|panic| {
        let said = panic_text(panic.as_ref());
        Err(Trouble::Lasting(format!("it panicked: {said}")))
    })
}

pub(super) async fn take_in_order<C: Consumer>(
    consumer: Arc<C>,
    key: Arc<str>,
    tasks: Arc<Vec<Task<C::Item>>>,
) -> Done<C::Item> {
    let (mut count, mut trouble) = (0, None);
    for task in &*tasks {
        match take(&*consumer, &key, &task.item).await {
            Ok(()) => count += 1,
            Err(met) => {
                trouble = Some(met);
                break;
            }
        }
    }
    Done::Taken {
        key,
        tasks,
        count,
        trouble,
    }
}

/// Takes up parked events of one key, in order, up to the first that fails.
pub(super) async fn take_up<C: Consumer>(
    store: Arc<dyn Store>,
    consumer: Arc<C>,
    place: Place,
    events: Vec<ParkedEvent>,
) -> Done<C::Item> {
    let (mut taken, mut failed) = (Vec::new(), None);
    for event in events {
        let kept = event.item.as_deref().unwrap_or_default();
        let restored = again(&*store, event.position, |found| {
            consumer.restore(found, kept)
        });
        let done = match restored.await {
            Ok(item) => take(&*consumer, &event.key, &item).await,
            Err(trouble) => Err(trouble),
        };
        match done {
            Ok(()) => taken.push(event),
            Err(trouble) => {
                failed = Some((event, trouble));
                break;
            }
        }
    }
    Done::TakenUp {
        place,
        taken,
        failed,
    }
}

/// A try of what is parked, or that it is slow.
pub(super) async fn until_slow<I>(
    place: Place,
    trying: BoxFuture<'static, Done<I>>,
    slow: BoxFuture<'static, ()>,
) -> Done<I> {
    match select(trying, slow).await {
        Either::Left((done, _)) => done,
        Either::Right(((), trying)) => Done::Slow { place, trying },
    }
}

/// Asks again whom an event concerns that was parked under its stream.
pub(super) async fn plan_again<C: Consumer>(
    store: Arc<dyn Store>,
    consumer: Arc<C>,
    place: Place,
    event: ParkedEvent,
) -> Done<C::Item> {
    let plan = |found: &chronicler_store::EventRef<'_>| consumer.plan(found, true);
    let planned = again(&*store, event.position, plan).await;
    Done::Planned {
        place,
        event,
        planned,
    }
}

/// What is made of an event of the log that is read again.
async fn again<T>(
    store: &dyn Store,
    position: GlobalPosition,
    make: impl FnOnce(&chronicler_store::EventRef<'_>) -> Result<T, String>,
) -> Result<T, Trouble> {
    let made = event_at(store, position, |found| contain(|| make(found))).await;
    match made {
        Ok(Some(Ok(made))) => made.map_err(Trouble::Lasting),
        Ok(Some(Err(said))) => Err(Trouble::Lasting(format!("it panicked: {said}"))),
        Ok(None) => Err(Trouble::Lasting(format!(
            "the log has no event at position {position}"
        ))),
        Err(error) => Err(Trouble::Passing(error.to_string())),
    }
}
