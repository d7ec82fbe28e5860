//! One command at a time: what Chronicler adds to the sync that it waits for.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::Measured;
use crate::driver::warm_up;
use crate::median::median;
use crate::raw;
use crate::rounds::Scale;
use crate::store::Opened;
use crate::table::{Bar, Figure, Part};
use crate::workload::{Account, Deposit, accounts};

const ACCOUNTS: usize = 100;
const COMMANDS: u64 = 5_000;
const RAW_TIME: Duration = Duration::from_secs(1);

pub(crate) async fn measure(folder: &Path, scale: &Scale) -> Measured<Figure> {
    let accounts = accounts(ACCOUNTS)?;
    let opened = Opened::new(&folder.join("data")).await?;
    warm_up(&opened.app, &accounts).await?;
    let (mut more, mut p50s, mut raws, mut ordinary) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut frame_bytes = 0;
    for _ in 0..scale.rounds {
        let (before, mut times) = (opened.store.sync_stats(), Vec::new());
        let app = opened.app.clone();
        let accounts = accounts.clone();
        let commands = scale.count(COMMANDS) as usize;
        // As a request is served: by a task on the runtime's own threads.
        let sender = tokio::task::JoinSet::from_iter([async move {
            for account in accounts.iter().cycle().take(commands) {
                let (account, command) = (account.clone(), Deposit::default());
                let begun = Instant::now();
                app.send::<Account>(account, command).await?;
                times.push(begun.elapsed().as_secs_f64() * 1e6);
            }
            Measured::Ok(times)
        }]);
        let mut times = Vec::new();
        for ended in sender.join_all().await {
            times = ended?;
        }
        frame_bytes = opened.since(&before).frame_bytes();
        let raw = raw::measure(folder, frame_bytes, scale.time(RAW_TIME))?;
        let p50 = median(&times);
        let raw_p50 = raw.preallocated.p50.as_secs_f64() * 1e6;
        more.push(p50 - raw_p50);
        p50s.push(p50);
        raws.push(raw_p50);
        ordinary.push(raw.ordinary.p50.as_secs_f64() * 1e6);
    }
    opened.app.stop().await;
    let told = |name, values: &[f64]| Part {
        name,
        value: median(values),
        unit: "µs",
        bar: Bar::None,
    };
    Ok(Figure {
        main: Part {
            name: "alone",
            value: median(&more),
            unit: "µs over raw",
            bar: Bar::AtMost(100.0),
        },
        others: vec![
            told("p50", &p50s),
            told("raw p50, preallocated", &raws),
            told("raw p50, ordinary file", &ordinary),
        ],
        what: format!(
            "one command at a time over {ACCOUNTS} live aggregates, Fsync; frames of {frame_bytes} bytes; \
             its p50 less that of one append and fdatasync"
        ),
    })
}
