//! What the order process works on: orders, a stock, and a gateway that takes money.

use std::collections::BTreeMap;
use std::sync::Arc;

use chronicler_domain::{Aggregate, Context, Decided, Decision, Event};
use chronicler_sagas::{CallResult, ExternalService};
use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

// An order: placed, then confirmed or rejected; it may be cancelled.

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) status: Option<Status>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Status {
    Placed,
    Confirmed,
    Rejected,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum OrderCommand {
    Place { units: u32, cents: u32 },
    Touch,
    Confirm,
    Reject,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum OrderEvent {
    Placed { units: u32, cents: u32 },
    Touched,
    Confirmed,
    Rejected,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[error("not in this status")]
pub(crate) struct WrongStatus;

impl Event for OrderEvent {}

impl Aggregate for Order {
    const CATEGORY: &'static str = "order";
    type Command = OrderCommand;
    type Event = OrderEvent;
    type Reply = ();
    type Rejection = WrongStatus;

    fn decide(&self, command: OrderCommand, _: &Context) -> Decided<Self> {
        match (command, self.status) {
            (OrderCommand::Place { units, cents }, None) => {
                Ok(OrderEvent::Placed { units, cents }.into())
            }
            (OrderCommand::Touch, _) => Ok(OrderEvent::Touched.into()),
            (OrderCommand::Confirm, Some(Status::Placed)) => Ok(OrderEvent::Confirmed.into()),
            (OrderCommand::Reject, Some(Status::Placed)) => Ok(OrderEvent::Rejected.into()),
            _ => Err(WrongStatus),
        }
    }

    fn evolve(&mut self, event: &OrderEvent) {
        self.status = match event {
            OrderEvent::Placed { .. } => Some(Status::Placed),
            OrderEvent::Touched => self.status,
            OrderEvent::Confirmed => Some(Status::Confirmed),
            OrderEvent::Rejected => Some(Status::Rejected),
        };
    }
}

// The stock of everything: 10 units.

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Stock {
    pub(crate) reserved: BTreeMap<String, u32>,
    pub(crate) broken: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum StockCommand {
    Reserve { order: String, units: u32 },
    Release { order: String },
    Break { broken: bool },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum StockEvent {
    Reserved { order: String, units: u32 },
    Released { order: String },
    Broke { broken: bool },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
pub(crate) enum StockRejection {
    #[error("out of stock")]
    OutOfStock,
    #[error("the warehouse is closed")]
    Closed,
}

impl Event for StockEvent {}

impl Aggregate for Stock {
    const CATEGORY: &'static str = "stock";
    type Command = StockCommand;
    type Event = StockEvent;
    type Reply = u32;
    type Rejection = StockRejection;

    fn decide(&self, command: StockCommand, _: &Context) -> Decided<Self> {
        let left = 10 - self.reserved.values().sum::<u32>();
        match command {
            StockCommand::Reserve { units, .. } if units > left => Err(StockRejection::OutOfStock),
            StockCommand::Reserve { order, units } => {
                Ok(Decision::event(StockEvent::Reserved { order, units }).reply(left - units))
            }
            StockCommand::Release { .. } if self.broken => Err(StockRejection::Closed),
            StockCommand::Release { order } => {
                Ok(Decision::event(StockEvent::Released { order }).reply(left))
            }
            StockCommand::Break { broken } => {
                Ok(Decision::event(StockEvent::Broke { broken }).reply(0))
            }
        }
    }

    fn evolve(&mut self, event: &StockEvent) {
        match event {
            StockEvent::Reserved { order, units } => {
                *self.reserved.entry(order.clone()).or_default() += units;
            }
            StockEvent::Released { order } => {
                self.reserved.remove(order);
            }
            StockEvent::Broke { broken } => self.broken = *broken,
        }
    }
}

// A gateway with idempotency keys.

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Charge {
    Take { order: String, cents: u32 },
    GiveBack { order: String },
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) enum Script {
    #[default]
    Honest,
    Declines,
    LosesReplies,
    NeverAnswers,
}

#[derive(Clone, Default)]
pub(crate) struct Gateway {
    pub(crate) inner: Arc<Mutex<Books>>,
}

#[derive(Default)]
pub(crate) struct Books {
    pub(crate) script: Script,
    pub(crate) answered: BTreeMap<Uuid, CallResult>,
    pub(crate) charges: BTreeMap<String, (u32, u32)>,
    pub(crate) calls: u32,
}

impl ExternalService for Gateway {
    fn call(&self, key: Uuid, request: Vec<u8>) -> BoxFuture<'static, CallResult> {
        let mut books = self.inner.lock();
        books.calls += 1;
        let request: Charge =
            chronicler_store::codec::decode(chronicler_store::codec::CodecId::BINCODE, &request)
                .unwrap();
        let script = books.script;
        let take = matches!(request, Charge::Take { .. });
        if script == Script::NeverAnswers && take {
            return futures::future::pending().boxed();
        }
        if !books.answered.contains_key(&key) {
            let result = match &request {
                Charge::Take { .. } if script == Script::Declines => {
                    CallResult::rejected(&"declined")
                }
                Charge::Take { order, cents } => {
                    books.charges.entry(order.clone()).or_default().0 += cents;
                    CallResult::done(&())
                }
                Charge::GiveBack { order } => {
                    books.charges.entry(order.clone()).or_default().1 += 1;
                    CallResult::done(&())
                }
            };
            books.answered.insert(key, result);
        }
        if script == Script::LosesReplies && take {
            return futures::future::ready(CallResult::Unknown("the line broke".into())).boxed();
        }
        futures::future::ready(books.answered[&key].clone()).boxed()
    }
}
