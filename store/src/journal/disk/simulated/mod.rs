//! A disk in memory for tests, whose power can be cut and whose operations can fail.

mod contents;
mod disk;
mod fault;
mod file;
mod names;
mod random;

pub(crate) use disk::SimulatedDisk;
pub(crate) use fault::{Fault, FaultKind};
pub(crate) use random::Random;
