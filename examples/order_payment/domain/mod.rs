//! What the shop is made of: pure aggregates and the values that they share.

mod amount;
mod feed;
pub(crate) mod inventory;

mod order;
mod payment;
mod returns;
mod shipment;
mod source_time;

pub(crate) use amount::{AMOUNT_MAX, Amount, PaymentPlan};
pub(crate) use feed::{Feed, FeedCommand};
pub(crate) use inventory::{HandOver, Inventory, InventoryCommand, InventoryEvent, ReservationKey};
pub(crate) use order::{
    CloseOrder, Line, MessageId, Order, OrderCommand, OrderEnd, OrderEvent, OrderRejection,
    Placement, Process, RejectReason, ReportedStatus,
};
pub(crate) use payment::{Charge, Payment, PaymentCommand, PaymentEvent};
pub(crate) use returns::{GoodsReturn, GoodsReturnCommand, GoodsReturnEvent, Parcel};
pub(crate) use shipment::{Deliver, Dispatch, Shipment, ShipmentCommand, ShipmentEvent};
pub(crate) use source_time::SourceTime;
