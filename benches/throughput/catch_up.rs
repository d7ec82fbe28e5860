//! How quickly a projection in memory reads the whole log.

use std::path::Path;
use std::time::Instant;

use chronicler::App;

use crate::Measured;
use crate::driver::fill;
use crate::median::median;
use crate::rounds::Scale;
use crate::store::{Opened, open};
use crate::table::{Bar, Figure, Part};
use crate::workload::{Account, Balances, accounts};

const EVENTS: u64 = 1_000_000;
const ACCOUNTS: usize = 10_000;

pub(crate) async fn measure(folder: &Path, scale: &Scale) -> Measured<Figure> {
    let data = folder.join("data");
    let events = scale.count(EVENTS);
    let opened = Opened::new(&data).await?;
    let accounts = accounts(ACCOUNTS)?;
    fill(&opened.app, events, move |number| {
        accounts.get(number as usize % ACCOUNTS).cloned()
    })
    .await?;
    opened.app.stop().await;
    drop(opened);

    let mut rates = Vec::new();
    for _ in 0..scale.rounds {
        let store = open(&data).await?;
        let begun = Instant::now();
        let builder = App::over(store).aggregate::<Account>();
        // Ends when the view has reached the log's head.
        let app = builder.projection(Balances::default()).start().await?;
        rates.push(events as f64 / begun.elapsed().as_secs_f64());
        let sum: i64 = app.view::<Balances>().read()?.0.values().sum();
        if sum != i64::try_from(events)? {
            return Err(format!("the view adds up to {sum}").into());
        }
        app.stop().await;
    }
    Ok(Figure {
        main: Part {
            name: "catch_up",
            value: median(&rates),
            unit: "events/s",
            bar: Bar::AtLeast(500_000.0),
        },
        others: Vec::new(),
        what: format!(
            "an application with one projection in memory, the balance of each of {ACCOUNTS} accounts, starts over \
             {events} single-event commits; from the call of start to its return, the files in the page cache"
        ),
    })
}
