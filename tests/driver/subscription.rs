//! Durable subscriptions of a process that is killed again and again.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use serde_json::{Value, json};

use crate::client::{Chance, Client, Said};

const KILLS: u64 = 6;
/// Events that each life sees of the longest subscription before the process is killed, at most.
const SEEN_MAX: u64 = 300;
/// Appends under way at a time.
const UNDER_WAY: usize = 16;
/// Events that may be out and not acknowledged.
const IN_FLIGHT: usize = 32;

/// One subscription through all lives of the process.
struct Consumer {
    name: &'static str,
    follows: Value,
    wants: fn(&Value) -> bool,
    /// The largest position whose acknowledgement was answered, and the largest that was sent.
    answered: u64,
    sent: u64,
    /// Whether it was ever told that it is subscribed: a kill can come before that.
    is_known: bool,
    /// Each life: behind which position it began, and what it was given.
    lives: Vec<(u64, Vec<Value>)>,
}

impl Consumer {
    fn new(name: &'static str, follows: Value, wants: fn(&Value) -> bool) -> Self {
        Self {
            name,
            follows,
            wants,
            answered: 0,
            sent: 0,
            is_known: false,
            lives: Vec::new(),
        }
    }

    fn request(&self) -> Value {
        let mut request = self.follows.clone();
        request["sub"] = self.name.into();
        request["durable"] = true.into();
        request["in_flight"] = IN_FLIGHT.into();
        request
    }

    /// What is true of it at the end, the whole log before one's eyes.
    fn check(&self, log: &[Value]) {
        let mut observed = HashSet::new();
        for (after, given) in &self.lives {
            let wanted = |event: &&Value| position(event) > *after && (self.wants)(event);
            let expected = log.iter().filter(wanted).take(given.len());
            // No gap, no other order, nothing that is not so in the log: from where it began to where it was cut.
            assert!(given.iter().eq(expected), "{} after {after}", self.name);
            observed.extend(given.iter().map(position));
        }
        let missed = |event: &&Value| (self.wants)(event) && !observed.contains(&position(event));
        assert_eq!(log.iter().find(missed), None, "{} never saw it", self.name);
    }

    /// Whether it has come to the last event of the log that it wants.
    fn has_come_to_the_end_of(&self, log: &[Value]) -> bool {
        let last = log.iter().rev().find(|event| (self.wants)(event));
        let (after, given) = self.lives.last().unwrap();
        let seen = given.last().map_or(*after, position);
        last.is_none_or(|last| seen >= position(last))
    }
}

fn position(event: &Value) -> u64 {
    event["pos"].as_u64().unwrap()
}

enum Asked {
    Append,
    Acknowledge(usize, u64),
    Subscribe(usize),
    Log,
}

/// All lives of the process, and what it said in them.
struct Play {
    chance: Chance,
    consumers: [Consumer; 3],
    /// What was asked in this life and not answered yet.
    under_way: HashMap<u64, Asked>,
    appends: u64,
    /// Positions of events whose append was answered.
    acknowledged: HashSet<u64>,
    /// The log as it was read at the end.
    log: Option<Vec<Value>>,
}

#[test]
fn h3_h4_u11_a_durable_subscription_has_no_gap_and_no_other_order_though_killed_and_resumed() {
    let folder = tempfile::tempdir().unwrap();
    let mut play = Play {
        chance: Chance::new(),
        consumers: [
            Consumer::new("all", json!({}), |_| true),
            Consumer::new("type", json!({ "types": ["B"] }), |event| {
                event["type"] == "B"
            }),
            Consumer::new("stream", json!({ "stream": "s1" }), |event| {
                event["stream"] == "s1"
            }),
        ],
        under_way: HashMap::new(),
        appends: 0,
        acknowledged: HashSet::new(),
        log: None,
    };
    for _ in 0..KILLS {
        let mut driver = play.begin(folder.path());
        play.write_and_see(&mut driver);
        driver.kill();
    }
    let mut driver = play.begin(folder.path());
    play.write_and_see(&mut driver);
    // Nothing more is written: everybody comes to the end of what there is.
    while !play.under_way.is_empty() {
        play.hear(&mut driver);
    }
    play.under_way
        .insert(driver.send("read_all", json!({})), Asked::Log);
    while play.log.is_none() {
        play.hear(&mut driver);
    }
    let log = play.log.take().unwrap();
    let at_end = |consumer: &Consumer| consumer.has_come_to_the_end_of(&log);
    while !play.consumers.iter().all(at_end) {
        play.hear(&mut driver);
    }
    driver.end();
    let positions: HashSet<u64> = log.iter().map(position).collect();
    assert!(
        play.acknowledged.is_subset(&positions),
        "an answered append is missing"
    );
    for consumer in &play.consumers {
        consumer.check(&log);
    }
}

impl Play {
    /// Another life of the process, in which everybody subscribes again.
    fn begin(&mut self, folder: &Path) -> Client {
        let mut driver = Client::open(folder);
        self.under_way.clear();
        for (index, consumer) in self.consumers.iter_mut().enumerate() {
            let id = driver.send("subscribe", consumer.request());
            self.under_way.insert(id, Asked::Subscribe(index));
            consumer.lives.push((0, Vec::new()));
        }
        driver
    }

    /// Appends while the subscriptions follow, until one of them has seen some number of events.
    fn write_and_see(&mut self, driver: &mut Client) {
        let until = 1 + self.chance.below(SEEN_MAX);
        while (self.consumers[0].lives.last().unwrap().1.len() as u64) < until {
            let is_append = |asked: &&Asked| matches!(asked, Asked::Append);
            let writing = self.under_way.values().filter(is_append).count();
            for _ in writing..UNDER_WAY {
                self.append(driver);
            }
            self.hear(driver);
        }
    }

    fn append(&mut self, driver: &mut Client) {
        self.appends += 1;
        let mut event = |number: u64| {
            let name = if self.chance.below(4) == 0 { "B" } else { "A" };
            json!({ "type": name, "data": format!("{}.{number}", self.appends) })
        };
        let events: Vec<Value> = (0..=self.appends % 3).map(&mut event).collect();
        let stream = format!("s{}", self.chance.below(3));
        let append = json!({ "stream": stream, "expected": "any", "events": events });
        self.under_way
            .insert(driver.send("append", append), Asked::Append);
    }

    /// Takes in the next thing that is said.
    fn hear(&mut self, driver: &mut Client) {
        match driver.hear().expect("the process is alive") {
            Said::Push(name, event) => self.pushed(driver, &name, event),
            Said::Answer(id, answer) => self.answered(id, &answer.unwrap()),
        }
    }

    /// Acknowledges what comes: sometimes each, sometimes many at once.
    fn pushed(&mut self, driver: &mut Client, name: &str, event: Value) {
        let found = self
            .consumers
            .iter()
            .position(|consumer| consumer.name == name);
        let index = found.unwrap();
        let consumer = &mut self.consumers[index];
        let pos = position(&event);
        let given = &mut consumer.lives.last_mut().unwrap().1;
        given.push(event);
        let is_out = |event: &&Value| position(event) > consumer.sent;
        let out = given.iter().rev().take_while(is_out).count();
        assert!(out <= IN_FLIGHT, "{out} events of {name} are out");
        if out >= IN_FLIGHT / 2 || self.chance.below(4) == 0 {
            consumer.sent = consumer.sent.max(pos);
            let id = driver.send("ack", json!({ "sub": name, "pos": pos }));
            self.under_way.insert(id, Asked::Acknowledge(index, pos));
        }
    }

    fn answered(&mut self, id: u64, answer: &Value) {
        match self.under_way.remove(&id).unwrap() {
            Asked::Append => {
                let positions = answer["pos"].as_array().unwrap().iter();
                self.acknowledged
                    .extend(positions.map(|position| position.as_u64().unwrap()));
            }
            Asked::Acknowledge(index, position) => {
                let consumer = &mut self.consumers[index];
                consumer.answered = consumer.answered.max(position);
            }
            Asked::Subscribe(index) => {
                let consumer = &mut self.consumers[index];
                let resumed = answer["resumed"].as_bool().unwrap();
                assert!(
                    resumed || !consumer.is_known,
                    "{} is forgotten",
                    consumer.name
                );
                let is_first = consumer.lives.len() == 1;
                assert!(!resumed || !is_first, "{} begins", consumer.name);
                consumer.is_known = true;
                let after = answer["after"].as_u64().unwrap();
                // What was answered is durable, and nothing was acknowledged that was not sent. (What a filter
                // kept out needs no acknowledgement.)
                assert!(after >= consumer.answered, "{}", consumer.name);
                assert!(after <= consumer.sent || index > 0, "{}", consumer.name);
                consumer.lives.last_mut().unwrap().0 = after;
            }
            Asked::Log => self.log = answer["events"].as_array().cloned(),
        }
    }
}
