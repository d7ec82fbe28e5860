//! The application: accounts, transfers between them as sagas, a view in memory and one in the store.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chronicler::App;
use chronicler::prelude::*;
use chronicler::projections::{FlushPolicy, ProjectionOptions};
use chronicler::runtime::{RuntimeOptions, SnapshotPolicy};
use chronicler_testkit::{ManualClock, MemoryStore};
use serde::{Deserialize, Serialize};

use crate::account::{Account, AccountEvent};
use crate::transfer::{MoneyTransfer, Transfer};

/// Account id to balance, what is set aside included.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Balances(pub(crate) BTreeMap<String, i64>);

impl Projection for Balances {
    const NAME: &'static str = "balances";

    fn define(on: &mut Handlers<Self>) {
        on.events::<Account>(|view, event, info| view.fold(info.id(), event));
    }
}

impl Balances {
    /// A transfer moves its cents with the deposit alone.
    pub(crate) fn fold(&mut self, id: &str, event: &AccountEvent) {
        let mut add = |id: &str, cents: i64| *self.0.entry(id.to_owned()).or_default() += cents;
        match event {
            AccountEvent::Opened { cents } => add(id, *cents),
            AccountEvent::Deposited { cents, of } => {
                add(id, *cents);
                if let Some(of) = of {
                    add(&of.from, -cents);
                }
            }
            AccountEvent::Withdrawn { cents } => add(id, -cents),
            AccountEvent::Settled {
                cents,
                moved: false,
                ..
            } => add(id, -cents),
            AccountEvent::Settled { .. }
            | AccountEvent::Reserved { .. }
            | AccountEvent::Released { .. } => {}
        }
    }
}

/// How many events each account has, in the store.
pub(crate) struct Counts;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Count(pub(crate) u64);

impl TableProjection for Counts {
    const NAME: &'static str = "counts";
    type Row = Count;

    fn define(on: &mut TableHandlers<Self>) {
        on.events::<Account>(|table: &mut Table<Count>, _, info| {
            table.update(info.id(), |row: Option<Count>| {
                Some(Count(row.unwrap_or_default().0 + 1))
            });
        });
    }
}

/// Starts it over a store.
pub(crate) async fn start(
    store: &Arc<MemoryStore>,
    clock: &ManualClock,
    id_seed: u64,
) -> Option<App> {
    let mut options = RuntimeOptions::default();
    options.id_seed = Some(id_seed);
    options.snapshots = SnapshotPolicy::EveryEvents(5);
    options.idle = Duration::from_secs(20);
    let flush = FlushPolicy::default().events(7);
    let started = App::over(Arc::clone(store) as Arc<dyn chronicler::store::Store>)
        .clock(Arc::new(clock.clone()))
        .options(options)
        .aggregate::<Account>()
        .aggregate::<Transfer>()
        .projection(Balances::default())
        .table_with::<Counts>(ProjectionOptions::new().flush(flush).in_place(true))
        .saga(MoneyTransfer)
        .start();
    match started.await {
        Ok(app) => Some(app),
        Err(error) => {
            assert!(store.faults().is_dead(), "{error}");
            None
        }
    }
}
