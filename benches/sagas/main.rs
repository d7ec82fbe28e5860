//! What sagas cost, as a table of figures with the bars that they are held to.
//!
//! `cargo bench --bench sagas [-- --json FILE] [--check] [--quick] [--only NAME]`

mod arguments;
mod each;
mod figure;
mod lines;
#[path = "../statistics/median.rs"]
mod median;
mod outside;
#[path = "../throughput/processor.rs"]
mod processor;
mod quarantined;
mod shop;
mod three_steps;
mod timers;
mod waiting;

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use arguments::{Arguments, Task};
use figure::Figure;

/// What a measure ends with.
type Measured<T> = Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> ExitCode {
    let done = match Arguments::parse() {
        Task::Measure(arguments) => measure(&arguments),
        Task::Child(child) => waiting::run(&child).map(|()| true),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("the benchmark failed: {error}");
            ExitCode::from(2)
        }
    }
}

/// Measures, prints and writes; whether everything that was to be checked holds.
fn measure(arguments: &Arguments) -> Measured<bool> {
    // Beside the build output: on the disk that the project is on, never in memory. Removed when dropped.
    let folder = tempfile::Builder::new()
        .prefix("sagas-")
        .tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let mut figures: Vec<Figure> = Vec::new();
    for name in arguments::NAMES {
        if !arguments.wants(name) {
            continue;
        }
        eprintln!("measuring {name} …");
        let place = folder.path().join(name);
        std::fs::create_dir(&place)?;
        figures.extend(runtime.block_on(one(name, &place, arguments))?);
    }
    for figure in &figures {
        println!("{figure}");
    }
    if let Some(path) = &arguments.json {
        std::fs::write(path, serde_json::to_vec_pretty(&figures)?)?;
    }
    let holds = figures.iter().all(Figure::holds);
    if arguments.check && arguments.quick {
        eprintln!("--check fails: figures of a --quick run say nothing");
    }
    Ok(!arguments.check || (holds && !arguments.quick))
}

async fn one(name: &str, folder: &Path, arguments: &Arguments) -> Measured<Vec<Figure>> {
    match name {
        "three_steps" => three_steps::measure(folder, arguments).await,
        "each" => each::measure(folder, arguments).await,
        "outside" => outside::measure(folder, arguments).await,
        "timers" => timers::measure(folder, arguments).await,
        "waiting" => waiting::measure(folder, arguments),
        "quarantined" => quarantined::measure(folder, arguments).await,
        other => Err(format!("there is no measure {other}").into()),
    }
}
