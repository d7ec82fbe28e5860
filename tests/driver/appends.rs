//! A stream under many clients and kills: the history of its appends, refusals and reads is linearizable.

use std::collections::HashMap;

use serde_json::{Value, json};
use todc_utils::specifications::Specification;

use crate::client::{Chance, Client};
use crate::history::{Object, check};

/// What is asked of the stream; what was answered, where it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// Its version and the number in its last event.
    Read(Option<(u64, u64)>),
    Append {
        number: u64,
        /// `None`: whatever its version.
        expected: Option<u64>,
        answer: Option<Answer>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// At this version.
    Accepted(u64),
    /// The stream was at another version than expected: at this one, if it was said.
    Refused(Option<u64>),
}

/// A stream, as its version and the number that was appended last.
pub(crate) struct Stream;

impl Specification for Stream {
    type State = (u64, u64);
    type Operation = Asked;

    fn init() -> (u64, u64) {
        (0, 0)
    }

    fn apply(asked: &Asked, state: &(u64, u64)) -> (bool, (u64, u64)) {
        let version = state.0;
        match asked {
            Asked::Read(found) => (*found == Some(*state), *state),
            Asked::Append {
                number,
                expected,
                answer,
            } => {
                let fits = expected.is_none_or(|expected| expected == version);
                let appended = (version + 1, *number);
                match answer {
                    Some(Answer::Accepted(at)) => (fits && *at == version + 1, appended),
                    // A refusal says where the stream was, as a read does.
                    Some(Answer::Refused(at)) => {
                        (!fits && at.is_none_or(|at| at == version), *state)
                    }
                    None => (true, if fits { appended } else { *state }),
                }
            }
        }
    }
}

#[test]
fn w2_appends_and_refusals_of_one_stream_are_linearizable_though_killed() {
    check::<Appends>("a stream");
}

/// The checker itself: a refusal because of what is not there yet is no linearizable history.
#[test]
fn w2_a_refusal_that_tells_of_what_is_not_there_yet_is_noticed() {
    use todc_utils::linearizability::WGLChecker;
    use todc_utils::linearizability::history::{Action, History};

    let append = |number, answer| Asked::Append {
        number,
        expected: Some(0),
        answer,
    };
    let history = |read| {
        History::from_actions(vec![
            (0, Action::Call(append(1, None))),
            (1, Action::Call(append(2, None))),
            (1, Action::Response(append(2, Some(Answer::Refused(None))))),
            (1, Action::Call(Asked::Read(None))),
            (1, Action::Response(Asked::Read(Some(read)))),
            (0, Action::Response(append(1, Some(Answer::Accepted(1))))),
        ])
    };
    assert!(WGLChecker::<Stream>::is_linearizable(history((1, 1))));
    assert!(!WGLChecker::<Stream>::is_linearizable(history((0, 0))));
}

#[derive(Default)]
struct Appends {
    stream: String,
    /// The version that was seen last, by whomever.
    seen: u64,
    /// Whether the last answer was a refusal: then the next request is a read.
    was_refused: bool,
}

impl Object for Appends {
    type Operation = Asked;
    type Specification = Stream;

    fn begin(_: &mut Client, number: u64) -> Self {
        Self {
            stream: format!("s{number}"),
            ..Self::default()
        }
    }

    fn next(&mut self, number: u64, chance: &mut Chance) -> Asked {
        if std::mem::take(&mut self.was_refused) || chance.below(4) == 0 {
            return Asked::Read(None);
        }
        Asked::Append {
            number,
            expected: (chance.below(8) > 0).then_some(self.seen),
            answer: None,
        }
    }

    fn send(&self, driver: &mut Client, _: u64, asked: &Asked) -> u64 {
        match asked {
            // The last event says at which version it lies, so that both are of one moment.
            Asked::Read(_) => driver.send(
                "read",
                json!({ "stream": self.stream, "desc": true, "limit": 1 }),
            ),
            Asked::Append {
                number, expected, ..
            } => {
                let expected = expected.map_or(json!("any"), |expected| json!(expected));
                let event = json!({ "type": "Appended", "data": number.to_string() });
                let fields =
                    json!({ "stream": self.stream, "expected": expected, "events": [event] });
                driver.send("append", fields)
            }
        }
    }

    fn answered(&mut self, asked: Asked, answer: Result<Value, Value>) -> Asked {
        match asked {
            Asked::Read(_) => {
                let last = last_of(&answer.unwrap());
                self.seen = self.seen.max(last.0);
                Asked::Read(Some(last))
            }
            Asked::Append {
                number, expected, ..
            } => {
                let answer = match answer {
                    Ok(appended) => {
                        let at = appended["first"].as_u64().unwrap();
                        self.seen = self.seen.max(at);
                        Answer::Accepted(at)
                    }
                    Err(error) => {
                        assert_eq!(error["kind"], "conflict", "{error}");
                        self.was_refused = true;
                        Answer::Refused(version_in(error["msg"].as_str().unwrap_or_default()))
                    }
                };
                Asked::Append {
                    number,
                    expected,
                    answer: Some(answer),
                }
            }
        }
    }

    fn unanswered(&self, driver: &mut Client, asked: Vec<Asked>) -> Vec<Option<Asked>> {
        let read = driver
            .call("read", json!({ "stream": self.stream }))
            .unwrap();
        let events = read["events"].as_array().unwrap();
        let places: HashMap<u64, u64> =
            events.iter().map(place_of).map(|(at, n)| (n, at)).collect();
        assert_eq!(places.len(), events.len(), "an append is there twice");
        let settled = asked.into_iter().map(|asked| match asked {
            Asked::Read(_) => None,
            // The stream shows what became of it, in the end.
            Asked::Append {
                number, expected, ..
            } => places.get(&number).map(|at| Asked::Append {
                number,
                expected,
                answer: Some(Answer::Accepted(*at)),
            }),
        });
        settled.collect()
    }
}

/// The version of a stream and its last number.
fn last_of(read: &Value) -> (u64, u64) {
    let events = read["events"].as_array().unwrap();
    events.first().map_or((0, 0), place_of)
}

/// Where an event lies, and its number.
fn place_of(event: &Value) -> (u64, u64) {
    let number = event["data"].as_str().unwrap().parse().unwrap();
    (event["seq"].as_u64().unwrap(), number)
}

/// The version that a refusal names.
fn version_in(words: &str) -> Option<u64> {
    let (_, rest) = words.split_once("is at version ")?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}
