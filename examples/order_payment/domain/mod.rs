//! What the shop is made of: pure aggregates and the values that they share.

mod amount;
mod feed;
pub mod inventory;

mod order;
mod payment;
mod returns;
mod shipment;
mod source_time;

pub use amount::{AMOUNT_MAX, Amount, PaymentPlan};
pub use feed::{Feed, FeedCommand};
pub use inventory::{HandOver, Inventory, InventoryCommand, InventoryEvent, ReservationKey};
pub use order::{
    CloseOrder, Line, MessageId, Order, OrderCommand, OrderEnd, OrderEvent, OrderRejection,
    Placement, Process, RejectReason, ReportedStatus,
};
pub use payment::{Charge, Payment, PaymentCommand, PaymentEvent};
pub use returns::{GoodsReturn, GoodsReturnCommand, GoodsReturnEvent, Parcel};
pub use shipment::{Deliver, Dispatch, Shipment, ShipmentCommand, ShipmentEvent};
pub use source_time::SourceTime;
