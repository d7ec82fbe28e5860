//! What an operator does to a data directory as a whole: backup, restore.

mod backup;
mod copy;
mod error;
mod manifest;
mod place;
mod restore;
mod segment_writer;

pub use backup::BackupReport;
pub use copy::CopyProgress;
pub use error::MaintenanceError;
pub use restore::{RestoreReport, restore};
