//! The worker of a projection: one loop that follows the log, and beside it, at times, a rebuild.

mod aside;
mod control;
mod life;
mod rebuild;
mod retries;
mod run;
mod setup;
mod takeover;
mod track;

pub use control::RebuildReport;
pub(crate) use control::{Control, Verb};
pub(crate) use life::spawn;
pub(crate) use run::Open;
pub(crate) use setup::Setup;
