//! A process that dies at a named place: before and after each step of a commit, and of what is derived from it. Its
//! lives are at one level of durability and the other in turn.

use std::collections::BTreeMap;

use chronicler::store::test_points::CrashPlace;
use serde_json::json;

use crate::client::{Chance, Client};
use crate::ledger::Ledger;
use crate::workload::Workload;

/// How often the process dies at each place in plain `cargo test`.
const TIMES: u64 = 1;
/// Requests under way at a time.
const UNDER_WAY: usize = 32;
/// Answers after which a process is asked for nothing more, if it is still there.
const ANSWERS_MAX: u64 = 400;
/// Levels of durability.
const LEVELS: [&str; 2] = ["fsync", "os"];
/// Small, so that some begin and are sealed.
const SEGMENT_BYTES: u64 = 64 << 10;

#[test]
fn k1_h2_h3_h7_killed_at_every_named_place_nothing_answered_is_lost_and_views_are_whole() {
    let times = std::env::var("CHRONICLER_CRASH_TIMES");
    let times = times.map_or(TIMES, |times| times.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let mut chance = Chance::new();
    let (mut ledger, mut workload) = (Ledger::default(), Workload::default());
    let mut driver = Client::open(folder.path());
    workload.begin(&mut driver);
    driver.kill();
    let mut died = BTreeMap::new();
    let mut levels = LEVELS.iter().cycle().skip(chance.below(2) as usize);
    for _ in 0..times {
        // So that each place has its turn at either level.
        levels.next();
        for (_, name) in CrashPlace::ALL {
            let level = levels.next().unwrap();
            let hit = 1 + chance.below(most_hits(name));
            let dies = format!("{name}:{hit}");
            println!("{dies} at {level}");
            let variables = [("CHRONICLER_DIE_AT", dies.as_str())];
            let options = json!({ "segment_bytes": SEGMENT_BYTES, "durability": level });
            let (mut driver, opened) = Client::start(folder.path(), &variables, options);
            let is_dead = opened.is_none()
                || dies_at_work(&mut driver, &mut workload, &mut ledger, &mut chance);
            // What is left for the end of a process comes with the end of its input.
            if !driver.ends_well() || is_dead {
                *died.entry(name).or_insert(0) += 1;
            }
            workload.interrupted();
            check(folder.path(), &mut ledger);
        }
    }
    let mut driver = Client::open(folder.path());
    workload.end(&mut driver, &mut ledger);
    ledger.check(&mut driver, true);
    driver.end();
    let deaths: u64 = died.values().sum();
    println!(
        "{deaths} deaths at {} places: {}; {died:?}",
        died.len(),
        ledger.figures()
    );
    let unreached = CrashPlace::ALL.map(|(_, name)| name);
    let unreached: Vec<_> = unreached
        .iter()
        .filter(|name| !died.contains_key(**name))
        .collect();
    assert!(unreached.is_empty(), "never reached: {unreached:?}");
}

/// How often a process gets to a place within its work, at least.
fn most_hits(name: &str) -> u64 {
    match name {
        // Once a segment, and at the end.
        "segment-begun" | "seal" | "index-apply" | "index-applied" => 1,
        "marked" | "rows-written" | "snapshot-save" | "snapshot-saved" => 2,
        "view-write" | "view-written" => 3,
        _ => 40,
    }
}

/// Gives the process work until it dies; false if it does not.
fn dies_at_work(
    driver: &mut Client,
    workload: &mut Workload,
    ledger: &mut Ledger,
    chance: &mut Chance,
) -> bool {
    let mut answers = 0;
    while answers < ANSWERS_MAX || workload.under_way() > 0 {
        while answers < ANSWERS_MAX && workload.under_way() < UNDER_WAY {
            workload.ask(driver, chance);
        }
        let Some((id, answer)) = driver.next_unless_dead() else {
            return true;
        };
        workload.answered(id, answer, ledger);
        answers += 1;
    }
    false
}

/// Opens the directory and holds it against what is known; a view in the store is what a rebuild makes of it.
fn check(dir: &std::path::Path, ledger: &mut Ledger) {
    let mut driver = Client::open(dir);
    ledger.check(&mut driver, false);
    driver.check_rebuild("ledger");
    driver.kill();
}
