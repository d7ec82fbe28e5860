//! One instance, without a runtime: what its stream holds, what it is by that, and the transition that an input is.

pub(crate) mod action;
pub(crate) mod effect_changes;
pub(crate) mod effects;
pub(crate) mod entry;
pub(crate) mod fold;
pub(crate) mod id;
pub(crate) mod occupancy;
pub(crate) mod open_fact;
pub(crate) mod reason;
pub(crate) mod rehearsal;
pub(crate) mod scripted;
pub(crate) mod standing;
pub(crate) mod state;
pub(crate) mod status;
mod stored_answer;
pub(crate) mod timers;
pub(crate) mod transition;
pub(crate) mod undo_order;
pub(crate) mod verb;
pub(crate) mod visits;
pub(crate) mod work;
