//! Sagas of all kinds over a store that fails and dies, under code that panics, services that do not answer, callers that
//! go away and operators who interfere: nothing is lost, done twice, left undone, or hangs unseen.

mod app;
mod checks;
mod desk;
mod ending;
mod journal;
mod life;
mod seed;
mod shapes;
mod thing;
mod trouble;
mod wild;

use std::ops::Range;

use life::World;

/// Seeds in plain `cargo test`. CI runs 2,000.
const SEEDS: Range<u64> = 0..100;
/// Of these each is run twice.
const TWICE: Range<u64> = 0..10;

#[test]
fn sagas_lose_no_input_and_do_and_undo_everything_once_whatever_goes_wrong() {
    crate::simulate(|seed| World::new(seed).run(), SEEDS, TWICE);
}
