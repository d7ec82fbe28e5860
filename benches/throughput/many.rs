//! Many aggregates at once: how far group commit carries, held long enough that everything behind it must keep up.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::Measured;
use crate::driver::{Driver, warm_up};
use crate::median::median;
use crate::processor::processor_time;
use crate::raw;
use crate::rounds::Scale;
use crate::store::Opened;
use crate::table::{Bar, Figure, Part};
use crate::workload::accounts;

const ACCOUNTS: usize = 10_000;
const IN_FLIGHT: usize = 1_024;
/// Five windows of twelve seconds are the minute that it must hold.
const WINDOW: Duration = Duration::from_secs(12);
const RAW_TIME: Duration = Duration::from_secs(1);
/// An average frame, for the raw rounds before there is one.
const FRAME_BYTES: usize = 203;

/// Rounds of the raw disk.
#[derive(Default)]
struct Raws {
    preallocated: Vec<f64>,
    ordinary: Vec<f64>,
}

impl Raws {
    fn measure(&mut self, folder: &Path, frame_bytes: usize, scale: &Scale) -> Measured<()> {
        for _ in 0..scale.rounds {
            let raw = raw::measure(folder, frame_bytes, scale.time(RAW_TIME))?;
            self.preallocated.push(raw.preallocated.per_second);
            self.ordinary.push(raw.ordinary.per_second);
        }
        Ok(())
    }
}

pub(crate) async fn measure(folder: &Path, scale: &Scale) -> Measured<Figure> {
    let accounts = accounts(scale.count(ACCOUNTS as u64) as usize)?;
    let opened = Opened::new(&folder.join("data")).await?;
    warm_up(&opened.app, &accounts).await?;
    // Before and after: the disk may have changed while the log was held.
    let mut raws = Raws::default();
    raws.measure(folder, FRAME_BYTES, scale)?;
    let (before, processor) = (opened.store.sync_stats(), processor_time()?);
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
    let processor = (processor_time()? - processor).as_secs_f64() * 1e6 / answered as f64;
    // What sled is still to write for these commits counts too.
    opened.app.stop().await;
    let written = opened.since(&before);
    drop(opened);

    let frame_bytes = written.frame_bytes();
    raws.measure(folder, frame_bytes, scale)?;
    let raw = median(&raws.preallocated);
    let slowest = windows.iter().copied().fold(rate, f64::min);
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
            told("processor time", processor, "µs/command"),
            told("commits per sync", written.commits_per_sync(), ""),
            told("raw, preallocated", raw, "appends/s"),
            told("raw, ordinary file", median(&raws.ordinary), "appends/s"),
        ],
        what: format!(
            "{IN_FLIGHT} commands in flight over {} aggregates for {} s, Fsync; frames of {frame_bytes} bytes; \
             raw is one append and one fdatasync at a time of as many bytes, before and after",
            accounts.len(),
            whole.as_secs(),
        ),
    })
}
