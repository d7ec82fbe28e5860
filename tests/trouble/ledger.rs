//! What was answered, and what lies in the log: held against each other.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use uuid::Uuid;

use crate::asked::{Asked, NUMBERS, Wish};
use crate::bank::{AccountCommand, AccountEvent, Amount, Statement, TransferEvent, is_refused};
use crate::words::Answer;

/// What is known of a command.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    /// The date of its id, if it was given one.
    date: Option<u64>,
    /// The best that it was ever answered; `None`: nothing.
    answer: Option<Answer>,
    /// Whether it was sent and the answer is still to come.
    is_under_way: bool,
    /// Whether it was sent and nobody knows what became of that.
    is_lost: bool,
}

/// Everything that commands were answered, in all lives of the worker.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    seed: u64,
    known: HashMap<u64, Known>,
    /// Numbers from here on were never sent.
    end: u64,
    pub(crate) repeated: u64,
}

/// An event of the application.
#[derive(Clone, Debug)]
pub(crate) enum Happened {
    OfAccount(String, AccountEvent),
    OfTransfer(TransferEvent),
}

/// An event as it lies in the log.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) position: u64,
    pub(crate) id: Uuid,
    pub(crate) commit: Uuid,
    pub(crate) stream: String,
    pub(crate) version: u64,
    pub(crate) happened: Happened,
}

/// How many there were.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    pub(crate) done: u64,
    pub(crate) rejected: u64,
    pub(crate) refused: u64,
    pub(crate) unknown: u64,
    pub(crate) found_unknown: u64,
    pub(crate) events: u64,
    pub(crate) transfers: u64,
    pub(crate) undone: u64,
}

/// What the log says of the accounts.
pub(crate) type Statements = BTreeMap<String, Statement>;

impl Ledger {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            seed,
            ..Self::default()
        }
    }

    /// Another worker may use these numbers; what the one before did not answer is lost.
    pub(crate) fn begin_life(&mut self, first: u64) {
        self.end = first + NUMBERS;
        for known in self.known.values_mut() {
            known.is_lost |= std::mem::take(&mut known.is_under_way);
        }
    }

    /// A command is about to be sent under an id.
    pub(crate) fn asked(&mut self, number: u64, date: u64) {
        let known = self.known.entry(number).or_default();
        known.date = Some(date);
        known.is_under_way = true;
    }

    /// A command was answered.
    ///
    /// # Errors
    /// When that cannot be true besides what it was answered before.
    pub(crate) fn answered(&mut self, number: u64, answer: Answer) -> Result<(), String> {
        let known = self.known.entry(number).or_default();
        let before = known.answer;
        self.repeated += u64::from(before.is_some());
        let is_better = match (before, answer) {
            (None | Some(Answer::Unknown | Answer::Refused), _) => true,
            (Some(Answer::Applied), Answer::Done { .. }) => true,
            // The same again; or this attempt got lost.
            (Some(before), answer) if before == answer => false,
            (Some(_), Answer::Unknown) => false,
            (Some(Answer::Done { .. }), Answer::Applied) => false,
            (Some(before), answer) => {
                return Err(format!(
                    "command {number} was {before:?}, and then {answer:?}"
                ));
            }
        };
        known.is_under_way = false;
        known.is_lost = answer == Answer::Unknown;
        if is_better {
            known.answer = Some(answer);
        }
        Ok(())
    }

    /// Commands with an id of which nobody knows what became of them: number and date.
    pub(crate) fn open(&self) -> Vec<(u64, u64)> {
        let open = self.known.iter().filter(|(_, known)| known.is_lost);
        let mut open: Vec<_> = open
            .filter_map(|(number, known)| Some((*number, known.date?)))
            .collect();
        open.sort_unstable();
        open
    }

    /// Holds the whole log against what was answered; the accounts as they must be.
    ///
    /// # Errors
    /// Everything that is wrong, in words.
    pub(crate) fn check(
        &self,
        log: impl Iterator<Item = Found>,
    ) -> Result<(Figures, Statements), Vec<String>> {
        let mut reading = Reading::default();
        for found in log {
            reading.take(self, found);
        }
        self.compare(&mut reading);
        reading.check_transfers();
        match reading.wrong.is_empty() {
            true => Ok((reading.figures, reading.accounts)),
            false => Err(reading.wrong),
        }
    }

    fn compare(&self, reading: &mut Reading) {
        for (number, known) in &self.known {
            let asked = Asked::of(self.seed, *number);
            let (count, position) = reading.commands.get(number).copied().unwrap_or_default();
            let whole = asked.events();
            let figures = &mut reading.figures;
            let is_right = match known.answer {
                Some(Answer::Done { position: told }) => {
                    figures.done += 1;
                    (count, position) == (whole, told)
                }
                Some(Answer::Applied) => {
                    figures.done += 1;
                    count == whole
                }
                Some(Answer::Rejected) => {
                    figures.rejected += 1;
                    count == 0
                }
                Some(Answer::Refused) if !known.is_lost => {
                    figures.refused += 1;
                    count == 0
                }
                Some(Answer::Refused | Answer::Unknown) | None => {
                    figures.unknown += 1;
                    figures.found_unknown += u64::from(count > 0);
                    count == 0 || count == whole
                }
            };
            if !is_right {
                let what = format!(
                    "command {number} was {:?}, and {count} of its {whole} events are there, the last at {position}",
                    known.answer
                );
                reading.wrong.push(what);
            }
        }
        for (number, (count, _)) in &reading.commands {
            let whole = Asked::of(self.seed, *number).events();
            if *number >= self.end || *count != whole {
                let what = format!("{count} of {whole} events of command {number} are there");
                reading.wrong.push(what);
            }
        }
    }
}

/// The log, as far as it was read.
#[derive(Default)]
struct Reading {
    figures: Figures,
    accounts: Statements,
    /// Number to how many events it has, and where the last one lies.
    commands: HashMap<u64, (u64, u64)>,
    transfers: HashMap<u64, Transferred>,
    versions: HashMap<String, u64>,
    ids: HashSet<Uuid>,
    commit: Option<Uuid>,
    commits: HashSet<Uuid>,
    wrong: Vec<String>,
}

/// What became of a transfer.
#[derive(Default)]
struct Transferred {
    amount: Option<Amount>,
    /// How often it was taken, given and given back.
    legs: [u64; 3],
}

impl Reading {
    fn take(&mut self, ledger: &Ledger, found: Found) {
        self.figures.events += 1;
        let position = found.position;
        if !self.ids.insert(found.id) {
            self.wrong
                .push(format!("event {} is there twice", found.id));
        }
        if self.commit != Some(found.commit) {
            self.commit = Some(found.commit);
            if !self.commits.insert(found.commit) {
                let what = format!("commit {} is there twice", found.commit);
                self.wrong.push(what);
            }
        }
        let version = self.versions.entry(found.stream.clone()).or_default();
        *version += 1;
        if found.version != *version {
            let (is, stream) = (found.version, &found.stream);
            let what = format!("{stream} goes on with {is}, and {version} was next");
            self.wrong.push(what);
        }
        match found.happened {
            Happened::OfTransfer(TransferEvent::Started(amount)) => {
                let number = amount.number;
                self.count(ledger, number, position, |wish| {
                    *wish == Wish::Transfer(amount.clone())
                });
                self.transfers.entry(number).or_default().amount = Some(amount);
            }
            Happened::OfAccount(account, event) => {
                let statement = self.accounts.entry(account.clone()).or_default();
                statement.cents += event.adds();
                statement.events += 1;
                if statement.cents < 0 {
                    let cents = statement.cents;
                    self.wrong
                        .push(format!("{account} holds {cents} at {position}"));
                }
                self.take_of_account(ledger, position, &account, &event);
            }
        }
    }

    fn take_of_account(
        &mut self,
        ledger: &Ledger,
        position: u64,
        account: &str,
        event: &AccountEvent,
    ) {
        let (transfer, leg) = match event {
            AccountEvent::Deposited { number, .. } | AccountEvent::Withdrawn { number, .. } => {
                return self.count(ledger, *number, position, |wish| match wish {
                    Wish::OfAccount(of, command) => of == account && is_of(event, command),
                    Wish::Transfer(_) => false,
                });
            }
            AccountEvent::Taken { transfer, .. } => (transfer, 0),
            AccountEvent::Given { transfer, .. } => (transfer, 1),
            AccountEvent::GivenBack { transfer, .. } => (transfer, 2),
        };
        let transferred = self.transfers.entry(*transfer).or_default();
        transferred.legs[leg] += 1;
        let is_right = transferred.amount.as_ref().is_some_and(|amount| {
            let of = if leg == 1 { &amount.to } else { &amount.from };
            of == account && event.adds().abs() == amount.cents
        });
        if !is_right {
            let what = format!("{event:?} of {account} at {position} is of no transfer");
            self.wrong.push(what);
        }
    }

    fn count(
        &mut self,
        ledger: &Ledger,
        number: u64,
        position: u64,
        is_asked: impl Fn(&Wish) -> bool,
    ) {
        let (count, last) = self.commands.entry(number).or_default();
        *count += 1;
        *last = position;
        if !is_asked(&Asked::of(ledger.seed, number).wish) {
            let what = format!("what lies at {position} is not what command {number} asked for");
            self.wrong.push(what);
        }
    }

    /// Every transfer was begun by somebody and has ended, and each leg took place once.
    fn check_transfers(&mut self) {
        let ends = |refused| match refused {
            true => BTreeSet::from([[0, 0, 0], [1, 0, 1]]),
            false => BTreeSet::from([[0, 0, 0], [1, 1, 0]]),
        };
        for (number, transferred) in &self.transfers {
            let cents = transferred.amount.as_ref().map_or(0, |amount| amount.cents);
            if !ends(is_refused(cents)).contains(&transferred.legs) {
                let legs = transferred.legs;
                let what = format!(
                    "transfer {number} of {cents} cents was taken, given and given back {legs:?} times"
                );
                self.wrong.push(what);
            }
            self.figures.transfers += 1;
            self.figures.undone += transferred.legs[2];
        }
    }
}

/// Whether an event is one of those that a command asks for.
fn is_of(event: &AccountEvent, command: &AccountCommand) -> bool {
    match (event, command) {
        (AccountEvent::Deposited { cents, .. }, AccountCommand::Deposit { cents: asked, .. })
        | (AccountEvent::Withdrawn { cents, .. }, AccountCommand::Withdraw { cents: asked, .. }) => {
            cents == asked
        }
        _ => false,
    }
}
