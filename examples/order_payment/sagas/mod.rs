//! How orders and returns are worked off: a saga of steps and two reactive ones over the same aggregates.

pub mod checkout;
mod goods_return;
mod marketplace;
mod steps;

pub use checkout::Checkout;
pub use goods_return::ReturnHandling;
pub use marketplace::Marketplace;
