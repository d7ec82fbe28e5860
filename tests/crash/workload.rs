//! What is asked of the process: appends to one stream and to several, commands, transfers and orders.

use std::collections::{HashMap, HashSet};

use serde_json::{Value, json};

use crate::client::{Chance, Client};
use crate::ledger::Ledger;

const STREAMS: u64 = 40;
const ACCOUNTS: u64 = 8;
const CENTS: i64 = 10_000;
const UNITS: i64 = 1_000_000;

/// What was asked and not answered yet.
#[derive(Clone, Debug)]
enum Asked {
    /// An append of events with these ids, and what is written.
    Append(Vec<String>, Vec<Value>),
    /// A deposit of one cent.
    Deposit(u64),
    Transfer(Value),
    Order(Value),
}

/// What is asked of the process.
#[derive(Default)]
pub(crate) struct Workload {
    under_way: HashMap<u64, Asked>,
    number: u64,
    /// Commands without an answer, to be sent again: they must take effect once.
    again: Vec<Asked>,
    deposits: HashSet<u64>,
    transfers: u64,
    orders: u64,
    never_answered: u64,
}

impl Workload {
    /// Opens everything that is not open yet.
    pub(crate) fn begin(&mut self, driver: &mut Client) {
        for account in 0..ACCOUNTS {
            let open = json!({ "agg": "account", "aid": format!("a{account}"), "cid": format!("open {account}"),
                "name": "Open", "args": { "cents": CENTS } });
            driver.call("cmd", open).unwrap();
        }
        let stock = json!({ "agg": "inventory", "aid": "pen", "cid": "open pen", "name": "Open", "args": { "units": UNITS } });
        driver.call("cmd", stock).unwrap();
    }

    pub(crate) fn under_way(&self) -> usize {
        self.under_way.len()
    }

    pub(crate) fn never_answered(&self) -> u64 {
        self.never_answered
    }

    pub(crate) fn ask(&mut self, driver: &mut Client, chance: &mut Chance) {
        let asked = match self.again.pop() {
            Some(asked) => asked,
            None => self.something(chance),
        };
        self.send(driver, asked);
    }

    fn something(&mut self, chance: &mut Chance) -> Asked {
        self.number += 1;
        let number = self.number;
        match chance.below(8) {
            0 => Asked::Deposit(number),
            1 => {
                let from = chance.below(ACCOUNTS);
                let to = (from + 1 + chance.below(ACCOUNTS - 1)) % ACCOUNTS;
                self.transfers += 1;
                Asked::Transfer(
                    json!({ "agg": "transfer", "aid": format!("t{number}"), "cid": format!("t{number}"),
                    "name": "Start", "args": { "from": format!("a{from}"), "to": format!("a{to}"),
                    "cents": 1 + chance.below(500) } }),
                )
            }
            2 if chance.below(4) == 0 => {
                self.orders += 1;
                Asked::Order(
                    json!({ "agg": "order", "aid": format!("o{number}"), "cid": format!("o{number}"),
                    "name": "Place", "args": { "lines": [{ "sku": "pen", "quantity": 1 + chance.below(3),
                    "unit_price": 100 }] } }),
                )
            }
            _ => {
                let streams = 1 + chance.below(3).min(1) * chance.below(3);
                let first = chance.below(STREAMS);
                let each: Vec<u64> = (0..streams).map(|_| 1 + chance.below(3)).collect();
                let of: u64 = each.iter().sum();
                let mut ids = Vec::new();
                let mut writes = Vec::new();
                for (at, count) in each.into_iter().enumerate() {
                    let mut events = Vec::new();
                    for _ in 0..count {
                        let id = format!("e-{number}-{}", ids.len());
                        events.push(json!({ "id": id, "type": "T", "data": "x".repeat(chance.below(400) as usize),
                            "meta": { "group": format!("g{number}"), "of": of } }));
                        ids.push(id);
                    }
                    let stream = format!("s{}", (first + at as u64) % STREAMS);
                    writes.push(json!({ "stream": stream, "expected": "any", "events": events }));
                }
                Asked::Append(ids, writes)
            }
        }
    }

    fn send(&mut self, driver: &mut Client, asked: Asked) {
        let id = match &asked {
            Asked::Append(_, writes) => driver.send("append_multi", json!({ "writes": writes })),
            Asked::Deposit(number) => {
                self.deposits.insert(*number);
                let account = format!("a{}", number % ACCOUNTS);
                let deposit = json!({ "agg": "account", "aid": account, "cid": format!("d{number}"),
                    "name": "Deposit", "args": { "cents": 1 } });
                driver.send("cmd", deposit)
            }
            Asked::Transfer(command) | Asked::Order(command) => driver.send("cmd", command.clone()),
        };
        self.under_way.insert(id, asked);
    }

    pub(crate) fn answered(&mut self, id: u64, answer: Result<Value, Value>, ledger: &mut Ledger) {
        let answer = answer.unwrap();
        ledger.count_answer();
        match self.under_way.remove(&id).unwrap() {
            Asked::Append(ids, _) => {
                let positions = answer["pos"].as_array().unwrap();
                assert_eq!(positions.len(), ids.len());
                for (id, position) in ids.into_iter().zip(positions) {
                    ledger.promise(id, position.as_u64().unwrap());
                }
            }
            Asked::Deposit(_) | Asked::Transfer(_) | Asked::Order(_) => {
                for event in answer["events"].as_array().unwrap() {
                    let id = event["id"].as_str().unwrap().to_owned();
                    ledger.promise(id, event["pos"].as_u64().unwrap());
                }
            }
        }
    }

    /// The process was killed: what was under way is asked again, but for appends, which may be there or not.
    pub(crate) fn interrupted(&mut self) {
        for (_, asked) in self.under_way.drain() {
            self.never_answered += 1;
            if !matches!(asked, Asked::Append(..)) {
                self.again.push(asked);
            }
        }
    }

    /// Every saga that is under way ends.
    pub(crate) fn quiet(driver: &mut Client) {
        driver.call("settled", json!({})).unwrap();
        let open = driver.call("saga_list", json!({})).unwrap();
        assert_eq!(open["sagas"], json!([]), "a saga that waits for nothing");
    }

    /// Everything is answered, and every saga ends: each effect took place once.
    pub(crate) fn end(&mut self, driver: &mut Client, ledger: &mut Ledger) {
        while let Some(asked) = self.again.pop() {
            self.send(driver, asked);
        }
        while !self.under_way.is_empty() {
            let (id, answer) = driver.next();
            self.answered(id, answer, ledger);
        }
        Self::quiet(driver);
        let balances = driver.view("query", "balances");
        let sum: i64 = balances["value"]
            .as_object()
            .unwrap()
            .values()
            .map(|cents| cents.as_i64().unwrap())
            .sum();
        let deposited = self.deposits.len() as i64;
        assert_eq!(
            sum,
            ACCOUNTS as i64 * CENTS + deposited,
            "a deposit counts once"
        );
        let orders = driver.view("query", "orders");
        let orders = orders["value"].as_object().unwrap();
        assert_eq!(orders.len() as u64, self.orders);
        assert!(
            orders.values().all(|status| status == "delivered"),
            "{orders:?}"
        );
        let calls = driver.call("gateway_log", json!({})).unwrap();
        let mut charged = HashSet::new();
        for call in calls["calls"].as_array().unwrap() {
            let charge = call["request"]["Charge"]["charge"]
                .as_str()
                .unwrap_or_default();
            assert!(
                charged.insert(charge.to_owned()),
                "{charge} was charged twice"
            );
        }
        assert_eq!(
            charged.len() as u64,
            self.orders,
            "each order is charged once"
        );
    }
}
