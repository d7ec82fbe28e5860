//! Snapshots and views in sled: written by one thread, read on tokio's blocking threads.

mod checkpoint;
mod group;
mod queue;
mod reach;
mod snapshots;
mod store;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod view_tests;
mod views;
mod writer;

pub(crate) use store::{DerivedReport, DerivedStore, DurableHead};
