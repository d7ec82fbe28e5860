//! The transition that an input is: what comes in is taken or refused, and what follows is entered in the stream. Pure.

mod act;
#[cfg(test)]
mod asked_tests;
mod children;
pub(crate) mod command;
#[cfg(test)]
mod cost_tests;
mod decide;
#[cfg(test)]
mod early_tests;
mod fault;
mod inputs;
mod operate;
#[cfg(test)]
mod pivot_tests;
pub(crate) mod refusal;
#[cfg(test)]
mod split_tests;
mod stalled;
#[cfg(test)]
mod stand_tests;
pub(crate) mod step;
#[cfg(test)]
mod test_kit;
#[cfg(test)]
mod untaken_tests;
mod verbs;
