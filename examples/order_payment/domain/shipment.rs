//! A shipment: what the carrier reports, in whatever order, and what the order is let to do with it.

use chronicler_domain::{Aggregate, Certain, Context, Decided, Decision, Event};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::SourceTime;

/// What a shipment can be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ShipmentCommand {
    /// From the feed: the carrier has it. The order need not be paid, nor exist.
    ReportDispatched { at: SourceTime },
    /// From the feed: the customer has it. Need not have been dispatched.
    ReportDelivered { at: SourceTime },
    /// It is its turn to go.
    Dispatch(Dispatch),
    /// It is its turn to arrive.
    Deliver(Deliver),
}

/// It is its turn to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dispatch {
    pub at: SourceTime,
}

/// It is its turn to arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deliver {
    pub at: SourceTime,
}

impl From<Dispatch> for ShipmentCommand {
    fn from(command: Dispatch) -> Self {
        Self::Dispatch(command)
    }
}

impl From<Deliver> for ShipmentCommand {
    fn from(command: Deliver) -> Self {
        Self::Deliver(command)
    }
}

/// What can have happened to a shipment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ShipmentEvent {
    DispatchReported { at: SourceTime },
    DeliveryReported { at: SourceTime },
    Dispatched { at: SourceTime },
    Delivered { at: SourceTime },
}

impl Event for ShipmentEvent {}

/// Why a shipment says no.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
pub enum ShipmentRejection {
    #[error("another time was reported before: {first}")]
    ReportedOtherwise { first: SourceTime },
}

/// What a shipment must know to decide.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shipment {
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

    fn decide(&self, command: ShipmentCommand, ctx: &Context) -> Decided<Self> {
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
            ShipmentCommand::Dispatch(command) => Ok(self.certain(command, ctx)),
            ShipmentCommand::Deliver(command) => Ok(self.certain(command, ctx)),
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

/// The order lets it go once; that is never refused.
impl Certain<Dispatch> for Shipment {
    fn certain(&self, Dispatch { at }: Dispatch, _: &Context) -> Decision<ShipmentEvent> {
        match self.dispatched {
            None => ShipmentEvent::Dispatched { at }.into(),
            Some(_) => Decision::nothing(),
        }
    }
}

/// The order lets it arrive once; what arrives has gone.
impl Certain<Deliver> for Shipment {
    fn certain(&self, Deliver { at }: Deliver, _: &Context) -> Decision<ShipmentEvent> {
        let goes = (self.dispatched.is_none()).then_some(ShipmentEvent::Dispatched { at });
        let arrives = (self.delivered.is_none()).then_some(ShipmentEvent::Delivered { at });
        Decision::events(goes.into_iter().chain(arrives))
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
            .when_certain(Deliver { at: LATE })
            .then_events([
                ShipmentEvent::Dispatched { at: LATE },
                ShipmentEvent::Delivered { at: LATE },
            ]);
        given::<Shipment>([ShipmentEvent::Dispatched { at: LATE }])
            .when_certain(Deliver { at: EARLY })
            .then_events([ShipmentEvent::Delivered { at: EARLY }]);
    }
}
