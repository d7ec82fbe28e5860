//! The checkout, killed at every write: each order ends, what was charged is paid for or given back, and the stock adds up.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use chronicler::domain::{AggregateId, Tenant};
use chronicler::prelude::*;
use chronicler::sagas::Ending;
use chronicler::store::MemoryStore;
use chronicler::store::codec::{CodecId, decode};
use chronicler_testkit::{ManualClock, assert_replays, crash_at_every_write};
use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use uuid::Uuid;

use order_payment::domain::{
    Inventory, InventoryCommand, Line, MessageId, Order, OrderCommand, Payment, PaymentPlan,
    Placement, Process, Shipment, SourceTime,
};
use order_payment::gateway::{Declined, GATEWAY, GatewayReply, GatewayRequest};
use order_payment::sagas::Checkout;

use crate::lives::{a_while, in_time};

/// What becomes of each order, by its name: it is closed, rejected or canceled.
const ORDERS: [(&str, &str); 5] = [
    ("fine", "Closed"),
    ("second-card", "Closed"),
    ("no-card", "Rejected"),
    ("too-much", "Rejected"),
    ("changed-mind", "Canceled"),
];

/// A gateway with its book in memory: it outlives the application, as a real one does.
#[derive(Clone, Default)]
pub(crate) struct Gateway(Arc<Mutex<Book>>);

impl Gateway {
    /// What was taken for an order, and not given back.
    pub(crate) fn kept(&self, order: &str) -> i64 {
        self.0.lock().kept(order)
    }
}

#[derive(Default)]
struct Book {
    answers: HashMap<Uuid, Result<GatewayReply, Declined>>,
    /// By charge: how much was taken, how often, and whether it was given back.
    charges: BTreeMap<String, (i64, u32, bool)>,
}

impl Book {
    fn enter(&mut self, request: GatewayRequest) -> Result<GatewayReply, Declined> {
        match request {
            GatewayRequest::Charge { charge, .. }
                if charge.starts_with("no-card") || charge.starts_with("second-card-1/1") =>
            {
                let why = "the bank said no".to_owned();
                Err(Declined { why })
            }
            GatewayRequest::Charge { charge, amount } => {
                let (taken, times, given_back) = self.charges.entry(charge).or_default();
                if *given_back {
                    let why = "it was refunded before it came".to_owned();
                    return Err(Declined { why });
                }
                *taken = amount;
                *times += 1;
                Ok(GatewayReply::Charged)
            }
            GatewayRequest::Refund { charge } => {
                let (taken, _, given_back) = self.charges.entry(charge).or_default();
                *given_back = true;
                Ok(match taken {
                    0 => GatewayReply::NothingToRefund,
                    _ => GatewayReply::Refunded,
                })
            }
        }
    }

    /// What was taken for an order, and not given back.
    fn kept(&self, order: &str) -> i64 {
        let prefix = format!("{order}-1/");
        let charges = self.charges.iter();
        let own = charges.filter(|(charge, _)| charge.starts_with(&prefix));
        own.map(|(_, (taken, _, given_back))| if *given_back { 0 } else { *taken })
            .sum()
    }
}

impl ExternalService for Gateway {
    fn call(&self, key: Uuid, request: Vec<u8>) -> BoxFuture<'static, CallResult> {
        let request: GatewayRequest = decode(CodecId::BINCODE, &request).unwrap();
        let mut book = self.0.lock();
        let answer = match book.answers.get(&key) {
            Some(answer) => answer.clone(),
            None => {
                let answer = book.enter(request);
                book.answers.insert(key, answer.clone());
                answer
            }
        };
        async move {
            match answer {
                Ok(reply) => CallResult::done(&reply),
                Err(declined) => CallResult::rejected(&declined),
            }
        }
        .boxed()
    }
}

async fn start(
    store: Arc<MemoryStore>,
    gateway: &Gateway,
    clock: &ManualClock,
) -> Result<App, impl std::error::Error> {
    let app = over(store, gateway, clock).saga(Steps::<Checkout>::of());
    app.start().await
}

/// An application without its saga.
pub(crate) fn over(store: Arc<MemoryStore>, gateway: &Gateway, clock: &ManualClock) -> AppBuilder {
    App::over(store)
        .clock(Arc::new(clock.clone()))
        .aggregate::<Order>()
        .aggregate::<Payment>()
        .aggregate::<Inventory>()
        .aggregate::<Shipment>()
        .service(GATEWAY, gateway.clone())
}

pub(crate) fn placement(order: &str) -> Placement {
    let line = |sku: &str, quantity: u32| Line {
        sku: sku.to_owned(),
        quantity,
        unit_price: 10,
        freight: 0,
        seller: None,
        stocked: true,
    };
    let ink = if order == "too-much" { 1_000 } else { 1 };
    Placement {
        message: MessageId {
            source: order.to_owned(),
            line: 1,
        },
        at: SourceTime::from_micros(1),
        customer: None,
        region: None,
        lines: vec![line("pen", 2), line("ink", ink)],
        payments: vec![PaymentPlan {
            sequential: 1,
            kind: "card".to_owned(),
            amount: 30,
        }],
        process: Process::StockFirstByGateway,
    }
}

pub(crate) async fn open_shop(app: &App) {
    for sku in ["pen", "ink"] {
        let open = InventoryCommand::Open { units: 100 };
        drop(app.send::<Inventory>(sku, open).await);
    }
}

/// Opens the shop and places every order. A dead store fails it; it is done again.
async fn place(app: &App) {
    open_shop(app).await;
    for (order, _) in ORDERS {
        let command = OrderCommand::Place(placement(order));
        drop(app.send::<Order>(order, command).await);
        if order == "changed-mind" {
            drop(app.send::<Order>(order, OrderCommand::AskToCancel).await);
        }
    }
}

/// Starts again on what was left, and says what must hold of every order.
async fn end_well(survivor: Arc<MemoryStore>, gateway: &Gateway, clock: &ManualClock) {
    let app = start(Arc::clone(&survivor), gateway, clock).await.unwrap();
    place(&app).await;
    app.settled().await;
    let sagas = app.saga::<Steps<Checkout>>().unwrap();
    assert!(sagas.open().await.unwrap().is_empty());
    let mut sold = 0;
    for (order, expected) in ORDERS {
        let state = app.state::<Order>(order).await.unwrap().state;
        let state = serde_json::to_value(&state).unwrap();
        let end = state["end"].as_str().unwrap();
        // Whether the customer was quicker than the shop is chance; the rest is not.
        let is_closed = end == "Closed";
        assert!(
            end == expected || (order == "changed-mind" && is_closed),
            "{order} is {end}"
        );
        let id = AggregateId::new(order).unwrap();
        let status = sagas.get(&Tenant::default(), &id).await.unwrap().status;
        let SagaStatus::Ended { how } = status else {
            panic!("{order}: {status:?}");
        };
        match how {
            Ending::Completed => assert!(is_closed, "{order}"),
            Ending::Compensated { .. } => assert!(!is_closed, "{order}"),
            other => panic!("{order}: {other:?}"),
        }
        let kept = gateway.kept(order);
        assert_eq!(kept, if is_closed { 30 } else { 0 }, "{order} paid");
        sold += i64::from(is_closed);
    }
    assert_stock(&app, sold).await;
    let times = gateway
        .0
        .lock()
        .charges
        .values()
        .map(|(_, times, _)| *times)
        .max();
    assert_eq!(times, Some(1), "each charge took effect once");
    app.stop().await;
    // Whatever was lost and done again on the way: what it decided then it decides today.
    let inputs = assert_replays(survivor.as_ref(), Steps::<Checkout>::of()).await;
    assert!(inputs > 30, "{inputs} inputs");
}

/// So many orders took their pens and ink, and nothing is kept for another.
pub(crate) async fn assert_stock(app: &App, sold: i64) {
    for (sku, each) in [("pen", 2), ("ink", 1)] {
        let stock = app.state::<Inventory>(sku).await.unwrap().state.shown();
        assert_eq!(stock["reserved"], 0, "{sku}");
        assert_eq!(stock["on_hand"], 100 - each * sold, "{sku}");
    }
}

#[tokio::test]
async fn m09_m05_an_order_killed_at_every_write_is_paid_once_or_given_back() {
    let gateway = Mutex::new(Gateway::default());
    let writes = crash_at_every_write(
        async |store| {
            // Another application, and another gateway, which outlives it.
            let own = Gateway::default();
            *gateway.lock() = own.clone();
            let clock = ManualClock::default();
            let life = async {
                let Ok(app) = start(store, &own, &clock).await else {
                    return;
                };
                place(&app).await;
                a_while().await;
                app.sagas().stop().await;
            };
            in_time(&clock, life).await;
        },
        async |survivor| {
            let own = gateway.lock().clone();
            let clock = ManualClock::default();
            in_time(&clock, end_well(survivor, &own, &clock)).await;
        },
    )
    .await;
    assert!(writes > 60, "{writes} writes");
    println!("killed at each of {writes} writes, before and after");
}
