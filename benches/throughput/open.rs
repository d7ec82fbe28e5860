//! How long an application with history takes to its first answer, and how much memory.

use std::path::Path;
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::Measured;
use crate::median::median;
use crate::rounds::Scale;
use crate::table::{Bar, Figure, Part};

pub(crate) const EVENTS: u64 = 1_000_000;
pub(crate) const STREAMS: u64 = 100_000;

/// What one opening took, as the child process says.
#[derive(Serialize, Deserialize)]
pub(crate) struct Opening {
    /// From before the store was opened to the answer of the first command.
    pub(crate) seconds: f64,
    /// The most memory that the process ever had, resident.
    pub(crate) resident_megabytes: f64,
}

pub(crate) async fn measure(folder: &Path, scale: &Scale) -> Measured<Figure> {
    let data = folder.join("data");
    let (events, streams) = (scale.count(EVENTS), scale.count(STREAMS));
    child(&["fill"], &data, &[events, streams])?;
    let after_a_kill = opening(&data)?;
    let (mut seconds, mut megabytes) = (Vec::new(), Vec::new());
    for _ in 0..scale.rounds {
        let opening = opening(&data)?;
        seconds.push(opening.seconds);
        megabytes.push(opening.resident_megabytes);
    }
    Ok(Figure {
        main: Part {
            name: "open",
            value: median(&seconds),
            unit: "s",
            bar: Bar::AtMost(1.0),
        },
        others: vec![
            Part {
                name: "resident at most",
                value: median(&megabytes),
                unit: "MB",
                bar: Bar::AtMost(200.0),
            },
            Part {
                name: "after a kill",
                value: after_a_kill.seconds,
                unit: "s",
                bar: Bar::None,
            },
            Part {
                name: "resident after a kill",
                value: after_a_kill.resident_megabytes,
                unit: "MB",
                bar: Bar::None,
            },
        ],
        what: format!(
            "a process of its own opens a store of {events} events in {streams} streams and gets its first command \
             answered; the files are in the page cache; after a kill: the process that filled it died unasked"
        ),
    })
}

fn opening(data: &Path) -> Measured<Opening> {
    let printed = child(&["open"], data, &[])?;
    Ok(serde_json::from_str(printed.trim())?)
}

/// Runs this program for a part that needs a process of its own; what it printed.
fn child(task: &[&str], data: &Path, numbers: &[u64]) -> Measured<String> {
    let output = Command::new(std::env::current_exe()?)
        .args(task)
        .arg(data)
        .args(numbers.iter().map(u64::to_string))
        .stderr(std::process::Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err(format!("the process for {task:?} ended with {}", output.status).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}
