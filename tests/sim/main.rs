//! The whole runtime over a store that fails and dies, on one thread, with time that stands still: a seed gives the
//! same run again, to the byte. Once with a bank, and once with sagas of all kinds.
//!
//! More seeds, or one of them: `CHRONICLER_SIM_SEEDS=1000..5000 cargo test --release --test sim -- --nocapture`; of the
//! sagas alone with `sagas` behind it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

#[path = "../../testkit/esdrv/account.rs"]
mod account;
mod bank;
mod chance;
mod history;
mod life;
mod sagas;
#[path = "../../testkit/esdrv/transfer.rs"]
mod transfer;
mod turns;

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::thread;

use history::History;
use life::World;

/// Seeds in plain `cargo test`.
const SEEDS: Range<u64> = 0..500;
/// Of these each is run twice.
const TWICE: Range<u64> = 0..25;

#[test]
fn a_seed_gives_the_same_run_again_and_every_run_keeps_what_was_promised() {
    simulate(|seed| World::new(seed).run(), SEEDS, TWICE);
}

/// Runs these seeds, or those that are asked for, and some of them twice.
fn simulate(world: fn(u64) -> History, seeds: Range<u64>, twice: Range<u64>) {
    let run = |seed| run(world, seed);
    // First that a seed means anything at all.
    for seed in twice {
        let (first, again) = (run(seed), run(seed));
        if let Some(at) = first.differs_at(&again) {
            panic!("seed {seed} does not give the same run again: {at}");
        }
    }
    let wanted = std::env::var("CHRONICLER_SIM_SEEDS");
    let seeds = wanted.map_or(seeds, |seeds| {
        let (first, end) = seeds.split_once("..").unwrap();
        first.parse().unwrap()..end.parse().unwrap()
    });
    let middle = seeds.start.midpoint(seeds.end);
    let counts = thread::scope(|scope| {
        let halves = [seeds.start..middle, middle..seeds.end];
        let halves =
            halves.map(|half| scope.spawn(move || half.map(run).map(counts).fold([0; 3], add)));
        halves
            .map(|half| half.join().unwrap())
            .into_iter()
            .fold([0; 3], add)
    });
    let [lives, answers, commits] = counts;
    println!("seeds {seeds:?}: {lives} lives, {answers} answers, {commits} commits");
}

/// A life has a runtime of its own: what it spawned ends with it, as it does with a process.
fn runtime_of_a_life() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap()
}

fn counts(history: History) -> [u64; 3] {
    let (answers, commits) = (history.answers.len(), history.commits.len());
    [history.lives, answers as u64, commits as u64]
}

fn add(a: [u64; 3], b: [u64; 3]) -> [u64; 3] {
    [a[0] + b[0], a[1] + b[1], a[2] + b[2]]
}

fn run(world: fn(u64) -> History, seed: u64) -> History {
    let world = AssertUnwindSafe(|| world(seed));
    catch_unwind(world).unwrap_or_else(|panic| {
        eprintln!("seed {seed} failed");
        resume_unwind(panic)
    })
}
