//! A process that is killed again and again, and what must be true of its directory every time.

use crate::commits::{numbers, open};
use crate::process::Process;

/// Rounds in plain `cargo test`.
const ROUNDS: u64 = 6;
/// Answers in a round at most, before the process is killed.
const ANSWERS_MAX: u64 = 900;

#[tokio::test]
async fn k1_a_process_killed_with_its_log_in_sled_loses_nothing_answered() {
    let rounds = std::env::var("CHRONICLER_CRASH_ROUNDS");
    let rounds = rounds.map_or(ROUNDS, |rounds| rounds.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let mut answered = Vec::new();
    let mut known = Vec::new();
    for round in 1..=rounds {
        let mut process = Process::start(folder.path(), 40, "");
        for _ in 0..(round * 389) % ANSWERS_MAX {
            answered.push(process.next("answered").unwrap().parse::<u64>().unwrap());
        }
        answered.extend(process.kill("answered"));
        let store = open(folder.path()).unwrap();
        let found = numbers(&store).await.unwrap();
        assert!(found.starts_with(&known), "what was once read stays");
        for number in answered.drain(..) {
            assert_eq!(found[number as usize - 1], number, "round {round}");
        }
        known = found;
    }
    println!("{rounds} kills: {} commits", known.len());
}
