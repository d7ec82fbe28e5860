//! The follower: a named consumer that follows the log, event by event and in order within each key.
//!
//! It holds a cursor, parks what its consumer cannot take, tries that again, and says how far it is behind. A cursor passes
//! an event only when it was taken or is parked. `docs/adr/0018-one-follower.md` says why it is built so.

mod begin;
mod consumer;
mod handle;
mod intake;
mod land;
mod ledger;
mod parked;
mod read;
mod run;
mod shared;
mod work;

pub use consumer::{Consumer, Plan, Planned, Trouble};
pub use handle::{FollowerError, FollowerHandle};
pub use parked::{
    PARKED_REASON_MAX, ParkedEvent, ParkedGroup, Selection, SetAside, forget_parked, group_parked,
    parked_events, record_parked,
};
pub use shared::{FollowerSpec, FollowerStatus};
