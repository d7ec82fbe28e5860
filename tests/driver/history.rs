//! Histories of many clients and kills, to be held against a specification: refusals are observations like reads.

use std::collections::HashMap;
use std::fmt::Debug;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use todc_utils::linearizability::WGLChecker;
use todc_utils::linearizability::history::{Action, History};
use todc_utils::specifications::Specification;

use crate::client::{Chance, Client};

const CLIENTS: usize = 8;
/// How often the process is killed in the life of one object. More make its history too long to be checked.
const KILLS: u64 = 2;
/// In plain `cargo test`.
const RUN_SHORT: Duration = Duration::from_millis(1_500);
/// With `CHRONICLER_HISTORY_RUNS`.
const RUN_LONG: Duration = Duration::from_secs(10);

/// What clients ask of, one object after the other.
pub(crate) trait Object: Default {
    type Operation: Clone + PartialEq + Debug;
    type Specification: Specification<Operation = Self::Operation>;

    /// Makes the object of this number ready.
    fn begin(driver: &mut Client, number: u64) -> Self;

    /// What a client asks next; the number is nobody else's.
    fn next(&mut self, number: u64, chance: &mut Chance) -> Self::Operation;

    /// Sends it; the id of the request.
    fn send(&self, driver: &mut Client, number: u64, asked: &Self::Operation) -> u64;

    /// The same with what was answered.
    fn answered(&mut self, asked: Self::Operation, answer: Result<Value, Value>)
    -> Self::Operation;

    /// What is known in the end of requests that were never answered; `None`: it had no effect. The others may have had
    /// it at any time since.
    fn unanswered(
        &self,
        driver: &mut Client,
        asked: Vec<Self::Operation>,
    ) -> Vec<Option<Self::Operation>>;
}

/// What was seen.
#[derive(Debug, Default)]
struct Counts {
    objects: u64,
    operations: usize,
    kills: u64,
}

/// Has histories made and checked, for a short time or as often as the environment says.
pub(crate) fn check<O: Object>(what: &str) {
    let runs = std::env::var("CHRONICLER_HISTORY_RUNS").ok();
    let runs = runs.map(|runs| runs.parse::<u64>().unwrap());
    let (runs, time) = runs.map_or((1, RUN_SHORT), |runs| (runs, RUN_LONG));
    let mut counts = Counts::default();
    for run in 0..runs {
        let folder = tempfile::tempdir().unwrap();
        // What is answered outlives the process at both levels.
        let durability = ["fsync", "os"][(run % 2) as usize];
        one_run::<O>(folder.path(), durability, time, &mut counts);
    }
    println!("{runs} runs of {what}: {counts:?}, all linearizable");
    assert!(counts.operations > 200, "{counts:?} is no history");
}

fn one_run<O: Object>(folder: &Path, durability: &str, time: Duration, counts: &mut Counts) {
    let mut chance = Chance::new();
    // The first opening may have to wait until the example is built.
    let mut driver = open(folder, durability);
    let begun = Instant::now();
    loop {
        counts.objects += 1;
        let mut object = O::begin(&mut driver, counts.objects);
        let mut history = Vec::new();
        for kill in 0..=KILLS {
            let client = kill as usize * CLIENTS;
            let mut clients = Clients::<O>::new(client);
            let until = 40 + chance.below(60);
            clients.ask(&mut object, &mut driver, &mut history, until, &mut chance);
            if kill < KILLS {
                counts.kills += 1;
                driver.kill();
                driver = open(folder, durability);
            } else {
                clients.hear_all(&mut object, &mut driver, &mut history);
            }
        }
        counts.operations += history.len();
        let history = settle(&object, &mut driver, history);
        let shown = format!("{history:?}");
        assert!(
            WGLChecker::<O::Specification>::is_linearizable(History::from_actions(history)),
            "object {} at {durability}: {shown}",
            counts.objects
        );
        if begun.elapsed() >= time {
            return driver.end();
        }
    }
}

fn open(folder: &Path, durability: &str) -> Client {
    let options = json!({ "durability": durability });
    let (driver, opened) = Client::start(folder, &[], options);
    assert!(matches!(opened, Some(Ok(_))), "{opened:?}");
    driver
}

type Actions<O> = Vec<(usize, Action<<O as Object>::Operation>)>;

/// Clients of one process, each with one request under way at most.
struct Clients<O: Object> {
    idle: Vec<usize>,
    under_way: HashMap<u64, (usize, O::Operation)>,
    first: usize,
}

impl<O: Object> Clients<O> {
    fn new(first: usize) -> Self {
        Self {
            idle: (first..first + CLIENTS).collect(),
            under_way: HashMap::new(),
            first,
        }
    }

    /// Has all clients ask, one request after the other, until so many were answered.
    fn ask(
        &mut self,
        object: &mut O,
        driver: &mut Client,
        history: &mut Actions<O>,
        until: u64,
        chance: &mut Chance,
    ) {
        for answered in 0..until {
            while let Some(client) = self.idle.pop() {
                let number = (self.first as u64 * 1_000) + answered * 10 + self.idle.len() as u64;
                let asked = object.next(number + 1, chance);
                history.push((client, Action::Call(asked.clone())));
                let id = object.send(driver, number + 1, &asked);
                self.under_way.insert(id, (client, asked));
            }
            self.hear(object, driver, history);
        }
    }

    fn hear_all(&mut self, object: &mut O, driver: &mut Client, history: &mut Actions<O>) {
        while !self.under_way.is_empty() {
            self.hear(object, driver, history);
        }
    }

    fn hear(&mut self, object: &mut O, driver: &mut Client, history: &mut Actions<O>) {
        let (id, answer) = driver.next();
        let (client, asked) = self.under_way.remove(&id).unwrap();
        let answered = object.answered(asked, answer);
        history.push((client, Action::Response(answered)));
        self.idle.push(client);
    }
}

/// Ends the requests that were never answered, with what is known of them in the end.
fn settle<O: Object>(object: &O, driver: &mut Client, mut history: Actions<O>) -> Actions<O> {
    let mut open = HashMap::new();
    for (at, (client, action)) in history.iter().enumerate() {
        match action {
            Action::Call(asked) => open.insert(*client, (at, asked.clone())),
            Action::Response(_) => open.remove(client),
        };
    }
    let (calls, asked): (Vec<_>, Vec<_>) = open
        .into_iter()
        .map(|(client, (at, asked))| ((at, client), asked))
        .unzip();
    let settled = object.unanswered(driver, asked);
    let mut without_effect = Vec::new();
    for ((at, client), settled) in calls.into_iter().zip(settled) {
        match settled {
            Some(settled) => {
                // The checker holds a call and its answer for the same operation by the client alone.
                history.push((client, Action::Response(settled)));
            }
            None => without_effect.push(at),
        }
    }
    without_effect.sort_unstable();
    for at in without_effect.into_iter().rev() {
        history.remove(at);
    }
    history
}
