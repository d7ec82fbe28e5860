//! Carries out what sagas decided, after it is durable, and tells them how it went.

use std::collections::{HashMap, HashSet};
use std::slice;
use std::sync::Arc;

use chronicler_runtime::{EntityHandle, Runtime, WorkerContext, WorkerError};
use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use parking_lot::Mutex;

use crate::definition::external::ExternalService;
use crate::definition::routes::Routes;
use crate::definition::saga::Saga;
use crate::execution::asking::Patience;
use crate::execution::backlog::{Backlog, CommittedWork};
use crate::execution::child::ChildHosts;
use crate::execution::child_places::ChildPlaces;
use crate::execution::circuit::Circuits;
use crate::execution::entity::SagaEntity;
use crate::execution::options::SagaOptions;
use crate::execution::places::{Places, Seat};
use crate::execution::quiet::{Quiet, UnderWay};
use crate::execution::resources::Resources;
use crate::execution::resuming::Waking;
use crate::execution::turns::Turns;

/// The services that sagas call, by name.
pub(crate) type Services = Arc<HashMap<String, Arc<dyn ExternalService>>>;

/// What the executors of all saga types share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) services: Services,
    pub(crate) circuits: Arc<Circuits>,
    pub(crate) resources: Arc<Resources>,
    pub(crate) hosts: Arc<ChildHosts>,
    pub(crate) child_places: ChildPlaces,
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
    /// For decisions whose effects are at work.
    pub(crate) places: Places,
    pub(crate) routes: Arc<Routes<S>>,
    /// From the beginning until what was left open is under way.
    pub(super) starting: Mutex<Option<UnderWay>>,
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
            places: Places::new(options.under_way_max),
            routes,
            starting: Mutex::new(Some(quiet.begin())),
            quiet,
        }
    }

    pub(super) fn backlog(&self) -> &Backlog {
        self.handle.entity().backlog()
    }

    /// The worker: takes up what was left open, then whatever is decided.
    pub(crate) async fn run(self: Arc<Self>, context: WorkerContext) -> Result<(), WorkerError> {
        let stopping = context.stopping();
        let mut under_way: FuturesUnordered<BoxFuture<'static, ()>> = FuturesUnordered::new();
        let mut released = self.runtime.releases();
        // Not counted among what is under way: a place for what was decided is never taken by what waits for one.
        let mut waking = Waking::new(&self);
        waking.wake_all();
        drop(self.starting.lock().take());
        let decided = self.decided();
        tokio::pin!(decided);
        loop {
            // In this order: what has ended makes room before more is begun, and what an earlier life left open comes before
            // what is decided now.
            tokio::select! {
                biased;
                () = stopping.cancelled() => break,
                Some(()) = under_way.next(), if !under_way.is_empty() => {}
                // What it had under way when it was quarantined is taken up.
                released = released.recv() => waking.wake_released(released.ok().as_ref()),
                () = waking.go_on() => {}
                (next, seat, holds) = &mut decided => {
                    if let Some(due) = next.work.armed {
                        self.runtime.timers().notice(due);
                    }
                    under_way.push(Arc::clone(&self).drive(next, seat, holds).boxed());
                    decided.set(self.decided());
                }
            }
        }
        // What waits is in the streams, too.
        self.backlog().close();
        Ok(())
    }

    /// The decision that waits longest, when there is a place for it, and how many turns had been held before it was taken.
    async fn decided(&self) -> (CommittedWork, Seat, u64) {
        // Nobody else takes from the backlog: a place is not kept while there is nothing to do.
        self.backlog().some().await;
        let seat = match self.places.take_now() {
            Some(seat) => seat,
            None => {
                let seat = self.places.take().await;
                self.backlog().had_to_wait();
                seat
            }
        };
        let holds = self.turns.holds();
        (self.backlog().next().await, seat, holds)
    }

    /// Carries out what one decision asks for.
    async fn drive(self: Arc<Self>, decided: CommittedWork, seat: Seat, holds: u64) {
        let CommittedWork {
            instance,
            work,
            sequence,
            had_to_wait,
            under_way,
        } = decided;
        let mut place = seat.at_work();
        seat.is_under_way(under_way);
        let (own, asked, has_inputs) = (&self, &instance, work.takes_up);
        let takes_up = async move {
            if !has_inputs {
                return;
            }
            let taking = own.take_up(asked, Patience::ENDLESS);
            if let Err(error) = own.leaving(slice::from_mut(&mut place), taking).await {
                tracing::warn!(saga = S::NAME, id = %asked.id, ?error, "inputs still wait");
            }
        };
        futures::join!(
            self.carry_out_all(&instance, work.tasks, sequence, had_to_wait, holds, &seat),
            takes_up,
        );
    }
}
