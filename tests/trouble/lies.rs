//! The ledger itself: each kind of lie, told of a log and of answers that fit each other, is found.

use uuid::Uuid;

use crate::asked::{Asked, Wish};
use crate::bank::{AccountCommand, AccountEvent, TransferEvent, is_refused};
use crate::ledger::{Found, Happened, Ledger};
use crate::words::Answer;

const SEED: u64 = 7;
const DATE: u64 = 1_000;

/// Answers and a log that fit each other.
#[derive(Clone, Default)]
struct World {
    ledger: Ledger,
    log: Vec<Found>,
}

/// The numbers of a deposit of several events, one that was rejected, one that was refused, one that was never
/// answered, a transfer, and one that is undone.
struct Numbers {
    deposit: u64,
    rejected: u64,
    refused: u64,
    lost: u64,
    transfer: u64,
    undone: u64,
}

impl World {
    fn push(&mut self, stream: &str, commit: u64, happened: Happened) -> u64 {
        let position = self.log.len() as u64 + 1;
        let before = self.log.iter().filter(|found| found.stream == stream);
        self.log.push(Found {
            position,
            id: Uuid::from_u128(u128::from(position)),
            commit: Uuid::from_u128(u128::from(commit) << 64),
            stream: stream.to_owned(),
            version: before.count() as u64 + 1,
            happened,
        });
        position
    }

    fn deposit(&mut self, number: u64) -> u64 {
        let Wish::OfAccount(account, AccountCommand::Deposit { cents, parts, .. }) =
            Asked::of(SEED, number).wish
        else {
            panic!("{number} is no deposit");
        };
        let mut last = 0;
        for _ in 0..parts {
            let event = AccountEvent::Deposited { number, cents };
            let happened = Happened::OfAccount(account.clone(), event);
            last = self.push(&account, number, happened);
        }
        last
    }

    fn transfer(&mut self, number: u64) -> u64 {
        let Wish::Transfer(amount) = Asked::of(SEED, number).wish else {
            panic!("{number} is no transfer");
        };
        let (transfer, cents) = (number, amount.cents);
        // What is there to be taken comes from nowhere: the account is one that was filled.
        let started = TransferEvent::Started(amount.clone());
        let at = self.push(&format!("t{number}"), number, Happened::OfTransfer(started));
        let legs = match is_refused(cents) {
            true => [
                (&amount.from, AccountEvent::Taken { transfer, cents }),
                (&amount.from, AccountEvent::GivenBack { transfer, cents }),
            ],
            false => [
                (&amount.from, AccountEvent::Taken { transfer, cents }),
                (&amount.to, AccountEvent::Given { transfer, cents }),
            ],
        };
        for (nth, (account, event)) in legs.into_iter().enumerate() {
            let commit = number + (nth as u64 + 1) * 1_000_000;
            self.push(account, commit, Happened::OfAccount(account.clone(), event));
        }
        at
    }

    fn answered(&mut self, number: u64, answer: Answer) {
        self.ledger.answered(number, answer).unwrap();
    }

    /// What is found to be wrong.
    fn wrong(self) -> String {
        let found = self.ledger.check(self.log.into_iter());
        found.map_or_else(|wrong| wrong.join("; "), |_| String::new())
    }
}

fn honest() -> (World, Numbers) {
    let mut numbers = 0..;
    let mut first = |is_wanted: &dyn Fn(&Asked) -> bool| {
        numbers
            .find(|number| is_wanted(&Asked::of(SEED, *number)))
            .unwrap()
    };
    let is_deposit = |asked: &Asked| {
        matches!(
            asked.wish,
            Wish::OfAccount(_, AccountCommand::Deposit { .. })
        ) && asked.has_id
    };
    let moves = |refused| move |asked: &Asked| matches!(&asked.wish, Wish::Transfer(amount) if is_refused(amount.cents) == refused);
    let all = Numbers {
        deposit: first(&|asked| is_deposit(asked) && asked.events() > 1),
        rejected: first(&is_deposit),
        refused: first(&is_deposit),
        lost: first(&is_deposit),
        transfer: first(&moves(false)),
        undone: first(&moves(true)),
    };
    let mut world = World {
        ledger: Ledger::new(SEED),
        log: Vec::new(),
    };
    world.ledger.begin_life(0);
    for number in [all.transfer, all.undone] {
        fill(&mut world, number);
    }
    let position = world.deposit(all.deposit);
    world.answered(all.deposit, Answer::Done { position });
    world.answered(all.rejected, Answer::Rejected);
    world.answered(all.refused, Answer::Refused);
    world.ledger.asked(all.lost, DATE);
    for number in [all.transfer, all.undone] {
        let position = world.transfer(number);
        world.answered(number, Answer::Done { position });
    }
    (world, all)
}

/// Deposits until the account that a transfer takes from has enough for any.
fn fill(world: &mut World, transfer: u64) {
    let Wish::Transfer(amount) = Asked::of(SEED, transfer).wish else {
        panic!("{transfer} is no transfer");
    };
    let mut cents = 0;
    for number in 100_000 + transfer * 1_000.. {
        let wish = Asked::of(SEED, number).wish;
        if let Wish::OfAccount(account, AccountCommand::Deposit { .. }) = wish
            && account == amount.from
        {
            cents += 1;
            world.deposit(number);
        }
        if cents == 100 {
            return;
        }
    }
}

#[test]
fn the_ledger_finds_each_lie() {
    let (world, _) = honest();
    assert_eq!(world.wrong(), "", "what fits is not found fault with");
    type Lie = (&'static str, fn(&mut World, &Numbers), &'static str);
    let lies: [Lie; 14] = [
        (
            "an answered event is missing",
            |world, all| world.log.retain(|found| !is_of(found, all.deposit)),
            "0 of its",
        ),
        (
            "half a commit is missing",
            |world, all| {
                let last = world
                    .log
                    .iter()
                    .rposition(|found| is_of(found, all.deposit));
                world.log.remove(last.unwrap());
            },
            "events are there",
        ),
        (
            "it took place twice",
            |world, all| {
                world.deposit(all.deposit);
            },
            "events are there",
        ),
        (
            "it lies elsewhere than it was answered",
            |world, _| world.log.iter_mut().for_each(|found| found.position += 1),
            "the last at",
        ),
        (
            "what was rejected is there",
            |world, all| {
                world.deposit(all.rejected);
            },
            "Rejected",
        ),
        (
            "what was refused is there",
            |world, all| {
                world.deposit(all.refused);
            },
            "Refused",
        ),
        (
            "what was never answered is there twice",
            |world, all| {
                world.deposit(all.lost);
                world.deposit(all.lost);
            },
            "events are there",
        ),
        (
            "an event is there twice",
            |world, _| world.log[1].id = world.log[0].id,
            "is there twice",
        ),
        (
            "a commit is there twice",
            |world, _| {
                let commit = world.log[0].commit;
                world.log.last_mut().unwrap().commit = commit;
            },
            "is there twice",
        ),
        (
            "a stream has a gap",
            |world, _| world.log[0].version = 2,
            "was next",
        ),
        (
            "a transfer did not end",
            |world, all| world.log.retain(|found| !is_given(found, all.transfer)),
            "was taken, given",
        ),
        (
            "a transfer was given twice",
            |world, all| {
                let given = world.log.iter().find(|found| is_given(found, all.transfer));
                let given = given.cloned().unwrap();
                world.push(&given.stream, 9_999_999, given.happened);
            },
            "was taken, given",
        ),
        (
            "something happened that nobody asked for",
            |world, all| {
                let event = AccountEvent::Deposited {
                    number: all.lost,
                    cents: 1 << 20,
                };
                let happened = Happened::OfAccount("hot-0".to_owned(), event);
                world.push("hot-0", all.lost, happened);
            },
            "is not what command",
        ),
        (
            "money was made",
            |world, all| {
                let cents = -(1 << 40);
                let event = AccountEvent::Given {
                    transfer: all.transfer,
                    cents,
                };
                let happened = Happened::OfAccount("hot-0".to_owned(), event);
                world.push("hot-0", 9_999_998, happened);
            },
            "holds -",
        ),
    ];
    for (lie, tell, found) in lies {
        let (mut world, all) = honest();
        tell(&mut world, &all);
        let wrong = world.wrong();
        assert!(wrong.contains(found), "{lie}: {wrong:?}");
    }
}

#[test]
fn the_ledger_takes_no_answers_that_contradict_each_other() {
    let (done, other) = (Answer::Done { position: 1 }, Answer::Done { position: 2 });
    for (first, then, is_true) in [
        (done, done, true),
        (done, Answer::Unknown, true),
        (Answer::Unknown, done, true),
        (Answer::Refused, done, true),
        (Answer::Unknown, Answer::Refused, true),
        (done, other, false),
        (done, Answer::Rejected, false),
        (done, Answer::Refused, false),
        (Answer::Rejected, done, false),
    ] {
        let mut ledger = Ledger::new(SEED);
        ledger.answered(1, first).unwrap();
        let again = ledger.answered(1, then);
        assert_eq!(again.is_ok(), is_true, "{first:?}, then {then:?}");
    }
}

#[test]
fn what_was_sent_and_not_answered_is_to_be_sent_again() {
    let mut ledger = Ledger::new(SEED);
    for number in 1..=4 {
        ledger.asked(number, DATE);
    }
    ledger.answered(1, Answer::Rejected).unwrap();
    ledger.answered(2, Answer::Unknown).unwrap();
    ledger.answered(3, Answer::Refused).unwrap();
    assert_eq!(ledger.open(), [(2, DATE)]);
    // The process is killed, and nobody knows of the fourth.
    ledger.begin_life(0);
    assert_eq!(ledger.open(), [(2, DATE), (4, DATE)]);
    // That another sending is refused unseen says nothing of the first one; that it was not applied does.
    ledger.answered(4, Answer::Unknown).unwrap();
    assert_eq!(ledger.open(), [(2, DATE), (4, DATE)]);
    ledger.answered(4, Answer::Done { position: 1 }).unwrap();
    ledger.answered(2, Answer::Refused).unwrap();
    assert_eq!(ledger.open(), []);
}

fn is_of(found: &Found, deposit: u64) -> bool {
    matches!(&found.happened, Happened::OfAccount(_, AccountEvent::Deposited { number, .. }) if *number == deposit)
}

fn is_given(found: &Found, number: u64) -> bool {
    matches!(&found.happened, Happened::OfAccount(_, AccountEvent::Given { transfer, .. }) if *transfer == number)
}
