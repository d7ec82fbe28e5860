//! What was answered, and what was seen: neither may ever change.

use std::collections::{HashMap, HashSet};

use serde_json::{Value, json};

use crate::client::Client;

/// How many events are read at once.
const PAGE: u64 = 5_000;

/// What was answered and seen.
#[derive(Default)]
pub(crate) struct Ledger {
    /// By position: the event's id.
    seen: Vec<String>,
    /// The last sequence number of every stream.
    streams: HashMap<String, u64>,
    /// Answered: where an event with this id must lie.
    promised: HashMap<String, u64>,
    /// Commits of several events, by their name: how many there are of how many.
    groups: HashMap<String, (u64, u64)>,
    answered: u64,
}

impl Ledger {
    /// An event was acknowledged at a position.
    pub(crate) fn promise(&mut self, id: String, position: u64) {
        self.promised.insert(id, position);
    }

    pub(crate) fn count_answer(&mut self) {
        self.answered += 1;
    }

    /// What was answered and found, in words.
    pub(crate) fn figures(&self) -> String {
        format!(
            "{} requests answered, {} events, {} commits of several events, all there and whole",
            self.answered,
            self.seen.len(),
            self.groups.len()
        )
    }

    /// Events of requests that were never answered.
    pub(crate) fn found_unanswered(&self) -> usize {
        let ours = self.seen.iter().filter(|id| id.starts_with("e-"));
        let answered: HashSet<&String> = self.promised.keys().collect();
        ours.filter(|id| !answered.contains(id)).count()
    }

    /// Reads what is new, or everything again, and holds it against what is known.
    pub(crate) fn check(&mut self, driver: &mut Client, from_the_beginning: bool) {
        let known = self.seen.len() as u64;
        let mut from = if from_the_beginning { 1 } else { known + 1 };
        // Sagas go on meanwhile: what was told as head can be read by the next request.
        let mut head = 0;
        loop {
            let page = json!({ "from": from, "limit": PAGE });
            let answer = driver.call("read_all", page).unwrap();
            let events = answer["events"].as_array().unwrap();
            for event in events {
                let position = event["pos"].as_u64().unwrap();
                assert_eq!(position, from, "positions have no gaps");
                from += 1;
                self.see(position, event);
            }
            let reached = from > head || events.len() as u64 == PAGE;
            assert!(reached, "what lies before the head {head} can be read");
            head = answer["head"].as_u64().unwrap();
            if from > head {
                break;
            }
        }
        for (name, (found, whole)) in &self.groups {
            assert_eq!(found, whole, "commit {name} is half there");
        }
        for (id, position) in &self.promised {
            let found = self.seen.get(*position as usize - 1);
            assert_eq!(found, Some(id), "an answered event is lost");
        }
    }

    fn see(&mut self, position: u64, event: &Value) {
        let id = event["id"].as_str().unwrap();
        if let Some(before) = self.seen.get(position as usize - 1) {
            assert_eq!(
                before, id,
                "position {position} holds another event than before"
            );
            return;
        }
        self.seen.push(id.to_owned());
        let stream = event["stream"].as_str().unwrap();
        let last = self.streams.entry(stream.to_owned()).or_default();
        *last += 1;
        assert_eq!(
            event["seq"].as_u64(),
            Some(*last),
            "{stream} has a gap or goes back"
        );
        if let Some(group) = event["meta"]["group"].as_str() {
            let whole = event["meta"]["of"].as_u64().unwrap();
            let (found, of) = self.groups.entry(group.to_owned()).or_insert((0, whole));
            *found += 1;
            assert!(found <= of, "commit {group} is there twice");
        }
    }
}
