//! The stock of every product that was ever touched, kept in the store.

use chronicler::prelude::*;
use order_payment::domain::{Inventory, InventoryEvent};
use serde::{Deserialize, Serialize};

/// The stock by product.
pub(crate) struct StockByProduct;

/// The stock of one product, in units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StockRow {
    pub(crate) opening: i64,
    /// Promised and not yet handed over.
    pub(crate) reserved: i64,
    /// Promised once, and given back.
    pub(crate) released: i64,
    pub(crate) sold: i64,
    pub(crate) returned: i64,
    pub(crate) adjusted: i64,
}

impl StockRow {
    /// Units that are there, promised or not.
    pub(crate) fn on_hand(&self) -> i64 {
        self.opening - self.sold + self.returned + self.adjusted
    }
}

impl TableProjection for StockByProduct {
    const NAME: &'static str = "stock-by-product";
    type Row = StockRow;

    fn define(on: &mut TableHandlers<Self>) {
        on.events::<Inventory>(|table, event, info| {
            table.update(info.id(), |row| {
                let mut row = row.unwrap_or_default();
                match event {
                    InventoryEvent::Opened { units } => row.opening = *units,
                    InventoryEvent::Reserved { quantity, .. } => {
                        row.reserved += i64::from(*quantity);
                    }
                    InventoryEvent::Released { quantity, .. } => {
                        row.reserved -= i64::from(*quantity);
                        row.released += i64::from(*quantity);
                    }
                    InventoryEvent::Committed { quantity, .. } => {
                        row.reserved -= i64::from(*quantity);
                        row.sold += i64::from(*quantity);
                    }
                    InventoryEvent::Restocked { quantity, .. } => {
                        row.returned += i64::from(*quantity);
                    }
                    InventoryEvent::Adjusted { quantity, .. } => row.adjusted += quantity,
                }
                Some(row)
            });
        });
    }
}
