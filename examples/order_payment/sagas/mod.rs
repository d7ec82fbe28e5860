//! How orders and returns are worked off: a saga of steps and two reactive ones over the same aggregates.

pub(crate) mod checkout;
mod goods_return;
mod marketplace;
mod steps;

pub(crate) use checkout::Checkout;
pub(crate) use goods_return::ReturnHandling;
pub(crate) use marketplace::Marketplace;
