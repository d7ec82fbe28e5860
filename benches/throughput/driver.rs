//! Keeps a number of commands under way.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use chronicler::App;
use chronicler::prelude::*;
use tokio::task::JoinSet;

use crate::Measured;
use crate::workload::{Account, Deposit};

/// Senders that each wait for their answer before they send again.
pub(crate) struct Driver {
    senders: JoinSet<Measured<()>>,
    answered: Arc<AtomicU64>,
}

impl Driver {
    /// Sends to accounts drawn at random, with so many commands under way, until the time is up.
    pub(crate) fn start(
        app: &App,
        accounts: &Arc<[AggregateId]>,
        in_flight: usize,
        time: Duration,
    ) -> Self {
        let (mut senders, answered) = (JoinSet::new(), Arc::new(AtomicU64::new(0)));
        let end = Instant::now() + time;
        for sender in 0..in_flight {
            let (app, accounts, answered) = (app.clone(), accounts.clone(), answered.clone());
            let mut random = Random(0x9e37_79b9_7f4a_7c15 ^ (sender as u64 + 1));
            senders.spawn(async move {
                while Instant::now() < end {
                    let account = accounts.get(random.below(accounts.len()));
                    let account = account.ok_or("there are no accounts")?;
                    app.send::<Account>(account.clone(), Deposit::default())
                        .await?;
                    answered.fetch_add(1, Ordering::Relaxed);
                }
                Ok(())
            });
        }
        Self { senders, answered }
    }

    /// How many commands were answered so far.
    pub(crate) fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    /// Waits for all senders; how many commands were answered in all.
    pub(crate) async fn finish(mut self) -> Measured<u64> {
        while let Some(ended) = self.senders.join_next().await {
            ended??;
        }
        Ok(self.answered())
    }
}

/// Commands under way while a store is filled: enough that the disk is no matter.
const FILLING: usize = 2_048;

/// Sends the commands `0..count`, each to the account that `account` names for it.
pub(crate) async fn fill(
    app: &App,
    count: u64,
    account: impl Fn(u64) -> Option<AggregateId> + Send + Sync + Clone + 'static,
) -> Measured<()> {
    let (mut senders, next) = (JoinSet::new(), Arc::new(AtomicU64::new(0)));
    for _ in 0..FILLING {
        let (app, next, account) = (app.clone(), next.clone(), account.clone());
        senders.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return Measured::Ok(());
                }
                let account = account(number).ok_or("there is no such account")?;
                app.send::<Account>(account, Deposit::default()).await?;
            }
        });
    }
    while let Some(ended) = senders.join_next().await {
        ended??;
    }
    Ok(())
}

/// Sends one command to each account, so that all of them live.
pub(crate) async fn warm_up(app: &App, accounts: &Arc<[AggregateId]>) -> Measured<()> {
    let each = accounts.clone();
    fill(app, accounts.len() as u64, move |number| {
        each.get(number as usize).cloned()
    })
    .await
}

/// xorshift64: quick, and good enough to draw accounts.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % limit.max(1)
    }
}
