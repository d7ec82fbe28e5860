//! An operator in the middle: instances are paused, resumed, migrated, forked, quarantined by a bad release and released
//! by a good one, while the process dies at any of its writes.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;

use chronicler::App;
use chronicler::domain::{AggregateId, Category, StreamId, Tenant};
use chronicler::sagas::{Ending, SagaStatus, SagaVerb};
use chronicler::store::MemoryStore;
use chronicler_testkit::{ManualClock, crash_at_every_write};
use futures::future::{self, Either};

use tokio::task::JoinSet;

use super::{a_while, in_time, turns};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Release {
    First,
    Bad,
    Mended,
}

const ANN: &str = "ann";
/// Is paused before it has done anything, resumed under the bad release, and released from quarantine.
const PAUSED: &str = "paused";
/// Is migrated as often as it lets itself be.
const MIGRATED: &str = "migrated";
/// Has ended when it is forked before its last effect.
const FORKED: &str = "forked";
/// Begins under the bad release.
const LATE: &str = "late";
/// Those that are requested; the fork of one of them is none.
pub(crate) const REQUESTED: [&str; 4] = [PAUSED, MIGRATED, FORKED, LATE];
/// The id of the fork.
const AGAIN: &str = "again";

/// An example whose sagas are operated.
pub(crate) trait Operated: Default {
    /// The saga's name.
    const SAGA: &'static str;
    /// Its last effect, which changes nothing when it is sent again.
    const LAST: &'static str;

    /// The verbs that are carried out in most lives: an instance is then in a state for them.
    const VERBS: &'static [&'static str] = &["pause", "resume", "fork", "release"];

    /// Starts the release that works, or one whose saga takes no input. `None` of a dead store.
    async fn start(&self, store: Arc<MemoryStore>, clock: &ManualClock, good: bool) -> Option<App>;

    /// Has each of these begun, once however often it is asked.
    async fn request(&self, app: &App, ids: &[&str]);

    /// Says what instances wait for, if they do.
    async fn see_to(&self, app: &App) {
        let _ = app;
    }

    /// What must hold in the end.
    async fn ended_well(&self, app: &App);
}

/// How often each verb was carried out, in all lives.
type Counts = BTreeMap<&'static str, u32>;

struct Operator<'a> {
    app: &'a App,
    saga: &'static str,
    counts: &'a RefCell<Counts>,
}

impl<'a> Operator<'a> {
    fn of<E: Operated>(app: &'a App, counts: &'a RefCell<Counts>) -> Self {
        let saga = E::SAGA;
        Self { app, saga, counts }
    }

    async fn order(&self, id: &str, verb: SagaVerb) {
        let name = verb.name();
        self.count(name, order(self.app, self.saga, id, verb).await);
    }

    /// Gives an order at many moments of a life, whatever has just happened then. Each moment is a task, because a test's
    /// own future is polled only once for many polls of tasks.
    fn at_any_moment(&self, id: &'static str, verb: SagaVerb) -> JoinSet<(&'static str, bool)> {
        (0..40)
            .map(|moment| {
                let (app, saga, verb) = (self.app.clone(), self.saga, verb.clone());
                async move {
                    turns(moment).await;
                    let name = verb.name();
                    (name, order(&app, saga, id, verb).await)
                }
            })
            .collect()
    }

    async fn fork(&self, before: &str) {
        let (before, id) = (before.to_owned(), AGAIN.to_owned());
        self.order(FORKED, SagaVerb::Fork { before, id }).await;
    }

    async fn release_all(&self) {
        let Ok(quarantined) = self.app.sagas().quarantined().await else {
            return;
        };
        for one in quarantined {
            let released = self.app.sagas().release(&one.stream, ANN);
            let released = answered(released).await;
            self.count("release", matches!(released, Some(Ok(Some(true)))));
        }
    }

    fn count_any(&self, orders: Vec<(&'static str, bool)>) {
        let is_taken = orders.iter().any(|(_, is_taken)| *is_taken);
        if let Some((verb, _)) = orders.first() {
            self.count(verb, is_taken);
        }
    }

    fn count(&self, verb: &'static str, is_taken: bool) {
        *self.counts.borrow_mut().entry(verb).or_default() += u32::from(is_taken);
    }
}

/// Gives an order. True if it was taken.
async fn order(app: &App, saga: &str, id: &str, verb: SagaVerb) -> bool {
    let order = verb.by(ANN, "to see what becomes of it");
    let stream = stream(saga, id);
    let answer = answered(app.sagas().operate(&stream, order)).await;
    matches!(answer, Some(Ok(Some(_))))
}

/// What is answered before nothing moves any more: of the dead nobody answers.
async fn answered<T>(asked: impl Future<Output = T>) -> Option<T> {
    match future::select(pin!(asked), pin!(a_while())).await {
        Either::Left((answer, _)) => Some(answer),
        Either::Right(_) => None,
    }
}

fn stream(saga: &str, id: &str) -> StreamId {
    let category = Category::new(format!("saga:{saga}")).unwrap();
    StreamId::new(
        &Tenant::default(),
        &category,
        &AggregateId::new(id).unwrap(),
    )
}

/// Lives through the whole of it, killed before and after each write, and again without a kill at the end. It prints
/// how many writes there were, and how often each verb was carried out.
pub(crate) async fn operated_at_every_write<E: Operated>() {
    let counts = RefCell::new(Counts::new());
    // What is outside the application outlives it, and is another for each kill.
    let example = RefCell::new(Arc::new(E::default()));
    let writes = crash_at_every_write(
        async |store| {
            let own = Arc::new(E::default());
            *example.borrow_mut() = Arc::clone(&own);
            let clock = ManualClock::default();
            in_time(&clock, live(own.as_ref(), &store, &clock, &counts)).await;
        },
        async |survivor| {
            let own = Arc::clone(&example.borrow());
            let clock = ManualClock::default();
            in_time(&clock, end_well(own.as_ref(), survivor, &clock, &counts)).await;
        },
    )
    .await;
    let counts = counts.into_inner();
    println!(
        "killed at each of {writes} writes, before and after, while it was operated: {counts:?}"
    );
    for verb in E::VERBS {
        let times = counts.get(verb).copied().unwrap_or_default();
        assert!(u64::from(times) > writes / 2, "{verb}: {counts:?}");
    }
}

/// Three releases, one after the other: a good one, a bad one, a good one. A dead store ends it.
async fn live<E: Operated>(
    example: &E,
    store: &Arc<MemoryStore>,
    clock: &ManualClock,
    counts: &RefCell<Counts>,
) {
    for release in [Release::First, Release::Bad, Release::Mended] {
        let good = release != Release::Bad;
        let Some(app) = example.start(Arc::clone(store), clock, good).await else {
            return;
        };
        let operator = Operator::of::<E>(&app, counts);
        match release {
            Release::First => {
                // While they are being begun.
                let paused = operator.at_any_moment(PAUSED, SagaVerb::Pause);
                let migrated = operator.at_any_moment(MIGRATED, SagaVerb::Migrate);
                example.request(&app, &[PAUSED, MIGRATED, FORKED]).await;
                for orders in [paused, migrated] {
                    operator.count_any(orders.join_all().await);
                }
                a_while().await;
                operator.order(MIGRATED, SagaVerb::Migrate).await;
                operator.fork(E::LAST).await;
                example.see_to(&app).await;
            }
            Release::Bad => {
                example.request(&app, &[LATE]).await;
                operator.order(PAUSED, SagaVerb::Resume).await;
            }
            Release::Mended => operator.release_all().await,
        }
        a_while().await;
        app.sagas().stop().await;
    }
}

/// Starts again on what was left, operates what was not, and sees that everything ended as it should.
async fn end_well<E: Operated>(
    example: &E,
    survivor: Arc<MemoryStore>,
    clock: &ManualClock,
    counts: &RefCell<Counts>,
) {
    let app = example.start(survivor, clock, true).await.unwrap();
    let operator = Operator::of::<E>(&app, counts);
    example.request(&app, &REQUESTED).await;
    operator.release_all().await;
    operator.order(PAUSED, SagaVerb::Resume).await;
    app.settled().await;
    example.see_to(&app).await;
    app.settled().await;
    operator.fork(E::LAST).await;
    app.settled().await;
    let open = app.sagas().list().await.unwrap();
    assert!(open.is_empty(), "{open:?}");
    let fork = app.sagas().show(&stream(E::SAGA, AGAIN)).await;
    let fork = fork.unwrap().unwrap().status;
    assert_eq!(
        fork,
        SagaStatus::Ended {
            how: Ending::Completed
        },
        "the fork"
    );
    example.ended_well(&app).await;
    app.stop().await;
}
