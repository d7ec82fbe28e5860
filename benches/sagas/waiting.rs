//! Sagas that wait: what they hold, and how soon an application with them answers after a kill.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use chronicler::App;
use futures::stream::{self, StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};

use crate::Measured;
use crate::arguments::{Arguments, Child};
use crate::figure::Figure;
use crate::shop::{Ticket, TicketCommand, Waiting};

const IN_FLIGHT: usize = 1_000;

#[derive(Serialize, Deserialize)]
struct Seen {
    seconds: f64,
    megabytes: f64,
    open: usize,
    /// Aggregates that are alive.
    live: usize,
}

pub(crate) fn measure(folder: &Path, arguments: &Arguments) -> Measured<Vec<Figure>> {
    let count = arguments.count(100_000);
    let data = folder.join("data");
    let filled = child(&["fill", &data.to_string_lossy(), &count.to_string()])?;
    let opened = child(&["open", &data.to_string_lossy(), &count.to_string()])?;
    if opened.open as u64 != count {
        return Err(format!("{} of {count} are open", opened.open).into());
    }
    Ok(vec![
        Figure {
            name: "waiting, memory",
            value: opened.megabytes,
            unit: "MB",
            at_most: 300.0,
            of: format!(
                "{count} waiting sagas in a process that was started again; in the one that began them {:.0} MB, with {} live aggregates and what it wrote last not in the index yet",
                filled.megabytes, filled.live
            ),
        },
        Figure {
            name: "waiting, first answer",
            value: opened.seconds,
            unit: "s",
            at_most: 3.0,
            of: format!("from opening to the first answer, after a kill with {count} under way"),
        },
    ])
}

fn child(arguments: &[&str]) -> Measured<Seen> {
    let output = Command::new(std::env::current_exe()?)
        .args(arguments)
        .output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{arguments:?} ended with {}: {said}", output.status).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Does what the parent asked for.
pub(crate) fn run(child: &Child) -> Measured<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let seen = match child {
        Child::Fill { data, sagas } => runtime.block_on(fill(data, *sagas))?,
        Child::Open { data, sagas } => runtime.block_on(open(data, *sagas))?,
    };
    println!("{}", serde_json::to_string(&seen)?);
    // Nothing is closed: what a kill leaves.
    std::process::exit(0)
}

async fn app(data: &Path) -> Measured<App> {
    Ok(App::open(data)
        .aggregate::<Ticket>()
        .saga(Waiting)
        .start()
        .await?)
}

async fn fill(data: &Path, sagas: u64) -> Measured<Seen> {
    let app = app(data).await?;
    let begun = Instant::now();
    let opened = &app;
    stream::iter(0..sagas)
        .map(Ok::<_, Box<dyn std::error::Error + Send + Sync>>)
        .try_for_each_concurrent(IN_FLIGHT, |number| async move {
            opened
                .send::<Ticket>(number.to_string(), TicketCommand::Wait)
                .await?;
            Ok(())
        })
        .await?;
    app.settled().await;
    let seconds = begun.elapsed().as_secs_f64();
    let seen = seen(&app, seconds).await;
    std::mem::forget(app);
    seen
}

async fn open(data: &Path, sagas: u64) -> Measured<Seen> {
    let begun = Instant::now();
    let app = app(data).await?;
    app.send::<Ticket>(sagas.to_string(), TicketCommand::Work)
        .await?;
    let seconds = begun.elapsed().as_secs_f64();
    app.settled().await;
    let seen = seen(&app, seconds).await;
    std::mem::forget(app);
    seen
}

async fn seen(app: &App, seconds: f64) -> Measured<Seen> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = resident.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    let handle = app.saga::<Waiting>().ok_or("it is not registered")?;
    Ok(Seen {
        seconds,
        megabytes: kilobytes.ok_or("the kernel names no memory")? / 1e3,
        open: handle.open().await?.len(),
        live: app.runtime().aggregate::<Ticket>()?.live(),
    })
}
