//! Views in memory: two copies of the application's struct, one for readers and one for the fold.

mod copy;
mod fold;
mod view;

pub(crate) use fold::MemoryFold;
pub(crate) use view::Published;
pub use view::{MemoryView, ViewRef};
