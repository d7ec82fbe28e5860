//! The real orders: the report equals the one that was computed independently, also after kills.
//!
//! A debug build takes a minute for each feed: it runs the one, killed twice. Both, killed five times each, with a program
//! that was built with `cargo build --release --example order_payment`:
//! `CHRONICLER_ORDER_PAYMENT=$PWD/target/release/examples/order_payment cargo test --test order_payment olist`.

use std::path::Path;

use crate::program::{by_chance, is_quick, run_until, run_well, shared};

const KILLS: usize = 5;
const KILLS_OF_A_DEBUG_BUILD: usize = 2;
/// A replay takes some 196,000 commits.
const COMMITS_AT_LEAST: u64 = 180_000;

#[test]
fn olist_in_the_order_of_life_equals_the_reference_though_killed() {
    equals_the_reference("lifecycle");
}

#[test]
fn olist_in_the_order_of_time_equals_the_reference_though_killed() {
    if !is_quick() {
        return println!("skipped: a debug build runs the orders in the order of life only");
    }
    equals_the_reference("timestamp");
}

fn equals_the_reference(feed: &str) {
    let (Some(olist), Some(reference)) =
        (shared("data/olist"), shared("reference/olist_8135.json"))
    else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let (data, report) = (
        folder.path().join("data"),
        folder.path().join("report.json"),
    );
    let (olist, data_name, report_name) = (text(&olist), text(&data), text(&report));
    let arguments = [
        "replay",
        "--olist",
        &olist,
        "--feed",
        feed,
        "--data",
        &data_name,
        "--report",
        &report_name,
    ];
    let kills = match is_quick() {
        true => KILLS,
        false => KILLS_OF_A_DEBUG_BUILD,
    };
    let mut moments: Vec<_> = (0..kills).map(|_| by_chance(COMMITS_AT_LEAST)).collect();
    moments.sort_unstable();
    for moment in moments.iter().copied() {
        assert!(
            run_until(&arguments, &data, moment),
            "it ended before commit {moment} of {moments:?}"
        );
    }
    run_well(&arguments);
    assert!(
        std::fs::read(&report).unwrap() == std::fs::read(reference).unwrap(),
        "{feed}: another report after kills at {moments:?}"
    );
    assert_open(&data);
}

/// The orders that the world left open are open after a restart, and looking at them changes nothing.
fn assert_open(data: &Path) {
    let look = || run_well(&["status", "--data", &text(data)]);
    let status = look();
    let open = status
        .lines()
        .find(|line| line.contains("marketplace"))
        .unwrap_or_default();
    let words: Vec<&str> = open.split_whitespace().collect();
    assert_eq!(words, ["marketplace", "1729", "waiting"], "{status}");
    assert_eq!(look(), status);
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}
