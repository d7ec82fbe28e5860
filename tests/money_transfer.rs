//! The example `money_transfer`, killed at every write: money is conserved, and every transfer ends.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests fail by panicking"
)]

#[path = "../examples/money_transfer/bank.rs"]
mod bank;
mod lives;
#[path = "../examples/money_transfer/saga.rs"]
mod saga;

use std::sync::Arc;

use chronicler::domain::{AggregateId, Tenant};
use chronicler::prelude::*;
use chronicler::sagas::Ending;
use chronicler::store::MemoryStore;
use chronicler_testkit::{ManualClock, assert_fingerprint, crash_at_every_write};

use bank::{
    Account, AccountCommand, Amount, Transfer, TransferCommand, TransferEvent, TransferState,
};
use lives::{Operated, REQUESTED, a_while, in_time, operated_at_every_write};
use saga::MoneyTransfer;

/// What becomes of each: it goes through, there is too little, the other account is closed.
const TRANSFERS: [(&str, &str, i64); 3] = [("a", "b", 70), ("b", "a", 500), ("a", "closed", 20)];

async fn start(
    store: Arc<MemoryStore>,
    clock: &ManualClock,
) -> Result<App, impl std::error::Error> {
    let app = over(store, clock).saga(Steps::<MoneyTransfer>::of());
    app.start().await
}

fn over(store: Arc<MemoryStore>, clock: &ManualClock) -> AppBuilder {
    App::over(store)
        .clock(Arc::new(clock.clone()))
        .aggregate::<Account>()
        .aggregate::<Transfer>()
}

async fn order(app: &App) {
    for (name, (from, to, cents)) in ["t0", "t1", "t2"].into_iter().zip(TRANSFERS) {
        let (from, to) = (from.to_owned(), to.to_owned());
        let amount = Amount { from, to, cents };
        // A dead store fails it; it is ordered again.
        drop(
            app.send::<Transfer>(name, TransferCommand::Request(amount))
                .await,
        );
    }
}

async fn open_accounts(app: &App) {
    for account in ["a", "b", "closed"] {
        drop(
            app.send::<Account>(account, AccountCommand::Open { cents: 100 })
                .await,
        );
    }
    drop(app.send::<Account>("closed", AccountCommand::Close).await);
}

/// Starts again on what was left, orders everything once more, and says what must hold; how many transfers ended.
async fn end_well(survivor: Arc<MemoryStore>, clock: &ManualClock) -> usize {
    let app = start(survivor, clock).await.unwrap();
    open_accounts(&app).await;
    order(&app).await;
    app.settled().await;
    let mut cents = Vec::new();
    for account in ["a", "b", "closed"] {
        cents.push(app.state::<Account>(account).await.unwrap().state.cents);
    }
    assert_eq!(cents, [30, 170, 100], "each took effect once");
    let sagas = app.saga::<Steps<MoneyTransfer>>().unwrap();
    assert!(sagas.open().await.unwrap().is_empty());
    for (name, is_done) in [("t0", true), ("t1", false), ("t2", false)] {
        let id = AggregateId::new(name).unwrap();
        let status = sagas.get(&Tenant::default(), &id).await.unwrap().status;
        let transfer = app.state::<Transfer>(name).await.unwrap().state.state;
        match status {
            SagaStatus::Ended {
                how: Ending::Completed,
            } if is_done => {
                assert_eq!(transfer, TransferState::Completed);
            }
            SagaStatus::Ended {
                how: Ending::Compensated { .. },
            } if !is_done => {
                assert_eq!(transfer, TransferState::Failed);
            }
            other => panic!("{name}: {other:?}"),
        }
    }
    app.stop().await;
    TRANSFERS.len()
}

#[tokio::test]
async fn m09_h6_money_is_conserved_and_every_transfer_ends_killed_at_every_write() {
    let mut outcomes = 0;
    let writes = crash_at_every_write(
        async |store| {
            let clock = ManualClock::default();
            let life = async {
                let Ok(app) = start(store, &clock).await else {
                    return;
                };
                open_accounts(&app).await;
                order(&app).await;
                a_while().await;
                app.sagas().stop().await;
            };
            in_time(&clock, life).await;
        },
        async |survivor| {
            let clock = ManualClock::default();
            let ended = in_time(&clock, end_well(survivor, &clock)).await;
            outcomes += ended;
        },
    )
    .await;
    assert!(writes > 20, "{writes} writes");
    println!(
        "killed at each of {writes} writes, before and after: {outcomes} transfers ended as they should"
    );
}

step_keys! {
    AtOnce = "at-once" -> ();
}

/// A release of the transfer that takes no event, and whose steps are others.
struct Bad;

impl StepSaga for Bad {
    const NAME: &'static str = MoneyTransfer::NAME;
    type Start = Amount;

    fn routes(on: &mut Routes<Steps<Self>>) {
        on.event::<Transfer>(|event, info| match event {
            TransferEvent::Requested(_) => Route::start(&info.id),
            _ => Route::ignore(),
        });
    }

    fn begin(_: &Input) -> Option<Amount> {
        None
    }

    fn define(steps: Define<Self, Nil, Compensable>) -> Definition<Self> {
        steps
            .pivot(AtOnce, |seen| {
                to::<Transfer>(seen.id(), TransferCommand::Complete)
            })
            .build()
    }
}

#[derive(Default)]
struct Transfers;

impl Operated for Transfers {
    const SAGA: &'static str = MoneyTransfer::NAME;
    const LAST: &'static str = "complete";

    async fn start(&self, store: Arc<MemoryStore>, clock: &ManualClock, good: bool) -> Option<App> {
        let app = over(store, clock);
        let app = match good {
            true => app.saga(Steps::<MoneyTransfer>::of()),
            false => app.saga(Steps::<Bad>::of()),
        };
        app.start().await.ok()
    }

    async fn request(&self, app: &App, ids: &[&str]) {
        open_accounts(app).await;
        for id in ids {
            let (from, to) = ("a".to_owned(), "b".to_owned());
            let amount = Amount { from, to, cents: 7 };
            drop(
                app.send::<Transfer>(*id, TransferCommand::Request(amount))
                    .await,
            );
        }
    }

    async fn ended_well(&self, app: &App) {
        for id in REQUESTED {
            let transfer = app.state::<Transfer>(id).await.unwrap().state.state;
            assert_eq!(transfer, TransferState::Completed, "{id}");
        }
        let cents = async |id| app.state::<Account>(id).await.unwrap().state.cents;
        assert_eq!(
            (cents("a").await, cents("b").await),
            (100 - 4 * 7, 100 + 4 * 7)
        );
    }
}

#[tokio::test]
async fn m76_m84_transfers_that_are_operated_move_the_money_once_killed_at_every_write() {
    operated_at_every_write::<Transfers>().await;
}

#[test]
fn m84_a_definition_that_is_changed_by_accident_is_noticed() {
    assert_fingerprint!(MoneyTransfer, 0x7156_8e4e_3fcc_5223);
}
