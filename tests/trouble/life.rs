//! The lives of the worker: each begins, is loaded, gets its share of trouble, comes to rest, and ends.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::asked::{Chance, NUMBERS};
use crate::ledger::{Ledger, Statements};
use crate::log;
use crate::plan::{Plan, Turn};
use crate::process::{Held, Process, after};
use crate::troubles::{Trouble, Troublemaker};
use crate::words::{Said, Start, Told};

/// How long the worker may take to come to rest, or to stop, once its trouble has passed.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long it may take to give back what it held for its trouble.
const GIVES_BACK: Duration = Duration::from_secs(20);
/// What it may hold more than before: it has more instances then, and caches differ.
const MORE: Held = Held {
    memory: 128 << 10,
    threads: 2,
    descriptors: 4,
};
/// Descriptors that it may keep after the disk was full: a sled that was refused a write is left behind with its files,
/// since closing it may hang, and another one is begun.
const LEFT_BEHIND: u64 = 32;
/// How often it is looked at until then.
const LOOK: Duration = Duration::from_millis(50);
/// After how long it holds nothing more of what it came to rest from.
const SETTLES: Duration = Duration::from_millis(400);
/// Small ones are begun in every trouble, and notice a disk without room or a file that cannot be opened; with large
/// ones the log goes on, and whoever reads it notices.
const SEGMENT_BYTES: [u64; 2] = [64 << 10, 16 << 20];
/// Of so many lives one is not synced, and of so many one is stopped and not killed.
const UNSYNCED: u64 = 3;
const STOPPED: u64 = 4;

/// All lives, and what is known from them.
pub(crate) struct Lives<'a> {
    seed: u64,
    dir: PathBuf,
    chance: Chance,
    plan: Plan,
    maker: Troublemaker<'a>,
    ledger: Ledger,
    lives: u64,
    turns: Vec<Turn>,
    had: BTreeMap<Trouble, u64>,
    ends: BTreeMap<&'static str, u64>,
    /// How far the durable subscription was given events, and acknowledged them.
    given: u64,
    acknowledged: u64,
    errors: BTreeMap<String, u64>,
    slow_reads: u64,
    most: [u64; 3],
    is_read_only: bool,
    /// Timers that were on their way to the log when the clock was set back: they may be late by as much, and fire at
    /// the latest in the next life.
    late: usize,
    /// What it waits for to come to rest.
    awaits: String,
    accounts: Vec<Said>,
    left: Vec<String>,
}

impl<'a> Lives<'a> {
    pub(crate) fn new(seed: u64, dir: PathBuf, maker: Troublemaker<'a>, plan: Plan) -> Self {
        Self {
            seed,
            dir,
            chance: Chance::new(seed),
            maker,
            plan,
            ledger: Ledger::new(seed),
            lives: 0,
            turns: Vec::new(),
            had: BTreeMap::new(),
            ends: BTreeMap::new(),
            given: 0,
            acknowledged: 0,
            errors: BTreeMap::new(),
            slow_reads: 0,
            most: [0; 3],
            is_read_only: false,
            late: 0,
            awaits: String::new(),
            accounts: Vec::new(),
            left: Vec::new(),
        }
    }

    /// Whether each kind of trouble was there.
    pub(crate) fn has_had_all(&self) -> bool {
        self.plan
            .kinds
            .iter()
            .all(|trouble| self.had.contains_key(trouble))
    }

    /// One life, from its start to its end.
    pub(crate) fn live(&mut self) {
        self.turns = self.plan.draw(&mut self.chance);
        let mut process = self.begin();
        process.tell(&Told::Load);
        self.hear_for(&process, self.plan.pace.calm);
        self.rest(&mut process);
        self.hear_for(&process, SETTLES);
        let before = process.held();
        process.tell(&Told::Load);
        let began = Instant::now();
        for turn in self.turns.clone() {
            self.hear_for(&process, turn.at.saturating_sub(began.elapsed()));
            if turn.begins {
                self.maker
                    .begin(turn.trouble, &mut process, &mut self.chance);
                *self.had.entry(turn.trouble).or_default() += 1;
            } else {
                self.maker.end(turn.trouble, &mut process);
            }
        }
        self.hear_for(&process, self.plan.pace.calm);
        if !self.is_read_only && self.rest(&mut process) {
            self.gives_back(&process, before);
            process.tell(&Told::Load);
            self.hear_for(&process, self.plan.pace.calm);
        }
        let way = match (self.is_read_only, self.chance.below(STOPPED) == 0) {
            (true, true) => "read-only, then stopped",
            (true, false) => "read-only, then killed",
            (false, true) => "stopped",
            (false, false) => "killed",
        };
        *self.ends.entry(way).or_default() += 1;
        if way.ends_with("stopped") {
            self.stop(process);
        } else {
            process.kill();
            let (rest, _) = process.end();
            rest.into_iter().for_each(|said| self.take(said));
        }
    }

    /// A last life without trouble: everything that was ever answered is held against the log.
    pub(crate) fn end_well(mut self) {
        self.turns = Vec::new();
        let mut process = self.begin();
        assert!(self.rest(&mut process), "{}", self.wrong("it is read-only"));
        process.tell(&Told::Report);
        self.hear_until(&process, |said| matches!(said, Said::Left { .. }));
        self.stop(process);
        let checked = self.ledger.check(log::read(&self.dir));
        let (figures, accounts) = match checked {
            Ok(found) => found,
            Err(wrong) => panic!("{}", self.wrong(&first_of(&wrong))),
        };
        let wrong = self.compare(&accounts);
        assert!(wrong.is_empty(), "{}", self.wrong(&first_of(&wrong)));
        let left = std::mem::take(&mut self.left);
        assert!(left.is_empty(), "{}", self.wrong(&first_of(&left)));
        println!("{} lives, which ended: {:?}", self.lives, self.ends);
        println!("trouble: {:?}", self.had);
        println!(
            "{figures:?}, {} answers to repeated commands",
            self.ledger.repeated
        );
        println!("errors: {:?}", self.errors);
        println!(
            "{} slow reads; the durable subscription was given {} events",
            self.slow_reads, self.given
        );
        let [memory, threads, descriptors] = self.most;
        println!("{} timers were late by a clock set back", self.late);
        println!(
            "at most {memory} KiB, {threads} threads and {descriptors} descriptors more after trouble than before"
        );
    }

    fn begin(&mut self) -> Process {
        let first = self.lives * NUMBERS;
        self.lives += 1;
        self.is_read_only = false;
        self.ledger.begin_life(first);
        let mut process = Process::start(&Start {
            dir: self.dir.clone(),
            seed: self.seed,
            first,
            rate: self.plan.pace.rate,
            ahead: self.maker.ahead(),
            syncs: self.chance.below(UNSYNCED) > 0,
            slow_readers: self.plan.pace.slow_readers,
            segment_bytes: SEGMENT_BYTES[self.chance.below(2) as usize],
        });
        self.hear_until(&process, |said| matches!(said, Said::Started));
        for (number, date) in self.ledger.open() {
            process.tell(&Told::Again { number, date });
        }
        process
    }

    /// Waits until nothing is under way; false if it takes no more writes.
    fn rest(&mut self, process: &mut Process) -> bool {
        process.tell(&Told::Quiet);
        self.hear_until(process, |said| {
            matches!(said, Said::Quiet | Said::ReadOnly { .. })
        });
        !self.is_read_only
    }

    fn stop(&mut self, mut process: Process) {
        process.tell(&Told::Stop);
        self.hear_until(&process, |said| matches!(said, Said::Stopped));
        let (rest, is_good) = process.end();
        rest.into_iter().for_each(|said| self.take(said));
        assert!(is_good, "{}", self.wrong("it did not end well"));
    }

    /// Waits until it holds no more than before its trouble.
    fn gives_back(&mut self, process: &Process, before: Held) {
        let until = after(GIVES_BACK);
        loop {
            let now = process.held();
            let more = [
                now.memory.saturating_sub(before.memory),
                now.threads.saturating_sub(before.threads),
                now.descriptors.saturating_sub(before.descriptors),
            ];
            let was_full = |turn: &Turn| turn.trouble == Trouble::DiskFills;
            let left_behind = match self.turns.iter().any(was_full) {
                true => LEFT_BEHIND,
                false => 0,
            };
            let most = [MORE.memory, MORE.threads, MORE.descriptors + left_behind];
            if more.iter().zip(most).all(|(more, most)| *more <= most) {
                self.most = std::array::from_fn(|at| self.most[at].max(more[at]));
                return;
            }
            if Instant::now() > until {
                let what = format!("it held {before:?} before, and {now:?} after");
                panic!("{}", self.wrong(&what));
            }
            self.hear_for(process, LOOK);
        }
    }

    fn hear_for(&mut self, process: &Process, time: Duration) {
        let until = after(time);
        while let Some(said) = self.hear(process, until) {
            self.take(said);
        }
    }

    fn hear_until(&mut self, process: &Process, is_wanted: impl Fn(&Said) -> bool) {
        let until = after(PATIENCE);
        loop {
            let Some(said) = self.hear(process, until) else {
                let what = format!("in vain it waits for {}", self.awaits);
                panic!("{}", self.wrong(&what));
            };
            let is_it = is_wanted(&said);
            self.take(said);
            if is_it {
                return;
            }
        }
    }

    fn hear(&self, process: &Process, until: Instant) -> Option<Said> {
        let heard = process.hear(until);
        heard.unwrap_or_else(|()| panic!("{}", self.wrong("it died of itself")))
    }

    fn take(&mut self, said: Said) {
        match said {
            Said::Asked { number, date } => self.ledger.asked(number, date),
            Said::Answered { number, answer } => {
                if let Err(wrong) = self.ledger.answered(number, answer) {
                    panic!("{}", self.wrong(&wrong));
                }
            }
            Said::ReadOnly { .. } => self.is_read_only = true,
            Said::Resumed { after } => {
                let (given, acknowledged) = (self.given, self.acknowledged);
                let what = format!(
                    "the durable subscription was given {given} and acknowledged {acknowledged}, and goes on behind {after}"
                );
                let is_right = (acknowledged..=given).contains(&after);
                assert!(is_right, "{}", self.wrong(&what));
            }
            Said::Given { through } => self.given = self.given.max(through),
            Said::Acknowledged { through } => {
                self.acknowledged = self.acknowledged.max(through);
            }
            Said::Fault { what } => panic!("{}", self.wrong(&what)),
            Said::Account { .. } => self.accounts.push(said),
            Said::Left {
                quarantined,
                parked,
                open,
            } => {
                self.left.extend(quarantined);
                self.left.extend(parked);
                self.left.extend(open);
            }
            Said::Counted { errors, slow_reads } => {
                for (kind, count) in errors {
                    *self.errors.entry(kind).or_default() += count;
                }
                self.slow_reads += slow_reads;
            }
            Said::Late { sagas } => {
                let was_set = |turn: &Turn| turn.trouble == Trouble::ClockBackwards;
                let may_be = self.turns.iter().any(was_set);
                let what = format!("timers are late: {sagas:?}");
                assert!(may_be, "{}", self.wrong(&what));
                self.late += sagas.len();
            }
            Said::Awaits { what } => self.awaits = what,
            Said::Started | Said::Quiet | Said::Stopped => {}
        }
    }

    /// States, views and tables against what the log says.
    fn compare(&self, accounts: &Statements) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut seen = 0;
        for said in &self.accounts {
            let Said::Account {
                id,
                cents,
                version,
                balance,
                statement,
            } = said
            else {
                continue;
            };
            let right = accounts.get(id);
            let is_right = match right {
                None => (*version, *balance, statement) == (0, None, &None),
                Some(right) => {
                    seen += 1;
                    (*cents, *version) == (right.cents, right.events)
                        && *balance == Some(right.cents)
                        && statement.as_ref() == Some(right)
                }
            };
            if !is_right {
                wrong.push(format!("the log says {right:?}, and {said:?} was seen"));
            }
        }
        if seen != accounts.len() {
            let all = accounts.len();
            wrong.push(format!("{seen} of {all} accounts were seen"));
        }
        wrong
    }

    /// What is wrong, and where.
    fn wrong(&self, what: &str) -> String {
        let (seed, life, turns) = (self.seed, self.lives, &self.turns);
        format!("seed {seed}, life {life} with {turns:?}: {what}")
    }
}

/// The first few of a list.
fn first_of(wrong: &[String]) -> String {
    let all = wrong.len();
    let first = wrong.iter().take(10).map(String::as_str);
    format!("{all} are wrong: {}", first.collect::<Vec<_>>().join("; "))
}
