//! What Chronicler does with this machine's disk, as a table of figures with the bars that they are held to.
//!
//! `cargo bench --bench throughput [-- --json FILE] [--check] [--quick] [--only NAME]`

mod alone;
mod arguments;
mod catch_up;
mod child;
mod disk;
mod driver;
mod failing_keys;
mod hot;
mod many;
#[path = "../statistics/median.rs"]
mod median;
mod open;
mod processor;
mod raw;
mod recovery;
mod rounds;
mod store;
mod table;
mod workload;

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use arguments::{Arguments, Task};
use rounds::Scale;
use table::Figure;

/// What a measure ends with.
type Measured<T> = Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> ExitCode {
    match Arguments::parse() {
        Task::Measure(arguments) => match measure(&arguments) {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(error) => failed(error.as_ref()),
        },
        Task::Child(child) => match child::run(&child) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => failed(error.as_ref()),
        },
    }
}

fn failed(error: &(dyn Error + 'static)) -> ExitCode {
    eprintln!("the benchmark failed: {error}");
    ExitCode::from(2)
}

/// Measures, prints and writes; whether everything that was to be checked holds.
fn measure(arguments: &Arguments) -> Measured<bool> {
    let scale = Scale::new(arguments.quick);
    // Beside the build output: on the disk that the project is on, never in memory. Removed when dropped.
    let folder = tempfile::Builder::new()
        .prefix("throughput-")
        .tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let mut figures = Vec::new();
    for name in table::NAMES {
        if !arguments.wants(name) {
            continue;
        }
        eprintln!("measuring {name} …");
        let place = tempfile::Builder::new()
            .prefix(name)
            .tempdir_in(folder.path())?;
        let figure = runtime.block_on(one(name, place.path(), &scale))?;
        eprintln!("{name}: {}", table::line(&figure));
        figures.push(figure);
    }
    print!("{}", table::table(&figures, &scale));
    if let Some(path) = &arguments.json {
        std::fs::write(path, table::json(&figures, &scale)?)?;
    }
    let holds = figures.iter().all(Figure::holds);
    if arguments.check && arguments.quick {
        eprintln!("--check fails: figures of a --quick run say nothing");
    }
    Ok(!arguments.check || (holds && !arguments.quick))
}

async fn one(name: &str, folder: &Path, scale: &Scale) -> Measured<Figure> {
    match name {
        "many" => many::measure(folder, scale).await,
        "hot" => hot::measure(folder, scale).await,
        "alone" => alone::measure(folder, scale).await,
        "recovery" => recovery::measure(folder, scale).await,
        "open" => open::measure(folder, scale).await,
        "catch_up" => catch_up::measure(folder, scale).await,
        "failing_keys" => failing_keys::measure(folder, scale).await,
        "disk" => disk::measure(folder, scale).await,
        other => Err(format!("there is no measure {other}").into()),
    }
}
