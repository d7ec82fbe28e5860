//! What projections promise, through the public API, over the store in memory, or where threads matter, on disk.

#![expect(
    clippy::unwrap_used,
    reason = "a world that cannot be set up fails the test that wants it"
)]

mod ahead;
mod failing;
mod few_threads;
mod following;
mod given_up;
mod lifecycle;
mod odd_rows;
mod rebuilding;
mod room;
mod shapes;
mod tables;
mod taking_up;
mod waiting;
mod world;
