//! How quickly one aggregate comes back from its events.

use std::path::Path;
use std::time::{Duration, Instant};

use chronicler::prelude::*;

use crate::Measured;
use crate::driver::fill;
use crate::median::median;
use crate::rounds::Scale;
use crate::store::Opened;
use crate::table::{Bar, Figure, Part};
use crate::workload::{Account, accounts};

/// Events of the aggregate that is recovered, each a commit of its own.
const EVENTS: u64 = 1_000_000;
/// Other streams that the interleaved one shares the log with; together they have as many events as it has.
const OTHERS: usize = 10_000;
/// 100,000 events and half the way to the next snapshot.
const SNAPSHOTTED_EVENTS: u64 = 100_500;

pub(crate) async fn measure(folder: &Path, scale: &Scale) -> Measured<Figure> {
    let data = folder.join("data");
    let events = scale.count(EVENTS);
    let snapshotted = scale.count(SNAPSHOTTED_EVENTS);
    let [together, interleaved, with_snapshot] =
        ["together", "interleaved", "with-snapshot"].map(AggregateId::new);
    let (together, interleaved, with_snapshot) = (together?, interleaved?, with_snapshot?);
    prepare(&data, events, &together, &interleaved).await?;
    let opened = Opened::new(&data).await?;
    let one = with_snapshot.clone();
    fill(&opened.app, snapshotted, move |_| Some(one.clone())).await?;
    opened.app.stop().await;
    drop(opened);

    let (mut rates, mut interleaved_rates, mut milliseconds) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..scale.rounds {
        let opened = Opened::without_snapshots(&data).await?;
        let took = recover(&opened, &together, events).await?;
        rates.push(events as f64 / took.as_secs_f64());
        let took = recover(&opened, &interleaved, events).await?;
        interleaved_rates.push(events as f64 / took.as_secs_f64());
        opened.app.stop().await;
        drop(opened);
        let opened = Opened::new(&data).await?;
        let took = recover(&opened, &with_snapshot, snapshotted).await?;
        milliseconds.push(took.as_secs_f64() * 1e3);
        opened.app.stop().await;
    }
    Ok(Figure {
        main: Part {
            name: "recovery",
            value: median(&rates),
            unit: "events/s",
            bar: Bar::AtLeast(1_000_000.0),
        },
        others: vec![
            Part {
                name: "interleaved",
                value: median(&interleaved_rates),
                unit: "events/s",
                bar: Bar::None,
            },
            Part {
                name: "100,000 with a snapshot",
                value: median(&milliseconds),
                unit: "ms",
                bar: Bar::AtMost(5.0),
            },
        ],
        what: format!(
            "one aggregate of {events} single-event commits without a snapshot, lying together, and interleaved \
             with {OTHERS} other streams of as many events in all; {snapshotted} events with the default snapshots; \
             each in a store just opened, its files in the page cache"
        ),
    })
}

/// Fills the log: one aggregate on its own, then one between others.
async fn prepare(
    data: &Path,
    events: u64,
    together: &AggregateId,
    interleaved: &AggregateId,
) -> Measured<()> {
    let opened = Opened::without_snapshots(data).await?;
    let one = together.clone();
    fill(&opened.app, events, move |_| Some(one.clone())).await?;
    let (others, one) = (accounts(OTHERS)?, interleaved.clone());
    fill(&opened.app, 2 * events, move |number| {
        if number % 2 == 0 {
            return Some(one.clone());
        }
        others.get((number / 2) as usize % OTHERS).cloned()
    })
    .await?;
    opened.app.stop().await;
    Ok(())
}

/// The time until the state of an aggregate that is not alive is answered.
async fn recover(opened: &Opened, id: &AggregateId, events: u64) -> Measured<Duration> {
    let begun = Instant::now();
    let found = opened.app.state::<Account>(id.clone()).await?;
    let took = begun.elapsed();
    if found.state.deposits != events || found.version.get() != events {
        return Err(format!("{id} was recovered at version {}", found.version).into());
    }
    Ok(took)
}
