//! Operating: sagas are registered and started, looked at, and told what a person wants.

pub(crate) mod fork;
pub(crate) mod handle;
pub(crate) mod history;
pub(crate) mod operate;
pub(crate) mod registry;
pub(crate) mod replay;
pub(crate) mod undefined;
