//! The example `money_transfer`, killed at every write: money is conserved, and every transfer ends.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests fail by panicking"
)]

#[path = "../examples/money_transfer/bank.rs"]
mod bank;
#[path = "../examples/money_transfer/saga.rs"]
mod saga;

use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use chronicler::domain::{AggregateId, Tenant};
use chronicler::prelude::*;
use chronicler::sagas::Ending;
use chronicler::sagas::steps::Steps;
use chronicler::store::MemoryStore;
use chronicler_testkit::{ManualClock, assert_fingerprint, crash_at_every_write};

use bank::{Account, AccountCommand, Amount, Transfer, TransferCommand, TransferState};
use saga::MoneyTransfer;

/// What becomes of each: it goes through, there is too little, the other account is closed.
const TRANSFERS: [(&str, &str, i64); 3] = [("a", "b", 70), ("b", "a", 500), ("a", "closed", 20)];

async fn start(
    store: Arc<MemoryStore>,
    clock: &ManualClock,
) -> Result<App, impl std::error::Error> {
    App::over(store)
        .clock(Arc::new(clock.clone()))
        .aggregate::<Account>()
        .aggregate::<Transfer>()
        .saga(Steps::<MoneyTransfer>::of())
        .start()
        .await
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

/// Waits for something while time goes by: what has died fails only after its attempts.
async fn in_time<T>(clock: &ManualClock, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    loop {
        for _ in 0..100 {
            if let Poll::Ready(done) = futures::poll!(&mut work) {
                return done;
            }
            tokio::task::yield_now().await;
        }
        clock.advance(Duration::from_millis(500));
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
                // Until nothing moves any more: of the dead nobody says that they have settled.
                for _ in 0..400 {
                    tokio::task::yield_now().await;
                }
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

#[test]
fn m84_a_definition_that_is_changed_by_accident_is_noticed() {
    assert_fingerprint!(MoneyTransfer, 0x7156_8e4e_3fcc_5223);
}
