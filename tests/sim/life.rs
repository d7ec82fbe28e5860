//! Lives of one application: each works for a while, and ends well, dies, or has its disk fail.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use chronicler::App;
use chronicler::domain::{CommandId, GlobalPosition, LogSequence, Timestamp};
use chronicler::prelude::*;
use chronicler::runtime::Clock;
use chronicler::store::codec::EventDecoder;
use chronicler::store::{
    AllQuery, Direction, EventLog, Filter, MemoryStore, Outcome, RecordedCommit, Start,
    read_all_events,
};
use chronicler_testkit::{AppendFault, CrashPoint, ManualClock};
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt, TryStreamExt};

use crate::account::{Account, AccountCommand, AccountEvent};
use crate::bank::{Balances, Count, Counts, start};
use crate::chance::Chance;
use crate::history::History;
use crate::transfer::{Transfer, TransferCommand};
use crate::turns::turn_until;

const ACCOUNTS: u64 = 5;
const LIVES_MAX: u64 = 4;
const STEPS_MAX: u64 = 50;

/// A command that was drawn, to be sent as often as its answer is lost.
#[derive(Clone, Debug)]
enum Wish {
    OfAccount(String, AccountCommand),
    Transfer(String, TransferCommand),
}

type Answered = (u64, Result<bool, Outcome>);

pub(crate) struct World {
    chance: Chance,
    store: Arc<MemoryStore>,
    clock: ManualClock,
    history: History,
    /// By number: what is to be sent again, with the same command id.
    open: BTreeMap<u64, (CommandId, Wish)>,
    wishes: u64,
    /// Commands whose effect was acknowledged, and those that were told to have none.
    acknowledged: BTreeSet<CommandId>,
    denied: BTreeSet<CommandId>,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            chance: Chance::new(seed),
            store: Arc::new(MemoryStore::new()),
            clock: ManualClock::new(Timestamp::from_millis(1_767_312_000_000)),
            history: History::default(),
            open: BTreeMap::new(),
            wishes: 0,
            acknowledged: BTreeSet::new(),
            denied: BTreeSet::new(),
        }
    }

    pub(crate) fn run(mut self) -> History {
        for number in 0..ACCOUNTS {
            let open = AccountCommand::Open { cents: 1_000 };
            self.wish(Wish::OfAccount(format!("a{number}"), open));
        }
        let lives = 1 + self.chance.below(LIVES_MAX);
        for _ in 0..lives {
            self.in_a_runtime(|world| world.live().boxed_local());
            self.history.lives += 1;
            self.store = self.store.faults().survivor();
        }
        self.in_a_runtime(|world| world.end().boxed_local());
        self.history
    }

    fn in_a_runtime<'a>(
        &'a mut self,
        life: impl FnOnce(&'a mut Self) -> futures::future::LocalBoxFuture<'a, ()>,
    ) {
        crate::runtime_of_a_life().block_on(life(self));
    }

    async fn live(&mut self) {
        if self.chance.one_in(2) {
            let write = 1 + self.chance.below(120);
            let durable = self.chance.one_in(2);
            self.store.faults().crash_at(CrashPoint { write, durable });
        }
        let starting = start(&self.store, &self.clock, self.chance.next());
        let Some(Some(app)) = turn_until(starting.boxed_local()).await else {
            assert!(self.store.faults().is_dead(), "it starts, or is dead");
            return;
        };
        let mut under_way = FuturesUnordered::new();
        for (number, (id, wish)) in self.open.clone() {
            under_way.push(send(&app, number, id, wish));
        }
        for _ in 0..self.chance.below(STEPS_MAX) {
            self.step(&app, &mut under_way).await;
            if self.store.faults().is_dead() {
                return;
            }
        }
        if self.chance.one_in(2) {
            // A clean end answers whoever waits.
            while let Some(Some(answered)) = turn_until(under_way.next()).await {
                self.answered(answered);
            }
            turn_until(app.stop().boxed_local()).await;
        }
    }

    async fn step(
        &mut self,
        app: &App,
        under_way: &mut FuturesUnordered<BoxFuture<'static, Answered>>,
    ) {
        match self.chance.below(12) {
            0..=4 => {
                let (number, id, wish) = self.something();
                under_way.push(send(app, number, id, wish));
            }
            5 => {
                let by = Duration::from_millis(self.chance.below(8_000));
                self.clock.advance(by);
            }
            6 => {
                let fault = match self.chance.below(12) {
                    0 => AppendFault::FailedNotWritten,
                    1 => AppendFault::FailedWritten,
                    _ => AppendFault::Overloaded,
                };
                self.store.faults().fail_append(fault);
            }
            7 => {
                let fail = self.chance.one_in(3);
                self.store.faults().fail_snapshots(fail);
            }
            8 => self.check_view(app).await,
            9 => {
                // The state of an account is durable, and one that its events lead to.
                let id = AggregateId::new(format!("a{}", self.chance.below(ACCOUNTS))).unwrap();
                if let Some(Ok(read)) =
                    turn_until(app.state::<Account>(id.clone()).boxed_local()).await
                    && let Some(events) = events(&self.store).await
                {
                    let of_it = events.iter().filter(|(account, ..)| account == id.as_str());
                    assert!(of_it.count() as u64 >= read.version.get());
                }
            }
            _ => {}
        }
        for _ in 0..self.chance.below(40) {
            tokio::task::yield_now().await;
            while let Some(Some(answered)) = under_way.next().now_or_never() {
                self.answered(answered);
            }
        }
    }

    fn something(&mut self) -> (u64, CommandId, Wish) {
        let account = |number: u64| format!("a{number}");
        let from = self.chance.below(ACCOUNTS);
        let cents = self.chance.below(400) as i64;
        let wish = match self.chance.below(5) {
            0 => Wish::OfAccount(account(from), AccountCommand::Deposit { cents, of: None }),
            1 => Wish::OfAccount(account(from), AccountCommand::Withdraw { cents }),
            _ => {
                // Some go to an account that is never opened, and are compensated.
                let to = account((from + 1 + self.chance.below(ACCOUNTS)) % (ACCOUNTS + 1));
                let from = account(from);
                let id = format!("t{}", self.wishes);
                Wish::Transfer(id, TransferCommand::Start { from, to, cents })
            }
        };
        self.wish(wish)
    }

    fn wish(&mut self, wish: Wish) -> (u64, CommandId, Wish) {
        self.wishes += 1;
        let id = CommandId::derived(self.clock.now(), &format!("wish {}", self.wishes));
        self.open.insert(self.wishes, (id, wish.clone()));
        (self.wishes, id, wish)
    }

    fn answered(&mut self, (number, answer): Answered) {
        self.history.answers.push(format!("{number}: {answer:?}"));
        let (id, _) = self.open[&number];
        match answer {
            Ok(recorded) => {
                self.open.remove(&number);
                if recorded {
                    self.acknowledged.insert(id);
                }
            }
            // It may be there or not: it is sent again, and counts once.
            Err(Outcome::Unknown) => {}
            // Of this sending and of all before: it is never sent again, and must never be seen.
            Err(_) => {
                self.open.remove(&number);
                self.denied.insert(id);
            }
        }
    }

    /// What a view shows is what the log says as of its position.
    async fn check_view(&self, app: &App) {
        let (position, shown) = match app.view::<Balances>().read() {
            Ok(read) => (read.position(), read.clone()),
            Err(_) => return,
        };
        let Some(events) = events(&self.store).await else {
            return;
        };
        let mut fresh = Balances::default();
        for (account, _, event) in events.iter().filter(|(_, at, _)| *at <= position) {
            fresh.fold(account, event);
        }
        assert_eq!(shown.0, fresh.0, "a view as of {position}");
    }

    /// The last life: everything is sent that has no answer, every saga ends, and the books are balanced.
    async fn end(&mut self) {
        let app = start(&self.store, &self.clock, self.chance.next())
            .await
            .unwrap();
        let mut under_way = FuturesUnordered::new();
        for (number, (id, wish)) in self.open.clone() {
            under_way.push(send(&app, number, id, wish));
        }
        while !under_way.is_empty() {
            let answered = turn_until(under_way.next()).await;
            self.answered(answered.expect("it is answered").unwrap());
        }
        for _ in 0..20 {
            turn_until(app.settled().boxed_local()).await;
            self.clock.advance(Duration::from_secs(60));
        }
        assert!(turn_until(app.settled().boxed_local()).await.is_some());
        let commits = all_commits(&self.store).await;
        self.check_commits(&commits);
        self.check_books(&app).await;
        self.history.commits = commits
            .iter()
            .map(|commit| commit.as_bytes().clone())
            .collect();
    }

    /// H1, H2, H3: what was acknowledged is there, once; what was denied is not; nothing has gaps.
    fn check_commits(&self, commits: &[RecordedCommit]) {
        let mut seen = BTreeSet::new();
        let (mut position, mut time) = (0, Timestamp::EPOCH);
        for (number, commit) in (1..).zip(commits) {
            assert_eq!(commit.sequence().get(), number);
            assert!(commit.timestamp() >= time);
            time = commit.timestamp();
            for event in commit.parts().flat_map(|part| part.events()) {
                position += 1;
                assert_eq!(event.position().get(), position);
            }
            assert!(seen.insert(commit.commit_id()), "a commit is there twice");
        }
        for id in &self.acknowledged {
            assert!(seen.contains(&id.as_uuid()), "acknowledged and lost");
        }
        for id in &self.denied {
            assert!(!seen.contains(&id.as_uuid()), "denied and seen");
        }
    }

    /// Views equal a fold of the log; money is conserved; every saga has ended, and nothing stays set aside.
    async fn check_books(&self, app: &App) {
        let mut fresh = Balances::default();
        let (mut counts, mut came_in) = (BTreeMap::<String, u64>::new(), 0);
        for (id, _, event) in events(&self.store).await.unwrap() {
            fresh.fold(&id, &event);
            *counts.entry(id).or_default() += 1;
            match event {
                AccountEvent::Opened { cents } => came_in += cents,
                AccountEvent::Deposited { cents, of: None } => came_in += cents,
                AccountEvent::Withdrawn { cents } => came_in -= cents,
                _ => {}
            }
        }
        let head = app.head().position;
        let view = app.view::<Balances>();
        let seen = turn_until(view.at_least(head).boxed_local()).await;
        assert_eq!(seen.expect("it gets there").unwrap().0, fresh.0);
        assert_eq!(fresh.0.values().sum::<i64>(), came_in, "money is conserved");
        let table = app.table::<Counts>().unwrap();
        let seen = turn_until(table.at_least(head).boxed_local()).await;
        let status = app.projections().info(Counts::NAME);
        seen.unwrap_or_else(|| panic!("{status:?}")).unwrap();
        for (id, count) in &counts {
            let row = turn_until(table.get(id).boxed_local()).await.unwrap();
            assert_eq!(row.unwrap(), Some(Count(*count)), "{id}");
            let id = AggregateId::new(id).unwrap();
            let state = turn_until(app.state::<Account>(id.clone()).boxed_local()).await;
            let shown = state.unwrap().unwrap().state.shown();
            assert_eq!(shown["reserved"], serde_json::json!({}), "{id}");
            assert_eq!(shown["balance"], fresh.0[id.as_str()], "{id}");
        }
    }
}

/// Sends a command; whether anything is recorded under its id, or what became of it.
fn send(app: &App, number: u64, id: CommandId, wish: Wish) -> BoxFuture<'static, Answered> {
    let app = app.clone();
    async move {
        let answer = match wish {
            Wish::OfAccount(account, command) => {
                let account = AggregateId::new(account).unwrap();
                let command = app
                    .command::<Account>(account, command)
                    .command_id(id)
                    .correlation_id(id.as_uuid());
                outcome(command.send().await)
            }
            Wish::Transfer(transfer, command) => {
                let transfer = AggregateId::new(transfer).unwrap();
                let command = app
                    .command::<Transfer>(transfer, command)
                    .command_id(id)
                    .correlation_id(id.as_uuid());
                outcome(command.send().await)
            }
        };
        (number, answer)
    }
    .boxed()
}

fn outcome<T, R>(sent: Result<Receipt<T>, SendError<R>>) -> Result<bool, Outcome> {
    match sent {
        Ok(_) => Ok(true),
        // Its outcome is recorded, too.
        Err(SendError::Rejected(_)) => Ok(true),
        Err(SendError::Failed(error)) => Err(error.outcome()),
    }
}

/// The events of accounts with account and position; `None` from a store that is dead.
async fn events(store: &MemoryStore) -> Option<Vec<(String, GlobalPosition, AccountEvent)>> {
    let filter = Filter {
        categories: vec![Account::CATEGORY.into()],
        ..Filter::default()
    };
    let (first, last) = (GlobalPosition::new(1), GlobalPosition::MAX);
    let found = read_all_events(store, first, last, filter, usize::MAX, Direction::Forward);
    let decoder = EventDecoder::<AccountEvent>::new();
    let found = found.await.ok()?;
    let events = found.iter().flat_map(|event| {
        let (version, payload) = (event.schema_version, &event.payload);
        let decoded = decoder.decode_parts(event.codec, &event.event_type, version, payload);
        let account = event.stream.id().to_owned();
        let decoded = decoded.unwrap().into_iter();
        decoded.map(move |decoded| (account.clone(), event.position, decoded))
    });
    Some(events.collect())
}

async fn all_commits(store: &MemoryStore) -> Vec<RecordedCommit> {
    let mut query = AllQuery::from(Start::Sequence(LogSequence::new(1)));
    query.eventless = true;
    let batches: Vec<_> = store.read_all(query).try_collect().await.unwrap();
    batches.iter().flatten().cloned().collect()
}
