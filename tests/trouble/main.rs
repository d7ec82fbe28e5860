//! An application under load and in trouble: descriptors run out, the disk stalls and fills, the clock is set both
//! ways, the process is stopped, starved, killed and started again. Nothing answered may be lost or come twice.
//!
//! A short run is part of `cargo test`. A long one, with its figures:
//! `CHRONICLER_TROUBLE_SECONDS=1800 cargo test --release --test trouble -- --nocapture`; the same plan again with
//! `CHRONICLER_TROUBLE_SEED`, and some kinds of trouble alone with `CHRONICLER_TROUBLE_KINDS=Stopped,DiskFills`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod asked;
mod bank;
mod clock;
mod disk;
mod ledger;
mod lies;
mod life;
mod log;
mod plan;
mod process;
mod readers;
mod troubles;
mod words;
mod worker;

use std::time::{Duration, Instant};

use disk::Disk;
use life::Lives;
use plan::{Pace, Plan};
use troubles::{ALL, Trouble, Troublemaker};

/// Seconds of trouble in plain `cargo test`, at least; then each kind was there once.
const SECONDS: u64 = 8;
/// The test below that is a worker and no test.
const WORKER: &str = "the_process_that_is_in_trouble";

#[test]
fn x1_whatever_trouble_there_is_nothing_answered_is_lost_or_comes_twice_and_all_goes_on() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse().unwrap());
    let seconds = number("CHRONICLER_TROUBLE_SECONDS");
    let seed = number("CHRONICLER_TROUBLE_SEED").unwrap_or_else(by_chance);
    println!("seed {seed}");
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk::mount(folder.path());
    if disk.is_none() {
        println!("skipped: a disk that stalls and fills takes root, mkfs.ext4, mount and fsfreeze");
    }
    let data = disk.as_ref().map_or(folder.path(), Disk::folder);
    let maker = Troublemaker::new(disk.as_ref());
    let kinds = std::env::var("CHRONICLER_TROUBLE_KINDS");
    let mut kinds = kinds.map_or(ALL.to_vec(), |names| {
        let named = names.split(',').map(Trouble::named);
        named.collect::<Option<_>>().expect("kinds of trouble")
    });
    kinds.retain(|kind| maker.can(*kind));
    let pace = match seconds {
        Some(_) => Pace::LONG,
        None => Pace::SHORT,
    };
    let mut lives = Lives::new(seed, data.join("data"), maker, Plan::new(pace, kinds));
    let until = Instant::now() + Duration::from_secs(seconds.unwrap_or(SECONDS));
    while Instant::now() < until || !lives.has_had_all() {
        lives.live();
    }
    lives.end_well();
}

/// A seed. What it was is said by the test that fails.
fn by_chance() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0)
}

#[test]
#[ignore = "the other test starts it, as a process of its own"]
fn the_process_that_is_in_trouble() {
    let Ok(start) = std::env::var(words::VARIABLE) else {
        return println!("skipped: nobody says where and how");
    };
    worker::work(serde_json::from_str(&start).unwrap());
}
