//! Writing the log: the queue, the thread that groups commits, and the thread that brings the index after.

mod active;
mod answer;
mod clock_watch;
mod follower;
mod index_reads;
mod marking;
mod past;
mod queue;
mod search;
mod searcher;
mod signal;
mod stage;
mod writer;

pub(crate) use active::{ActiveSegment, SealJob, create_segment, seal};
pub(crate) use answer::{Answer, Barrier};
pub(crate) use follower::Follower;
pub(crate) use index_reads::{head_in_index, index_failed};
pub(crate) use queue::{NotQueued, Queue};
pub(crate) use signal::FollowerSignal;
pub(crate) use writer::Writer;
