//! Snapshots and views in sled: written by one thread, read on tokio's blocking threads.

mod anchor;
mod checkpoint;
#[cfg(test)]
mod damage_tests;
mod group;
mod queue;
mod shared;
mod snapshots;
mod store;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod view_tests;
mod views;
mod writer;

pub(crate) use shared::DurableEnd;
#[cfg(feature = "test-points")]
pub(crate) use snapshots::decode as decode_snapshot;
pub(crate) use store::DerivedStore;
