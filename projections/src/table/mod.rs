//! Views in the store: typed rows by key, the unwritten ones in an overlay.

mod cache;
mod changes;
mod fold;
mod generation;
mod open;
mod parts;
mod pass;
mod row;
mod taken;
mod view;

pub use changes::Table;
pub(crate) use fold::TableFold;
pub(crate) use generation::Current;
pub(crate) use parts::TableParts;
pub use row::ROW_KEY_BYTES_MAX;
pub use view::{SCAN_ROWS_MAX, TablePage, TableView};
