//! A bank whose process is killed again and again: money is conserved in every consistent read.

use std::collections::HashMap;

use serde_json::{Value, json};

use crate::client::{Chance, Client};

const ACCOUNTS: u64 = 8;
const CENTS: i64 = 1_000;
const KILLS: u64 = 4;
/// Requests under way at a time.
const CLIENTS: usize = 16;

#[test]
fn h6_money_is_conserved_in_every_read_though_killed_and_every_answered_transfer_ends() {
    let folder = tempfile::tempdir().unwrap();
    let mut chance = Chance::new();
    let mut driver = Client::open(folder.path());
    for account in 0..ACCOUNTS {
        let open = json!({ "agg": "account", "aid": name(account), "cid": format!("open {account}"),
            "name": "Open", "args": { "cents": CENTS } });
        let opened = driver.call("cmd", open).unwrap();
        // The view follows the log: what is asked later shows every account.
        let seen = json!({ "proj": "balances", "min_pos": opened["events"][0]["pos"] });
        driver.call("query", seen).unwrap();
    }
    let (mut transfers, mut answered) = (0, Vec::new());
    for round in 0..=KILLS {
        let mut under_way = HashMap::new();
        let (mut answers, until) = (0, 100 + chance.below(200));
        while answers < until {
            while under_way.len() < CLIENTS {
                let (what, id) = match chance.below(4) {
                    0 => (None, driver.send("query", json!({ "proj": "balances" }))),
                    _ => {
                        transfers += 1;
                        (
                            Some(transfers),
                            driver.send("cmd", transfer(transfers, &mut chance)),
                        )
                    }
                };
                under_way.insert(id, what);
            }
            let (id, answer) = driver.next();
            let answer = answer.unwrap();
            answers += 1;
            match under_way.remove(&id).unwrap() {
                None => assert_conserved(&answer),
                Some(transfer) => answered.push(transfer),
            }
        }
        if round < KILLS {
            driver.kill();
            driver = Client::open(folder.path());
            assert_conserved(&driver.call("query", json!({ "proj": "balances" })).unwrap());
        } else {
            while !under_way.is_empty() {
                let (id, answer) = driver.next();
                answer.unwrap();
                answered.extend(under_way.remove(&id).unwrap());
            }
        }
    }
    // Nothing is asked of the bank any more: its transfers end.
    driver.call("settled", json!({})).unwrap();
    let open = driver.call("saga_list", json!({})).unwrap();
    assert_eq!(open["sagas"], json!([]), "a saga that waits for nothing");
    for transfer in &answered {
        let saga = driver
            .call("saga", json!({ "saga_id": format!("t{transfer}") }))
            .unwrap();
        let status = saga["status"].as_str().unwrap();
        assert!(
            matches!(status, "completed" | "compensated"),
            "{transfer}: {saga}"
        );
    }
    let balances = driver.view("query", "balances");
    assert_conserved(&balances);
    for account in 0..ACCOUNTS {
        let state = driver
            .call("state", json!({ "agg": "account", "aid": name(account) }))
            .unwrap();
        let state = &state["state"];
        assert_eq!(state["reserved"], json!({}), "{account}");
        assert_eq!(
            state["balance"],
            balances["value"][name(account)],
            "{account}"
        );
    }
    driver.check_rebuild("balances");
    assert_eq!(driver.call("verify", json!({})).unwrap()["ok"], true);
    driver.end();
}

fn name(account: u64) -> String {
    format!("a{account}")
}

fn transfer(number: u64, chance: &mut Chance) -> Value {
    let from = chance.below(ACCOUNTS);
    let to = (from + 1 + chance.below(ACCOUNTS - 1)) % ACCOUNTS;
    // Some want more than there is.
    let cents = 1 + chance.below(600);
    json!({ "agg": "transfer", "aid": format!("t{number}"), "cid": format!("c{number}"), "name": "Start",
        "args": { "from": name(from), "to": name(to), "cents": cents } })
}

fn assert_conserved(answer: &Value) {
    let balances = answer["value"].as_object().unwrap();
    let sum: i64 = balances.values().map(|cents| cents.as_i64().unwrap()).sum();
    assert_eq!(sum, ACCOUNTS as i64 * CENTS, "{answer}");
    assert!(
        balances.values().all(|cents| cents.as_i64().unwrap() >= 0),
        "{answer}"
    );
}
