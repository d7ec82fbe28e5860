//! Durable timers: facts in the log that come due by the clock. Their owners arm and disarm them by commits.

mod clock_steps;
mod due;
mod fact;
mod foreign;
mod worker;

pub use fact::{FiredTimer, TimerWait, owner_of_timer, timer_key};
pub use worker::{TimerHandler, Timers};
