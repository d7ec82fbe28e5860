//! One aggregate that everybody wants: what pipelining is for.

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

const IN_FLIGHT: usize = 256;
const ROUND: Duration = Duration::from_secs(4);
const RAW_TIME: Duration = Duration::from_secs(1);

pub(crate) async fn measure(folder: &Path, scale: &Scale) -> Measured<Figure> {
    let account = accounts(1)?;
    let opened = Opened::new(&folder.join("data")).await?;
    warm_up(&opened.app, &account).await?;
    let (mut ratios, mut rates, mut syncs) = (Vec::new(), Vec::new(), Vec::new());
    let (mut raws, mut ordinary, mut frame_bytes) = (Vec::new(), Vec::new(), 0);
    let mut processor = Vec::new();
    for _ in 0..scale.rounds {
        let (before, begun) = (opened.store.sync_stats(), Instant::now());
        let worked = processor_time()?;
        let driver = Driver::start(&opened.app, &account, IN_FLIGHT, scale.time(ROUND));
        let answered = driver.finish().await? as f64;
        let rate = answered / begun.elapsed().as_secs_f64();
        processor.push((processor_time()? - worked).as_secs_f64() * 1e6 / answered);
        let written = opened.since(&before);
        frame_bytes = written.frame_bytes();
        let raw = raw::measure(folder, frame_bytes, scale.time(RAW_TIME))?;
        ratios.push(rate / raw.preallocated.per_second);
        rates.push(rate);
        syncs.push(written.commits_per_sync());
        raws.push(raw.preallocated.per_second);
        ordinary.push(raw.ordinary.per_second);
    }
    opened.app.stop().await;
    let told = |name, values: &[f64], unit| Part {
        name,
        value: median(values),
        unit,
        bar: Bar::None,
    };
    Ok(Figure {
        main: Part {
            name: "hot",
            value: median(&ratios),
            unit: "x raw",
            bar: Bar::AtLeast(25.0),
        },
        others: vec![
            told("rate", &rates, "commands/s"),
            told("processor time", &processor, "µs/command"),
            told("commits per sync", &syncs, ""),
            told("raw, preallocated", &raws, "appends/s"),
            told("raw, ordinary file", &ordinary, "appends/s"),
        ],
        what: format!(
            "{IN_FLIGHT} commands in flight on one aggregate, Fsync; frames of {frame_bytes} bytes; \
             rounds of {} s, each beside its own raw",
            scale.time(ROUND).as_secs_f64(),
        ),
    })
}
