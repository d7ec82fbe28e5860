//! The shop of the example `order_payment`: what it is made of, the gateway it calls, and its processes. The example,
//! its tests and the driver for checkers use it.

pub mod domain;
pub mod gateway;
pub mod sagas;
