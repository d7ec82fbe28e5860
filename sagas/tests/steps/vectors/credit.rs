//! Eventuate Tram from end to end: a customer with a credit limit, and an order that is approved or rejected.

use chronicler_domain::{Aggregate, Context, Decided, Event};
use chronicler_sagas::step_keys;
use chronicler_sagas::steps::{Compensable, Define, Definition, Nil, StepSaga, Steps, to};
use chronicler_sagas::{Ending, Input, Route, Routes, SagaStatus};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::parts::{Part, PartEvent, Willing};
use crate::world::World;

/// A customer: unknown until credit was granted.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Customer {
    limit_cents: Option<u64>,
    reserved_cents: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum CustomerCommand {
    Grant { cents: u64 },
    Reserve { cents: u64 },
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum CustomerEvent {
    Granted { cents: u64 },
    Reserved { cents: u64 },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
pub(crate) enum NoCredit {
    #[error("UNKNOWN_CUSTOMER")]
    UnknownCustomer,
    #[error("INSUFFICIENT_CREDIT")]
    InsufficientCredit,
}

impl Event for CustomerEvent {}

impl Aggregate for Customer {
    const CATEGORY: &'static str = "customer";
    type Command = CustomerCommand;
    type Event = CustomerEvent;
    type Reply = ();
    type Rejection = NoCredit;

    fn decide(&self, command: CustomerCommand, _: &Context) -> Decided<Self> {
        match (command, self.limit_cents) {
            (CustomerCommand::Grant { cents }, _) => Ok(CustomerEvent::Granted { cents }.into()),
            (CustomerCommand::Reserve { .. }, None) => Err(NoCredit::UnknownCustomer),
            (CustomerCommand::Reserve { cents }, Some(limit))
                if self.reserved_cents + cents > limit =>
            {
                Err(NoCredit::InsufficientCredit)
            }
            (CustomerCommand::Reserve { cents }, Some(_)) => {
                Ok(CustomerEvent::Reserved { cents }.into())
            }
        }
    }

    fn evolve(&mut self, event: &CustomerEvent) {
        match event {
            CustomerEvent::Granted { cents } => self.limit_cents = Some(*cents),
            CustomerEvent::Reserved { cents } => self.reserved_cents += cents,
        }
    }
}

step_keys! {
    Created = "created" -> ();
    Credit = "credit" -> ();
    Approve = "approve" -> ();
}

struct CreateOrder;

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Order {
    customer: String,
    cents: u64,
}

impl StepSaga for CreateOrder {
    const NAME: &'static str = "create-order";
    type Start = Order;

    fn routes(on: &mut Routes<Steps<Self>>) {
        on.event::<Part>(|_, info| Route::start(&info.id));
    }

    fn begin(event: &Input) -> Option<Order> {
        let Some(PartEvent::Did(what)) = event.event::<Part>() else {
            return None;
        };
        let (customer, cents) = what.split_once(' ')?;
        Some(Order {
            customer: customer.to_owned(),
            cents: cents.parse().ok()?,
        })
    }

    fn define(steps: Define<Self, Nil, Compensable>) -> Definition<Self> {
        steps
            .on_undo(Created, |_| to::<Willing>("order", "REJECTED".to_owned()))
            .pivot(Credit, |seen| {
                let cents = seen.start().cents;
                to::<Customer>(&seen.start().customer, CustomerCommand::Reserve { cents })
            })
            .then(Approve, |_| to::<Willing>("order", "APPROVED".to_owned()))
            .build()
    }
}

/// `"12.34"` in cents.
fn cents(amount: &Value) -> u64 {
    amount.as_str().unwrap().replace('.', "").parse().unwrap()
}

pub(super) async fn hold(name: &str, case: &Value) {
    let world = World::<CreateOrder>::new().await;
    if case["given"].is_object() {
        let limit = cents(&case["given"]["credit_limit"]);
        world
            .send::<Customer>("c", CustomerCommand::Grant { cents: limit })
            .await;
    }
    let customer = case["when"]["customer"].as_str().unwrap_or("c");
    let total = cents(&case["when"]["order_total"]);
    world
        .did_something("o", &format!("{customer} {total}"))
        .await;
    let end = case["end"].as_str().unwrap();
    let words = world.words().await;
    assert_eq!(words.last().map(String::as_str), Some(end), "{name}");
    match world.status("o").await {
        SagaStatus::Ended {
            how: Ending::Completed,
        } => assert_eq!(end, "APPROVED", "{name}"),
        SagaStatus::Ended {
            how: Ending::Compensated { reason },
        } => {
            assert!(
                reason.contains(case["reason"].as_str().unwrap()),
                "{name}: {reason}"
            );
        }
        other => panic!("{name}: {other:?}"),
    }
}
