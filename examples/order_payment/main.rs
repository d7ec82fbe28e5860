//! The order-payment saga on generated or real orders: the flagship of Chronicler.

/// Prints a line. Where the reader has gone, as `head` goes, the work is done all the same.
macro_rules! say {
    ($($words:tt)*) => {{
        use std::io::Write as _;
        writeln!(std::io::stdout(), $($words)*).ok();
    }};
}

mod arguments;
mod modes;
mod replay;
mod reports;
mod shop;
mod sources;
mod views;

use std::process::ExitCode;

use clap::Parser;

use arguments::{Arguments, Mode};

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env()
                .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("off")),
        )
        .with_writer(std::io::stderr)
        .init();
    let arguments = Arguments::parse();
    let done = match arguments.mode {
        None => modes::generate(arguments.generate).await,
        Some(Mode::Replay(replay)) => modes::replay(replay).await,
        Some(Mode::Status { data }) => modes::status(&data).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
