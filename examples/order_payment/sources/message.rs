//! One message of a feed: one command to one aggregate.

use order_payment::domain::{GoodsReturnCommand, InventoryCommand, OrderCommand, ShipmentCommand};

/// Whom a message is for, and what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    Order(OrderCommand),
    Shipment(ShipmentCommand),
    Return(GoodsReturnCommand),
    Inventory(InventoryCommand),
}

/// One message of a feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    /// Where it stands in its feed, from 1: what the cursor counts.
    pub(crate) position: u64,
    /// The aggregate's id. Messages with the same key are sent one after the other.
    pub(crate) key: String,
    /// The command.
    pub(crate) sent: Sent,
    /// The stocked products that it mentions, once each.
    pub(crate) skus: Vec<String>,
}
