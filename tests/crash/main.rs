//! A process that is killed again and again, and what must be true of its directory every time.
//!
//! A short run is part of `cargo test`. A long one, with its figures:
//! `CHRONICLER_CRASH_ROUNDS=2000 cargo test --release --test crash -- --nocapture`
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

#[path = "../driver/client.rs"]
mod client;
mod ledger;
mod places;
mod power;
mod workload;

use std::path::Path;
use std::time::Instant;

use serde_json::json;

use client::{Chance, Client};
use ledger::Ledger;
use workload::Workload;

/// Rounds in plain `cargo test`.
const ROUNDS: u64 = 8;
const ROUNDS_AT_OS: u64 = 4;
const ROUNDS_IN_SLED: u64 = 6;
/// After how many rounds everything is read again from the beginning.
const FULL_EVERY: u64 = 50;
/// Requests under way at a time.
const UNDER_WAY: usize = 32;
/// Answers in a round at most, before the process is killed.
const ANSWERS_MAX: u64 = 200;

#[test]
fn k1_h2_h3_h7_killed_at_any_moment_nothing_answered_is_lost_and_nothing_is_half_there() {
    killed_at_any_moment("journal", "fsync", ROUNDS);
}

#[test]
fn k1_h2_h3_h7_killed_at_any_moment_the_same_holds_at_os() {
    killed_at_any_moment("journal", "os", ROUNDS_AT_OS);
}

#[test]
fn k1_h2_h3_h7_killed_at_any_moment_the_same_holds_of_a_log_in_sled() {
    killed_at_any_moment("sled", "fsync", ROUNDS_IN_SLED);
}

fn killed_at_any_moment(store: &str, durability: &str, rounds: u64) {
    let wanted = std::env::var("CHRONICLER_CRASH_ROUNDS");
    let rounds = wanted.map_or(rounds, |rounds| rounds.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let mut chance = Chance::new();
    let (mut ledger, mut workload) = (Ledger::default(), Workload::default());
    let began = Instant::now();
    let open = || open(folder.path(), store, durability);
    let mut driver = open();
    workload.begin(&mut driver);
    for round in 1..=rounds {
        let until = 1 + chance.below(ANSWERS_MAX);
        for _ in 0..until {
            while workload.under_way() < UNDER_WAY {
                workload.ask(&mut driver, &mut chance);
            }
            let (id, answer) = driver.next();
            workload.answered(id, answer, &mut ledger);
        }
        driver.kill();
        workload.interrupted();
        driver = open();
        let is_full = round % FULL_EVERY == 0 || round == rounds;
        ledger.check(&mut driver, is_full);
        if is_full {
            driver.check_rebuild("balances");
            driver.check_rebuild("ledger");
            assert_eq!(driver.call("verify", json!({})).unwrap()["ok"], true);
        }
    }
    workload.end(&mut driver, &mut ledger);
    ledger.check(&mut driver, true);
    driver.end();
    println!(
        "{store}, {durability}: {rounds} kills in {:.0} s: {}; {} requests never answered, {} events of them found in the log",
        began.elapsed().as_secs_f64(),
        ledger.figures(),
        workload.never_answered(),
        ledger.found_unanswered(),
    );
}

fn open(dir: &Path, store: &str, durability: &str) -> Client {
    let options = json!({ "store": store, "durability": durability });
    let (driver, opened) = Client::start(dir, &[], options);
    assert!(matches!(opened, Some(Ok(_))), "{opened:?}");
    driver
}
