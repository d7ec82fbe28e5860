//! What must be true of anything that an application can do, tried with whatever proptest thinks of.
//!
//! `PROPTEST_CASES` says how many. What failed once is tried first the next time, and shrunk.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod folding;
mod model;
mod store;
mod upcasting;

use proptest::test_runner::{Config, FileFailurePersistence};

/// Cases of each property: many where a store is in memory, fewer where it is on disk.
fn cases(default: u32) -> Config {
    let wanted = std::env::var("PROPTEST_CASES");
    let wanted = wanted.ok().and_then(|cases| cases.parse().ok());
    let persistence = FileFailurePersistence::WithSource("regressions");
    Config {
        cases: wanted.unwrap_or(default),
        failure_persistence: Some(Box::new(persistence)),
        max_shrink_iters: 2_000,
        ..Config::default()
    }
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build().unwrap().block_on(work)
}
