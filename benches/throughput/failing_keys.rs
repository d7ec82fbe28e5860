//! The cost of failing keys for the others: a projection reads the same log with and without them, one after the other.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use chronicler::App;
use chronicler::prelude::*;
use chronicler::projections::{EventInfo, Handlers, Refused, TableHandlers};
use chronicler::store::ViewStore;

use crate::Measured;
use crate::driver::fill;
use crate::median::median;
use crate::rounds::Scale;
use crate::store::{Opened, open};
use crate::table::{Bar, Figure, Part};
use crate::workload::{Account, AccountEvent, accounts};

const EVENTS: u64 = 1_000_000;
const ACCOUNTS: usize = 10_000;
const FAILING: u64 = 1_000;
/// Every event whose number divides by this is of an account that fails.
const ONE_IN: u64 = 200;

/// Set while the accounts that may fail do so.
static IS_FAILING: AtomicBool = AtomicBool::new(false);

fn check(info: &EventInfo<'_>) -> Result<(), Refused> {
    if IS_FAILING.load(Ordering::Relaxed) && info.id().starts_with("failing") {
        return Err("it fails".into());
    }
    Ok(())
}

#[derive(Clone, Default)]
struct Fussy(HashMap<String, i64>);

impl Projection for Fussy {
    const NAME: &'static str = "fussy";

    fn define(on: &mut Handlers<Self>) {
        on.try_events::<Account>(|view, event, info| {
            let AccountEvent::Deposited { cents, .. } = event;
            check(info)?;
            *view.0.entry(info.id().to_owned()).or_default() += cents;
            Ok(())
        });
    }
}

struct FussyRows;

impl TableProjection for FussyRows {
    const NAME: &'static str = "fussy_rows";
    type Row = i64;

    fn define(on: &mut TableHandlers<Self>) {
        on.try_events::<Account>(|table, event, info| {
            let AccountEvent::Deposited { cents, .. } = event;
            check(info)?;
            table.update(info.id(), |row| Some(row.unwrap_or_default() + cents));
            Ok(())
        });
    }
}

pub(crate) async fn measure(folder: &Path, scale: &Scale) -> Measured<Figure> {
    let data = folder.join("data");
    let (events, failing) = (scale.count(EVENTS), scale.count(FAILING));
    let opened = Opened::new(&data).await?;
    let good = accounts(ACCOUNTS)?;
    let bad = (0..failing).map(|number| AggregateId::new(format!("failing-{number}")));
    let bad: Vec<_> = bad.collect::<Result<_, _>>()?;
    fill(&opened.app, events, move |number| {
        match number.is_multiple_of(ONE_IN) {
            true => bad.get((number / ONE_IN % failing) as usize).cloned(),
            false => good.get(number as usize % ACCOUNTS).cloned(),
        }
    })
    .await?;
    opened.app.stop().await;
    drop(opened);

    let (mut memory, mut table) = (Vec::new(), Vec::new());
    for round in 0..scale.rounds {
        memory.push(ratio(&data, round, false).await?);
        table.push(ratio(&data, round, true).await?);
    }
    let part = |name, ratios: &[f64]| Part {
        name,
        value: median(ratios),
        unit: "times",
        bar: Bar::AtMost(1.1),
    };
    Ok(Figure {
        main: part("failing_keys", &memory),
        others: vec![part("failing_keys_table", &table)],
        what: format!(
            "a projection in memory and one as a table start over {events} events, of which one in {ONE_IN} is of \
             {failing} accounts whose events fail, against the same start where they do not; both in turn in one run"
        ),
    })
}

/// How many times as long a start takes where keys fail; which comes first changes from round to round.
async fn ratio(data: &Path, round: usize, is_table: bool) -> Measured<f64> {
    let mut taken = [0.0; 2];
    for turn in 0..2 {
        let is_failing = (turn + round) % 2 == 1;
        let time = start(data, is_failing, is_table).await?;
        if let Some(taken) = taken.get_mut(usize::from(is_failing)) {
            *taken = time;
        }
    }
    let [without, with] = taken;
    Ok(with / without)
}

/// The seconds from the call of start to its return.
async fn start(data: &Path, is_failing: bool, is_table: bool) -> Measured<f64> {
    IS_FAILING.store(is_failing, Ordering::Relaxed);
    let store = open(data).await?;
    for (view, _) in store.view_generations(FussyRows::NAME).await? {
        store.drop_view(&view).await?;
    }
    let builder = App::over(store).aggregate::<Account>();
    let builder = match is_table {
        true => builder.table::<FussyRows>(),
        false => builder.projection(Fussy::default()),
    };
    let begun = Instant::now();
    let app = builder.start().await?;
    let taken = begun.elapsed().as_secs_f64();
    let info = app.projections().list();
    let aside: u64 = info.iter().map(|info| info.parked_events).sum();
    if (aside > 0) != is_failing {
        return Err(format!("{aside} events are set aside").into());
    }
    // What was parked must not be known to the next one.
    IS_FAILING.store(false, Ordering::Relaxed);
    for info in info {
        let all = chronicler::projections::Selection::All;
        app.projections().retry_parked(&info.name, all).await?;
        while app
            .projections()
            .info(&info.name)
            .is_some_and(|info| info.parked_events > 0)
        {
            tokio::task::yield_now().await;
        }
    }
    app.stop().await;
    Ok(taken)
}
