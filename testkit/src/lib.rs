//! Who doubts: given/when/then, a manual clock, an in-memory application and injected faults.

mod aggregate;

pub use aggregate::{Accepted, Given, Then, given};
