//! Carrying out: events come to instances, and what they decide goes to aggregates, services and children.

pub(crate) mod asking;
pub(crate) mod attempt;
pub(crate) mod backlog;
pub(crate) mod child;
pub(crate) mod child_places;
mod child_room;
pub(crate) mod circuit;
pub(crate) mod endings;
pub(crate) mod entity;
pub(crate) mod executor;
pub(crate) mod host;
pub(crate) mod options;
pub(crate) mod outcomes;
mod passage;
pub(crate) mod places;
pub(crate) mod quiet;
pub(crate) mod resources;
mod resting;
pub(crate) mod resuming;
pub(crate) mod router;
pub(crate) mod take_up;
mod targets;
mod tasks;
pub(crate) mod turns;
mod waiting;
mod wake_queue;
