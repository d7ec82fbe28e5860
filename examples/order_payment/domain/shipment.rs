//! A shipment: what the carrier reports, in whatever order, and what the order is let to do with it.

use chronicler_domain::{Aggregate, Context, Decided, Decision, Event};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::SourceTime;

/// What a shipment can be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ShipmentCommand {
    /// From the feed: the carrier has it. The order need not be paid, nor exist.
    ReportDispatched { at: SourceTime },
    /// From the feed: the customer has it. Need not have been dispatched.
    ReportDelivered { at: SourceTime },
    /// It is its turn to go.
    Dispatch { at: SourceTime },
    /// It is its turn to arrive.
    Deliver { at: SourceTime },
}

/// What can have happened to a shipment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ShipmentEvent {
    DispatchReported { at: SourceTime },
    DeliveryReported { at: SourceTime },
    Dispatched { at: SourceTime },
    Delivered { at: SourceTime },
}

impl Event for ShipmentEvent {}

/// Why a shipment says no.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
pub(crate) enum ShipmentRejection {
    #[error("it was never dispatched")]
    NotDispatched,
    #[error("another time was reported before: {first}")]
    ReportedOtherwise { first: SourceTime },
}

/// What a shipment must know to decide.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Shipment {
    dispatch_reported: Option<SourceTime>,
    delivery_reported: Option<SourceTime>,
    dispatched: Option<SourceTime>,
    delivered: Option<SourceTime>,
}

impl Aggregate for Shipment {
    const CATEGORY: &'static str = "shipment";

    type Command = ShipmentCommand;
    type Event = ShipmentEvent;
    type Reply = ();
    type Rejection = ShipmentRejection;

    fn decide(&self, command: ShipmentCommand, _: &Context) -> Decided<Self> {
        match command {
            ShipmentCommand::ReportDispatched { at } => once(
                self.dispatch_reported,
                at,
                ShipmentEvent::DispatchReported { at },
            ),
            ShipmentCommand::ReportDelivered { at } => once(
                self.delivery_reported,
                at,
                ShipmentEvent::DeliveryReported { at },
            ),
            ShipmentCommand::Dispatch { at } => {
                once(self.dispatched, at, ShipmentEvent::Dispatched { at })
            }
            ShipmentCommand::Deliver { .. } if self.dispatched.is_none() => {
                Err(ShipmentRejection::NotDispatched)
            }
            ShipmentCommand::Deliver { at } => {
                once(self.delivered, at, ShipmentEvent::Delivered { at })
            }
        }
    }

    fn evolve(&mut self, event: &ShipmentEvent) {
        match event {
            ShipmentEvent::DispatchReported { at } => self.dispatch_reported = Some(*at),
            ShipmentEvent::DeliveryReported { at } => self.delivery_reported = Some(*at),
            ShipmentEvent::Dispatched { at } => self.dispatched = Some(*at),
            ShipmentEvent::Delivered { at } => self.delivered = Some(*at),
        }
    }
}

fn once(known: Option<SourceTime>, at: SourceTime, event: ShipmentEvent) -> Decided<Shipment> {
    match known {
        None => Ok(event.into()),
        Some(first) if first == at => Ok(Decision::nothing()),
        Some(first) => Err(ShipmentRejection::ReportedOtherwise { first }),
    }
}

#[cfg(test)]
mod tests {
    use chronicler_testkit::given;

    use super::*;

    const EARLY: SourceTime = SourceTime::from_micros(1);
    const LATE: SourceTime = SourceTime::from_micros(2);

    #[test]
    fn an_early_report_is_recorded() {
        given::<Shipment>([])
            .when(ShipmentCommand::ReportDelivered { at: EARLY })
            .then_events([ShipmentEvent::DeliveryReported { at: EARLY }])
            .and_then()
            .when(ShipmentCommand::ReportDelivered { at: EARLY })
            .then_events([])
            .and_then()
            .when(ShipmentCommand::ReportDelivered { at: LATE })
            .then_rejected(ShipmentRejection::ReportedOtherwise { first: EARLY });
    }

    #[test]
    fn a_report_alone_does_not_make_it_arrive() {
        given::<Shipment>([ShipmentEvent::DispatchReported { at: EARLY }])
            .when(ShipmentCommand::Deliver { at: LATE })
            .then_rejected(ShipmentRejection::NotDispatched);
        given::<Shipment>([ShipmentEvent::Dispatched { at: LATE }])
            .when(ShipmentCommand::Deliver { at: EARLY })
            .then_events([ShipmentEvent::Delivered { at: EARLY }]);
    }
}
