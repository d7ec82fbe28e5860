//! The actor of one instance; what it does is in the files of its phases.

mod decide;
mod life;
mod look_up;
mod reading;
mod recover;
mod repeated;
mod settle;
mod snapshot;
mod turn;

pub(crate) use life::start;
