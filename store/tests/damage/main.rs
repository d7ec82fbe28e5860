//! K3 K4 K5: every kind of file of a data directory, damaged in every way, all over. What comes of it is one of
//! three: nothing is lost, what was wrong is mended with a note, or an error names it. Never silence, a panic or a
//! hang.
//!
//! A short run is part of `cargo test`. A long one, with its table:
//! `CHRONICLER_DAMAGED_COPIES=4000 cargo test --release -p chronicler-store --test damage -- --nocapture`
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod harm;
mod long_segment;
mod outcome;
mod world;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use chronicler_store::panic_text;
use harm::{Harm, Target};
use outcome::Outcome;
use world::World;

/// Damaged copies in plain `cargo test`.
const COPIES: usize = 220;
/// Longer than anything takes here; what takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(120);

#[test]
fn k3_k4_k5_every_file_damaged_in_every_way_is_intact_mended_or_named() {
    let copies = std::env::var("CHRONICLER_DAMAGED_COPIES");
    let copies = copies.map_or(COPIES, |copies| copies.parse().unwrap());
    let worlds = [World::closed(), World::killed()].map(Arc::new);
    let cases: Vec<_> = worlds
        .iter()
        .flat_map(|world| harm::cases(world.folder()).map(move |case| (world, case)))
        .collect();
    // Every pair of file and harm in turn, at another place each time round.
    let mut table: BTreeMap<(&str, &str), BTreeMap<Outcome, u64>> = BTreeMap::new();
    for number in 0..copies {
        let (world, (target, harm)) = &cases[number % cases.len()];
        let round = (number / cases.len()) as u64;
        let outcome = suffer(world, target, *harm, round);
        let row = table.entry((target.kind(), harm.name())).or_default();
        *row.entry(outcome).or_default() += 1;
    }
    println!("{copies} damaged copies");
    println!("| file | damage | intact | mended | named |\n|---|---|---|---|---|");
    for ((kind, harm), row) in &table {
        let count = |outcome| row.get(&outcome).copied().unwrap_or_default();
        println!(
            "| {kind} | {harm} | {} | {} | {} |",
            count(Outcome::Intact),
            count(Outcome::Mended),
            count(Outcome::Named)
        );
    }
}

/// Damages a copy and looks at what comes of it, on a thread that may hang.
fn suffer(world: &Arc<World>, target: &Target, harm: Harm, round: u64) -> Outcome {
    let copy = tempfile::tempdir().unwrap();
    world::copy(world.folder(), copy.path());
    let place = harm.apply(copy.path(), target, round);
    let what = format!("{} of {}, {place}", harm.name(), target.path().display());
    let (world, folder) = (Arc::clone(world), copy.path().to_path_buf());
    let (told, hears) = mpsc::sync_channel(1);
    thread::spawn(move || {
        let look = AssertUnwindSafe(|| outcome::of(&world, &folder));
        told.send(catch_unwind(look)).ok();
    });
    match hears.recv_timeout(PATIENCE) {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(panic)) => panic!("{what}: {}", panic_text(panic.as_ref())),
        Err(_) => panic!("{what}: it hangs"),
    }
}
