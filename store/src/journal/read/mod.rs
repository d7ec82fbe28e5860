//! Reading the log: frames from files and memory, as batches for streams of commits.

mod all;
mod batches;
mod blocking;
mod bounds;
mod budget;
mod facts;
mod frames;
mod recent;
mod scan;
mod stream;
mod view;

pub(crate) use all::read_all;
pub(crate) use blocking::{run, spawn, stream_batches};
pub(crate) use budget::ReadBudget;
pub(crate) use facts::FactReader;
pub(crate) use frames::FrameReader;
pub(crate) use scan::offset_in_stream;
pub(crate) use stream::StreamReader;
pub(crate) use view::LogView;
#[cfg(test)]
pub(crate) use {
    blocking::{Turn, TurnReader},
    scan::{BackwardScan, ForwardScan},
};
