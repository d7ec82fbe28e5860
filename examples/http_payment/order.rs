//! An order: placed, then confirmed when it is paid, or cancelled.

use chronicler::prelude::*;
use serde::{Deserialize, Serialize};

/// An order. It never says no.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Order {
    #[default]
    Unknown,
    Placed,
    /// It is paid; the charge as the payment server knows it.
    Confirmed {
        charge: String,
    },
    Cancelled {
        why: String,
    },
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum OrderCommand {
    Place { cents: u64 },
    Confirm { charge: String },
    Cancel { why: String },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum OrderEvent {
    Placed { cents: u64 },
    Confirmed { charge: String },
    Cancelled { why: String },
}

impl Event for OrderEvent {}

impl Aggregate for Order {
    const CATEGORY: &'static str = "order";
    type Command = OrderCommand;
    type Event = OrderEvent;
    type Reply = ();
    type Rejection = Never;

    fn decide(&self, command: OrderCommand, _: &Context) -> Decided<Self> {
        Ok(match (command, self) {
            (OrderCommand::Place { cents }, Self::Unknown) => OrderEvent::Placed { cents }.into(),
            (OrderCommand::Confirm { charge }, Self::Placed) => {
                OrderEvent::Confirmed { charge }.into()
            }
            (OrderCommand::Cancel { why }, Self::Placed) => OrderEvent::Cancelled { why }.into(),
            _ => Decision::nothing(),
        })
    }

    fn evolve(&mut self, event: &OrderEvent) {
        *self = match event.clone() {
            OrderEvent::Placed { .. } => Self::Placed,
            OrderEvent::Confirmed { charge } => Self::Confirmed { charge },
            OrderEvent::Cancelled { why } => Self::Cancelled { why },
        };
    }
}
