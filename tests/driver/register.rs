//! A register under many clients and kills: its history is linearizable.

use serde_json::{Value, json};
use todc_utils::specifications::Specification;

use crate::client::{Chance, Client};
use crate::history::{Object, check};

/// What is asked of the register; what was answered, where it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    Read(Option<u64>),
    Write(u64),
    /// From, to, and whether it was accepted.
    CompareAndSet(u64, u64, Option<bool>),
}

pub(crate) struct Register;

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
    check::<Aggregate>("a register");
}

/// The register as an aggregate, asked by commands.
#[derive(Default)]
struct Aggregate {
    id: String,
    /// The value that was seen last.
    seen: u64,
}

impl Object for Aggregate {
    type Operation = Asked;
    type Specification = Register;

    fn begin(driver: &mut Client, number: u64) -> Self {
        let register = Self {
            id: format!("r{number}"),
            seen: 0,
        };
        let begin = register.command("0", "Write", json!({ "value": 0 }));
        driver.call("cmd", begin).unwrap();
        register
    }

    fn next(&mut self, number: u64, chance: &mut Chance) -> Asked {
        match chance.below(3) {
            0 => Asked::Read(None),
            1 => Asked::Write(number),
            _ => Asked::CompareAndSet(self.seen, number, None),
        }
    }

    fn send(&self, driver: &mut Client, number: u64, asked: &Asked) -> u64 {
        let cid = number.to_string();
        match asked {
            Asked::Read(_) => driver.send("state", json!({ "agg": "register", "aid": self.id })),
            Asked::Write(value) => driver.send(
                "cmd",
                self.command(&cid, "Write", json!({ "value": value })),
            ),
            Asked::CompareAndSet(from, to, _) => {
                let args = json!({ "expected": from, "value": to });
                driver.send("cmd", self.command(&cid, "CompareAndSet", args))
            }
        }
    }

    fn answered(&mut self, asked: Asked, answer: Result<Value, Value>) -> Asked {
        match (asked, answer) {
            (Asked::Read(_), answer) => {
                let value = answer.unwrap()["state"]["value"].as_u64();
                self.seen = value.unwrap();
                Asked::Read(value)
            }
            (Asked::Write(value), answer) => {
                answer.unwrap();
                self.seen = value;
                Asked::Write(value)
            }
            (Asked::CompareAndSet(from, to, _), Ok(_)) => {
                self.seen = to;
                Asked::CompareAndSet(from, to, Some(true))
            }
            (Asked::CompareAndSet(from, to, _), Err(error)) => {
                assert_eq!(error["kind"], "rejected", "{error}");
                Asked::CompareAndSet(from, to, Some(false))
            }
        }
    }

    fn unanswered(&self, _: &mut Client, asked: Vec<Asked>) -> Vec<Option<Asked>> {
        // Nobody knows what a read would have read, and it changes nothing.
        let may_have_had_effect = |asked: &Asked| !matches!(asked, Asked::Read(_));
        let asked = asked.into_iter();
        asked
            .map(|asked| Some(asked).filter(may_have_had_effect))
            .collect()
    }
}

impl Aggregate {
    fn command(&self, cid: &str, name: &str, args: Value) -> Value {
        json!({ "agg": "register", "aid": self.id, "cid": cid, "name": name, "args": args })
    }
}
