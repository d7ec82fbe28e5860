//! The parts of a measure that need a process of their own.

use std::io::Write;
use std::path::Path;
use std::time::Instant;

use chronicler::App;

use crate::Measured;
use crate::arguments::Child;
use crate::driver::fill;
use crate::open::Opening;
use crate::store::Opened;
use crate::workload::{Account, Deposit, accounts};

/// Does what the parent asked for.
pub(crate) fn run(child: &Child) -> Measured<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    match child {
        Child::Fill {
            data,
            events,
            streams,
        } => {
            runtime.block_on(fill_store(data, *events, *streams))?;
            say("filled")?;
            // Nothing is closed and nothing brought to an end: what SIGKILL leaves.
            std::process::exit(0)
        }
        Child::Open { data } => runtime.block_on(open(data)),
    }
}

async fn fill_store(data: &Path, events: u64, streams: usize) -> Measured<()> {
    let accounts = accounts(streams)?;
    let opened = Opened::new(data).await?;
    fill(&opened.app, events, move |number| {
        accounts.get(number as usize % streams).cloned()
    })
    .await?;
    // The application must not be dropped: that would close it.
    std::mem::forget(opened);
    Ok(())
}

async fn open(data: &Path) -> Measured<()> {
    let accounts = accounts(1)?;
    let account = accounts.first().cloned().ok_or("there is no account")?;
    let begun = Instant::now();
    let app = App::open(data).aggregate::<Account>().start().await?;
    let receipt = app.send::<Account>(account, Deposit::default()).await?;
    let seconds = begun.elapsed().as_secs_f64();
    if receipt.version.get() < 2 {
        return Err("the store that was opened had been empty".into());
    }
    let resident_megabytes = resident_megabytes_max()?;
    app.stop().await;
    let opening = Opening {
        seconds,
        resident_megabytes,
    };
    say(&serde_json::to_string(&opening)?)
}

/// The most memory that this process ever had, as the kernel counts it.
fn resident_megabytes_max() -> Measured<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().next());
    let kibibytes: f64 = kibibytes.ok_or("the kernel names no VmHWM")?.parse()?;
    Ok(kibibytes * 1_024.0 / 1e6)
}

fn say(text: &str) -> Measured<()> {
    let mut out = std::io::stdout();
    writeln!(out, "{text}")?;
    Ok(out.flush()?)
}
