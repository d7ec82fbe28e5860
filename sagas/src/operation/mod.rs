//! Operating: sagas are registered and started, looked at, and told what a person wants.

pub(crate) mod any;
pub(crate) mod error;
pub(crate) mod fork;
pub(crate) mod handle;
pub(crate) mod history;
pub(crate) mod open;
pub(crate) mod registry;
pub(crate) mod replay;
pub(crate) mod sagas;
pub(crate) mod undefined;
