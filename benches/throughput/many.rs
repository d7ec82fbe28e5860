//! Many aggregates at once: how far group commit carries, held long enough that everything behind it must keep up.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::Measured;
use crate::driver::{Driver, warm_up};
use crate::raw;
use crate::rounds::{Scale, median};
use crate::store::Opened;
use crate::table::{Bar, Figure, Part};
use crate::workload::accounts;

const ACCOUNTS: usize = 10_000;
const IN_FLIGHT: usize = 1_024;
/// Five windows of twelve seconds are the minute that it must hold.
const WINDOW: Duration = Duration::from_secs(12);
const RAW_TIME: Duration = Duration::from_secs(2);

pub(crate) async fn measure(folder: &Path, scale: &Scale) -> Measured<Figure> {
    let accounts = accounts(scale.count(ACCOUNTS as u64) as usize)?;
    let opened = Opened::new(&folder.join("data")).await?;
    warm_up(&opened.app, &accounts).await?;
    let before = opened.store.sync_stats();
    let window = scale.time(WINDOW);
    let begun = Instant::now();
    let whole = window * scale.rounds as u32;
    let driver = Driver::start(&opened.app, &accounts, IN_FLIGHT, whole);
    let (mut windows, mut answered) = (Vec::new(), 0);
    for round in 1..=scale.rounds {
        tokio::time::sleep_until((begun + window * round as u32).into()).await;
        let now = driver.answered();
        windows.push((now - answered) as f64 / window.as_secs_f64());
        answered = now;
    }
    let answered = driver.finish().await?;
    let rate = answered as f64 / begun.elapsed().as_secs_f64();
    // What sled is still to write for these commits counts too.
    opened.app.stop().await;
    let written = opened.since(&before);
    drop(opened);

    let frame_bytes = written.frame_bytes();
    let (mut raws, mut ordinary) = (Vec::new(), Vec::new());
    for _ in 0..scale.rounds {
        let raw = raw::measure(folder, frame_bytes, scale.time(RAW_TIME))?;
        raws.push(raw.preallocated.per_second);
        ordinary.push(raw.ordinary.per_second);
    }
    let (raw, slowest) = (median(&raws), windows.iter().copied().fold(rate, f64::min));
    let told = |name, value, unit| Part {
        name,
        value,
        unit,
        bar: Bar::None,
    };
    Ok(Figure {
        main: Part {
            name: "many",
            value: rate / raw,
            unit: "x raw",
            bar: Bar::AtLeast(25.0),
        },
        others: vec![
            Part {
                name: "sled rows per commit",
                value: written.rows_per_commit(),
                unit: "",
                bar: Bar::AtMost(0.1),
            },
            told("rate", rate, "commands/s"),
            told("slowest window", slowest / raw, "x raw"),
            told("commits per sync", written.commits_per_sync(), ""),
            told("raw, preallocated", raw, "appends/s"),
            told("raw, ordinary file", median(&ordinary), "appends/s"),
        ],
        what: format!(
            "{IN_FLIGHT} commands in flight over {} aggregates for {} s, Fsync; frames of {frame_bytes} bytes; \
             raw is one append and one fdatasync at a time of as many bytes",
            accounts.len(),
            whole.as_secs(),
        ),
    })
}
