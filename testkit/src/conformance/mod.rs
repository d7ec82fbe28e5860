//! What every store must do, as checks that run on any of them.
//!
//! ```
//! # async fn example() {
//! use chronicler_testkit::{MemoryStore, conformance};
//! conformance::run(async || MemoryStore::new()).await.expect("the store conforms");
//! # }
//! ```

mod append_matrix;
mod atomicity;
mod check;
mod content;
mod expected;
mod facts;
mod failure;
mod idempotency;
mod list;
mod names;
mod order;
mod reading;
mod snapshots;
mod subject;
mod views;

pub use append_matrix::{
    AppendMatrix, MatrixCase, MatrixExpected, MatrixOutcome, MatrixStep, NamedExpectation,
    Operation, Refusal, append_matrix,
};
pub use check::{Check, run};
pub use failure::{Failures, Violation};
pub use list::checks;
