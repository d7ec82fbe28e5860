//! What the shop wants to know: its orders, its money, its stock.

mod money;
mod orders;
mod stock;

pub(crate) use money::{Held, Money};
pub(crate) use orders::{OrderRecord, Orders, Standing};
pub(crate) use stock::{StockByProduct, StockRow};
