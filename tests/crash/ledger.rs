//! What was answered, and what was seen: neither may ever change.

use std::collections::{BTreeMap, HashMap, HashSet};

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
    /// Events up to this position have outlived a power cut: they lie on the disk.
    outlived: u64,
    /// Answered events that were lost with a tail.
    lost: usize,
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
            "{} requests answered, {} events, {} commits of several events, whole and all there but for {} answered events of tails",
            self.answered,
            self.seen.len(),
            self.groups.len(),
            self.lost
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

    /// Reads everything again after a power cut at `Os`: nothing is missing but a tail, and nothing of what has outlived
    /// a cut before.
    pub(crate) fn check_but_for_a_tail(&mut self, driver: &mut Client) {
        let before = std::mem::take(self);
        self.check(driver, true);
        let seen = (1..).zip(&before.seen);
        let promised = before.promised.iter().map(|(id, position)| (*position, id));
        let known: BTreeMap<u64, &String> = seen.chain(promised).collect();
        let is_there =
            |(position, id): (&u64, &&String)| self.seen.get(*position as usize - 1) == Some(*id);
        let gone_from = known.iter().find(|known| !is_there(*known));
        let gone_from = gone_from.map_or(u64::MAX, |(position, _)| *position);
        assert!(
            gone_from > before.outlived,
            "{gone_from} is gone, and {} events lay on the disk",
            before.outlived
        );
        // Nobody appends these again: of what lay after the first that is gone, nothing may be there.
        let here: HashSet<&String> = self.seen.iter().collect();
        for (position, id) in known.range(gone_from..) {
            let is_ours = id.starts_with("e-");
            assert!(
                !is_ours || !here.contains(id),
                "{position} is there, and {gone_from} is not"
            );
        }
        let kept = known.range(..gone_from).next_back();
        self.outlived = kept.map_or(0, |(position, _)| *position);
        self.answered = before.answered;
        let promised = before.promised.len();
        self.promised = before.promised;
        self.promised.retain(|_, position| *position < gone_from);
        self.lost = before.lost + promised - self.promised.len();
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
