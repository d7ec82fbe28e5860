//! Whether an append is accepted, is the repetition of an earlier one, or is refused: the same for every store.

mod limits;
mod places;
mod reach;
mod recent;
mod verdict;
#[cfg(test)]
mod verdict_tests;

pub(crate) use limits::{check, payload_bytes};
pub(crate) use places::{accepted_parts, recorded_parts};
pub(crate) use reach::Reach;
pub(crate) use recent::RecentCommits;
pub(crate) use verdict::{LOOK_BACK_COMMITS_MAX, Past, Verdict, judge};
