//! A runtime over a store in memory, one kind of aggregate, and views of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use chronicler_domain::{
    Aggregate, AggregateId, Context, Decided, Decision, Event, GlobalPosition, Never, Tenant,
};
use chronicler_projections::{
    AfterRetries, EventInfo, FailurePolicy, Handlers, Projection, ProjectionOptions, Projections,
    ProjectionsBuilder, TableHandlers, TableProjection,
};
use chronicler_runtime::{ManualClock, Runtime, RuntimeBuilder, SendOptions};
use chronicler_store::{MemoryStore, Store};
use serde::{Deserialize, Serialize};

#[derive(Clone, Default, Serialize, Deserialize)]
pub(crate) struct Account;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum AccountEvent {
    Deposited { cents: i64 },
    Moved { to: String, cents: i64 },
    Closed,
}

impl Event for AccountEvent {}

impl Aggregate for Account {
    const CATEGORY: &'static str = "account";
    type Command = Vec<AccountEvent>;
    type Event = AccountEvent;
    type Reply = ();
    type Rejection = Never;

    fn decide(&self, command: Vec<AccountEvent>, _: &Context) -> Decided<Self> {
        Ok(Decision::events(command))
    }

    fn evolve(&mut self, _: &AccountEvent) {}
}

/// An aggregate that no view here takes.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(crate) struct Noise;

impl Aggregate for Noise {
    const CATEGORY: &'static str = "noise";
    type Command = Vec<AccountEvent>;
    type Event = AccountEvent;
    type Reply = ();
    type Rejection = Never;

    fn decide(&self, command: Vec<AccountEvent>, _: &Context) -> Decided<Self> {
        Ok(Decision::events(command))
    }

    fn evolve(&mut self, _: &AccountEvent) {}
}

/// Money by tenant and account, and what was folded in which order.
#[derive(Clone, Default)]
pub(crate) struct Balances {
    pub(crate) cents: BTreeMap<String, i64>,
    pub(crate) events: Vec<GlobalPosition>,
    pub(crate) trap: Trap,
}

impl Projection for Balances {
    const NAME: &'static str = "balances";

    fn define(on: &mut Handlers<Self>) {
        on.events::<Account>(|view, event, info| {
            view.events.push(info.position());
            let name = name(info);
            match event {
                AccountEvent::Deposited { cents } => {
                    *view.cents.entry(name).or_default() += cents;
                }
                AccountEvent::Moved { to, cents } => {
                    *view.cents.entry(name.clone()).or_default() -= cents;
                    view.trap.spring(info);
                    *view.cents.entry(to.clone()).or_default() += cents;
                }
                AccountEvent::Closed => {
                    view.cents.remove(&name);
                }
            }
        });
    }
}

/// The same as rows, with one for all deposits. Moving money to nobody is refused, halfway.
pub(crate) struct BalanceRows;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Balance {
    pub(crate) cents: i64,
    pub(crate) events: u64,
}

impl TableProjection for BalanceRows {
    const NAME: &'static str = "balance_rows";
    type Row = Balance;

    fn define(on: &mut TableHandlers<Self>) {
        on.try_events::<Account>(|table, event, info| {
            let name = name(info);
            match event {
                AccountEvent::Deposited { cents } => {
                    add(table, &name, *cents);
                    add(table, "total", *cents);
                }
                AccountEvent::Moved { to, cents } => {
                    add(table, &name, -cents);
                    if to == "nobody" {
                        return Err("nobody cannot be paid".into());
                    }
                    add(table, to, *cents);
                }
                AccountEvent::Closed => table.remove(&name),
            }
            Ok(())
        });
    }
}

fn add(table: &mut chronicler_projections::Table<Balance>, key: &str, cents: i64) {
    table.update(key, |row| {
        let row = row.unwrap_or(Balance {
            cents: 0,
            events: 0,
        });
        Some(Balance {
            cents: row.cents + cents,
            events: row.events + 1,
        })
    });
}

fn name(info: &EventInfo<'_>) -> String {
    match info.tenant() {
        "" => info.id().to_owned(),
        tenant => format!("{tenant}:{}", info.id()),
    }
}

/// Makes the handler panic at one position, so many times.
#[derive(Clone, Default)]
pub(crate) struct Trap {
    pub(crate) at: u64,
    pub(crate) times: Arc<AtomicU32>,
    pub(crate) sprung: Arc<AtomicU32>,
}

impl Trap {
    pub(crate) fn new(at: u64, times: u32) -> Self {
        Self {
            at,
            times: Arc::new(AtomicU32::new(times)),
            sprung: Arc::default(),
        }
    }

    fn spring(&self, info: &EventInfo<'_>) {
        if info.position().get() != self.at {
            return;
        }
        let left = self.times.load(Ordering::Acquire);
        if left > 0 {
            self.times.store(left - 1, Ordering::Release);
            self.sprung.fetch_add(1, Ordering::AcqRel);
            panic!("trapped at {}", info.position());
        }
    }
}

/// A runtime over a store, with a clock that stands still.
pub(crate) struct World {
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) clock: ManualClock,
    pub(crate) runtime: Runtime,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::over(Arc::new(MemoryStore::new())).await
    }

    /// A process that begins on what another one left behind.
    pub(crate) async fn over(store: Arc<MemoryStore>) -> Self {
        let clock = ManualClock::default();
        let runtime = RuntimeBuilder::new(store.clone() as Arc<dyn Store>)
            .clock(Arc::new(clock.clone()))
            .aggregate::<Account>()
            .aggregate::<Noise>()
            .build()
            .await
            .unwrap();
        Self {
            store,
            clock,
            runtime,
        }
    }

    pub(crate) async fn send(&self, id: &str, events: Vec<AccountEvent>) -> GlobalPosition {
        self.send_as(&Tenant::default(), id, events).await
    }

    pub(crate) async fn send_as(
        &self,
        tenant: &Tenant,
        id: &str,
        events: Vec<AccountEvent>,
    ) -> GlobalPosition {
        let id = AggregateId::new(id).unwrap();
        let options = SendOptions::default();
        let sent = self.runtime.send::<Account>(tenant, &id, events, options);
        sent.await.unwrap().position
    }

    pub(crate) async fn deposit(&self, id: &str, cents: i64) -> GlobalPosition {
        self.send(id, vec![AccountEvent::Deposited { cents }]).await
    }

    pub(crate) async fn noise(&self) -> GlobalPosition {
        let id = AggregateId::new("n").unwrap();
        let (tenant, events) = (Tenant::default(), vec![AccountEvent::Closed]);
        let options = SendOptions::default();
        let sent = self.runtime.send::<Noise>(&tenant, &id, events, options);
        sent.await.unwrap().position
    }

    pub(crate) async fn start(&self, builder: ProjectionsBuilder) -> Projections {
        builder.start(&self.runtime, |_| {}).await.unwrap()
    }

    /// Waits for a condition by letting everybody else run; never by time.
    pub(crate) async fn until(&self, mut holds: impl FnMut() -> bool) {
        while !holds() {
            tokio::task::yield_now().await;
        }
    }

    /// The same, turning the clock by a second each time it does not hold.
    pub(crate) async fn turn_until(&self, mut holds: impl FnMut() -> bool) {
        while !holds() {
            self.clock.advance(std::time::Duration::from_secs(1));
            tokio::task::yield_now().await;
        }
    }
}

pub(crate) fn moved(to: &str, cents: i64) -> Vec<AccountEvent> {
    let to = to.to_owned();
    vec![AccountEvent::Moved { to, cents }]
}

/// No retries, then this.
pub(crate) fn at_once(then: AfterRetries) -> ProjectionOptions {
    ProjectionOptions::new().failure(FailurePolicy::new(then).retries(0))
}
