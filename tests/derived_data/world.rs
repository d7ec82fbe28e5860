//! An order process small enough to see through, with something of everything that a data directory holds.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chronicler::AppBuilder;
use chronicler::prelude::*;
use chronicler::projections::{AfterRetries, FailurePolicy, FlushPolicy, ProjectionOptions};
use chronicler::runtime::{Clock, ManualClock, RuntimeOptions, SnapshotPolicy};
use chronicler::sagas::SagaOptions;
use chronicler::store::codec::{CodecId, decode};
use chronicler::store::journal::JournalOptions;
use futures::FutureExt;
use futures::future::{BoxFuture, ready};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// What an order waits for before the saga gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(900);
/// The note on an order that its projection cannot take.
pub(crate) const UNFOLDABLE: &str = "unfoldable";

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Order {
    notes: Vec<String>,
    is_confirmed: bool,
    is_rejected: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum OrderCommand {
    Place,
    Note(String),
    Confirm,
    Reject,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum OrderEvent {
    Placed,
    Noted(String),
    Confirmed,
    Rejected,
}

impl Event for OrderEvent {}

impl Aggregate for Order {
    const CATEGORY: &'static str = "order";
    type Command = OrderCommand;
    type Event = OrderEvent;
    type Reply = usize;
    type Rejection = Never;

    fn decide(&self, command: OrderCommand, _: &Context) -> Decided<Self> {
        let event = match command {
            OrderCommand::Place => OrderEvent::Placed,
            OrderCommand::Note(note) => OrderEvent::Noted(note),
            OrderCommand::Confirm => OrderEvent::Confirmed,
            OrderCommand::Reject => OrderEvent::Rejected,
        };
        Ok(Decision::event(event).reply(self.notes.len()))
    }

    fn evolve(&mut self, event: &OrderEvent) {
        match event {
            OrderEvent::Placed => {}
            OrderEvent::Noted(note) => self.notes.push(note.clone()),
            OrderEvent::Confirmed => self.is_confirmed = true,
            OrderEvent::Rejected => self.is_rejected = true,
        }
    }
}

/// Counts what sagas made it do, so that nothing can happen twice unseen.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Stock {
    reserved: BTreeMap<String, u32>,
    released: BTreeMap<String, u32>,
    is_closed: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum StockCommand {
    Reserve(String),
    Release(String),
    Close(bool),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum StockEvent {
    Reserved(String),
    Released(String),
    Closed(bool),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[error("the warehouse is closed")]
pub(crate) struct Closed;

impl Event for StockEvent {}

impl Aggregate for Stock {
    const CATEGORY: &'static str = "stock";
    type Command = StockCommand;
    type Event = StockEvent;
    type Reply = ();
    type Rejection = Closed;

    fn decide(&self, command: StockCommand, _: &Context) -> Decided<Self> {
        match command {
            StockCommand::Reserve(order) => Ok(StockEvent::Reserved(order).into()),
            StockCommand::Release(_) if self.is_closed => Err(Closed),
            StockCommand::Release(order) => Ok(StockEvent::Released(order).into()),
            StockCommand::Close(is_closed) => Ok(StockEvent::Closed(is_closed).into()),
        }
    }

    fn evolve(&mut self, event: &StockEvent) {
        match event {
            StockEvent::Reserved(order) => *self.reserved.entry(order.clone()).or_default() += 1,
            StockEvent::Released(order) => *self.released.entry(order.clone()).or_default() += 1,
            StockEvent::Closed(is_closed) => self.is_closed = *is_closed,
        }
    }
}

/// An aggregate whose code is broken in one release, and mended in the next.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Fragile<const IS_BROKEN: bool> {
    pokes: u32,
}

/// As it is mended.
pub(crate) type Mended = Fragile<false>;
/// As it cannot be recovered.
pub(crate) type Broken = Fragile<true>;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Poke {
    Gently,
    /// Cannot be decided before it was poked gently.
    Hard,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Poked;

impl Event for Poked {}

impl<const IS_BROKEN: bool> Aggregate for Fragile<IS_BROKEN> {
    const CATEGORY: &'static str = "fragile";
    type Command = Poke;
    type Event = Poked;
    type Reply = u32;
    type Rejection = Never;

    fn decide(&self, poke: Poke, _: &Context) -> Decided<Self> {
        let is_too_much = self.pokes == 0 && matches!(poke, Poke::Hard);
        assert!(!is_too_much, "it cannot be decided");
        Ok(Decision::event(Poked).reply(self.pokes + 1))
    }

    fn evolve(&mut self, _: &Poked) {
        assert!(!IS_BROKEN, "this release cannot apply it");
        self.pokes += 1;
    }
}

/// A gateway that acts once for each idempotency key, and writes down every call.
#[derive(Clone, Default)]
pub(crate) struct Gateway {
    books: Arc<Mutex<Books>>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Books {
    /// Calls by order, repeated ones included.
    pub(crate) calls: BTreeMap<String, u32>,
    /// Charges by order: one for each key.
    pub(crate) charges: BTreeMap<String, u32>,
    keys: BTreeMap<Uuid, String>,
}

impl Gateway {
    /// A gateway that remembers what another one did.
    pub(crate) fn with(books: Books) -> Self {
        Self {
            books: Arc::new(Mutex::new(books)),
        }
    }

    pub(crate) fn books(&self) -> Books {
        self.books.lock().unwrap().clone()
    }
}

impl ExternalService for Gateway {
    fn call(&self, key: Uuid, request: Vec<u8>) -> BoxFuture<'static, CallResult> {
        let order: String = decode(CodecId::BINCODE, &request).unwrap();
        let mut books = self.books.lock().unwrap();
        let calls = books.calls.entry(order.clone()).or_default();
        *calls += 1;
        let loses_reply = order.starts_with("retry") && *calls == 1;
        if books.keys.insert(key, order.clone()).is_none() {
            *books.charges.entry(order).or_default() += 1;
        }
        let result = if loses_reply {
            CallResult::Unknown("the line broke".into())
        } else {
            CallResult::done(&())
        };
        ready(result).boxed()
    }
}

/// What becomes of an order, as its name says.
pub(crate) struct Fulfil {
    /// The order whose notes this release cannot take.
    pub(crate) refuses: &'static str,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Progress {
    notes: Vec<String>,
    outcomes: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Did {
    Noted(String),
    Heard(String),
}

impl Event for Did {}

impl Saga for Fulfil {
    const NAME: &'static str = "fulfil";
    type State = Progress;
    type Event = Did;

    fn routes(on: &mut Routes<Self>) {
        on.event::<Order>(|event, info| match event {
            OrderEvent::Placed if info.id == "unroutable" => panic!("it cannot be routed"),
            OrderEvent::Placed => Route::start(&info.id),
            OrderEvent::Noted(_) => Route::resume(&info.id),
            OrderEvent::Confirmed | OrderEvent::Rejected => Route::ignore(),
        });
    }

    fn on(&self, _: &Progress, input: &Input, ctx: &SagaContext) -> Next<Self> {
        let order = ctx.id.clone();
        if let Some(event) = input.event::<Order>() {
            return match event {
                OrderEvent::Placed => begin(&order),
                OrderEvent::Noted(_) if order == self.refuses => panic!("it cannot be taken"),
                OrderEvent::Noted(note) if note == "give up" => Next::stay().compensate("told to"),
                OrderEvent::Noted(note) => Next::stay().record(Did::Noted(note.clone())),
                OrderEvent::Confirmed | OrderEvent::Rejected => Next::stay(),
            };
        }
        if let Some(outcome) = input.answer() {
            let heard = Next::stay().record(Did::Heard(outcome.key().to_owned()));
            return match outcome.key() {
                "charge" => heard.send::<Order>("confirm", &order, OrderCommand::Confirm),
                "confirm" | "poke" => heard.complete(),
                _ => heard,
            };
        }
        match input {
            Input::Timer(_) => Next::stay().compensate("time-out"),
            Input::Compensated { .. } => {
                Next::stay().send::<Order>("reject", &order, OrderCommand::Reject)
            }
            _ => Next::stay(),
        }
    }

    fn evolve(state: &mut Progress, event: &Did) {
        match event {
            Did::Noted(note) => state.notes.push(note.clone()),
            Did::Heard(outcome) => state.outcomes.push(outcome.clone()),
        }
    }
}

fn begin(order: &str) -> Next<Fulfil> {
    let next = Next::stay();
    match order.split('-').next() {
        Some("charged" | "retry") => next.call("charge", "gateway", &order.to_owned()),
        Some("parked") => next.send::<Mended>("poke", "poked", Poke::Hard),
        _ => next
            .timer("patience", PATIENCE)
            .send::<Stock>("reserve", "all", StockCommand::Reserve(order.to_owned()))
            .undo::<Stock>("all", StockCommand::Release(order.to_owned())),
    }
}

/// What is known of each order, as rows; a certain note cannot be taken.
pub(crate) struct OrderRows;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct OrderRow {
    events: u32,
    last: String,
}

impl TableProjection for OrderRows {
    const NAME: &'static str = "order_rows";
    type Row = OrderRow;

    fn define(on: &mut TableHandlers<Self>) {
        on.try_events::<Order>(|table: &mut Table<OrderRow>, event, info| {
            if *event == OrderEvent::Noted(UNFOLDABLE.to_owned()) {
                return Err("there is no row for it".into());
            }
            let last = format!("{event:?}");
            table.update(info.id(), |row: Option<OrderRow>| {
                let events = row.unwrap_or_default().events + 1;
                Some(OrderRow { events, last })
            });
            Ok(())
        });
    }
}

/// How much happened to what, in memory.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Counts(pub(crate) BTreeMap<String, u32>);

impl Projection for Counts {
    const NAME: &'static str = "counts";

    fn define(on: &mut Handlers<Self>) {
        on.events::<Order>(|view, _, info| view.count(info));
        on.events::<Stock>(|view, _, info| view.count(info));
    }
}

impl Counts {
    fn count(&mut self, info: &EventInfo<'_>) {
        let key = format!("{} {}", info.category(), info.id());
        *self.0.entry(key).or_default() += 1;
    }
}

/// The application over a data directory, for one life of it.
pub(crate) fn app<const IS_BROKEN: bool>(
    data: &Path,
    clock: &ManualClock,
    gateway: &Gateway,
    saga: Fulfil,
) -> AppBuilder {
    let mut limits = RuntimeOptions::default();
    limits.snapshots = SnapshotPolicy::EveryEvents(3);
    limits.restart.budget = 0;
    let mut saga_limits = SagaOptions::default();
    saga_limits.effects.budget = 1;
    let rows = ProjectionOptions::new()
        .flush(FlushPolicy::default().events(4))
        .failure(FailurePolicy::new(AfterRetries::Park).retries(0));
    let journal = JournalOptions::default().segment_bytes(64 << 10);
    App::open_with(data, journal)
        .clock(Arc::new(clock.clone()) as Arc<dyn Clock>)
        .options(limits)
        .saga_options(saga_limits)
        .aggregate::<Order>()
        .aggregate::<Stock>()
        .aggregate::<Fragile<IS_BROKEN>>()
        .table_with::<OrderRows>(rows)
        .projection(Counts::default())
        .service("gateway", gateway.clone())
        .saga(saga)
}
