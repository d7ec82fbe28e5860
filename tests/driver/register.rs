//! A register under many clients and kills: its history is linearizable.

use std::collections::HashMap;

use serde_json::{Value, json};
use todc_utils::linearizability::WGLChecker;
use todc_utils::linearizability::history::{Action, History};
use todc_utils::specifications::Specification;

use crate::client::{Chance, Client};

const CLIENTS: usize = 8;
const KILLS: u64 = 3;

/// What is asked of the register; what was answered, where it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Asked {
    Read(Option<u64>),
    Write(u64),
    /// From, to, and whether it was accepted.
    CompareAndSet(u64, u64, Option<bool>),
}

struct Register;

impl Specification for Register {
    type State = u64;
    type Operation = Asked;

    fn init() -> u64 {
        0
    }

    fn apply(asked: &Asked, state: &u64) -> (bool, u64) {
        match *asked {
            Asked::Read(found) => (found == Some(*state), *state),
            Asked::Write(value) => (true, value),
            Asked::CompareAndSet(from, to, accepted) => {
                let fits = from == *state;
                let after = if fits { to } else { *state };
                (accepted.is_none_or(|accepted| accepted == fits), after)
            }
        }
    }
}

#[test]
fn h5_commands_on_one_aggregate_are_linearizable_though_killed() {
    let folder = tempfile::tempdir().unwrap();
    let mut chance = Chance::new();
    let mut driver = Client::open(folder.path());
    driver
        .call("cmd", command("0", "Write", json!({ "value": 0 })))
        .unwrap();
    let mut history = Vec::new();
    // Clients whose last request was never answered; it may take effect at any later time.
    let (mut clients, mut unanswered) = (0, Vec::new());
    let mut number = 0;
    for round in 0..=KILLS {
        let mut under_way: HashMap<u64, (usize, Asked)> = HashMap::new();
        let mut idle: Vec<usize> = (0..CLIENTS).map(|client| clients + client).collect();
        clients += CLIENTS;
        let (mut answers, until) = (0, 60 + chance.below(60));
        loop {
            while answers < until
                && let Some(client) = idle.pop()
            {
                number += 1;
                let asked = match chance.below(3) {
                    0 => Asked::Read(None),
                    1 => Asked::Write(number),
                    _ => Asked::CompareAndSet(
                        number.saturating_sub(1 + chance.below(4)),
                        number,
                        None,
                    ),
                };
                history.push((client, Action::Call(asked.clone())));
                let id = send(&mut driver, number, &asked);
                under_way.insert(id, (client, asked));
            }
            if under_way.is_empty() || (answers >= until && round < KILLS) {
                break;
            }
            let (id, answer) = driver.next();
            let (client, asked) = under_way.remove(&id).unwrap();
            history.push((client, Action::Response(answered(asked, answer))));
            idle.push(client);
            answers += 1;
        }
        if round < KILLS {
            driver.kill();
            unanswered.extend(under_way.into_values());
            driver = Client::open(folder.path());
        }
    }
    for (client, asked) in unanswered {
        if matches!(asked, Asked::Read(_)) {
            // Nobody knows what it would have read, and it changes nothing.
            let call = (client, Action::Call(asked));
            let at = history.iter().rposition(|action| *action == call).unwrap();
            history.remove(at);
        } else {
            history.push((client, Action::Response(asked)));
        }
    }
    assert!(
        history.len() > 400,
        "{} actions are no history",
        history.len()
    );
    let shown = format!("{history:?}");
    assert!(
        WGLChecker::<Register>::is_linearizable(History::from_actions(history)),
        "{shown}"
    );
    driver.end();
}

fn send(driver: &mut Client, number: u64, asked: &Asked) -> u64 {
    let cid = number.to_string();
    match asked {
        Asked::Read(_) => driver.send("state", json!({ "agg": "register", "aid": "r" })),
        Asked::Write(value) => {
            driver.send("cmd", command(&cid, "Write", json!({ "value": value })))
        }
        Asked::CompareAndSet(from, to, _) => {
            let args = json!({ "expected": from, "value": to });
            driver.send("cmd", command(&cid, "CompareAndSet", args))
        }
    }
}

fn command(cid: &str, name: &str, args: Value) -> Value {
    json!({ "agg": "register", "aid": "r", "cid": cid, "name": name, "args": args })
}

fn answered(asked: Asked, answer: Result<Value, Value>) -> Asked {
    match (asked, answer) {
        (Asked::Read(_), answer) => Asked::Read(answer.unwrap()["state"]["value"].as_u64()),
        (Asked::Write(value), answer) => {
            answer.unwrap();
            Asked::Write(value)
        }
        (Asked::CompareAndSet(from, to, _), Ok(_)) => Asked::CompareAndSet(from, to, Some(true)),
        (Asked::CompareAndSet(from, to, _), Err(error)) => {
            assert_eq!(error["kind"], "rejected", "{error}");
            Asked::CompareAndSet(from, to, Some(false))
        }
    }
}
