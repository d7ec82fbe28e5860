//! What the command line asks for.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// The measures, in the order of the table.
pub(crate) const NAMES: [&str; 6] = [
    "three_steps",
    "waiting",
    "quarantined",
    "each",
    "outside",
    "timers",
];

/// What this process is to do.
pub(crate) enum Task {
    Measure(Arguments),
    /// A part of a measure that needs a process of its own.
    Child(Child),
}

/// Measures what sagas cost.
#[derive(Parser)]
#[command(name = "sagas")]
pub(crate) struct Arguments {
    /// Also writes the figures to this file, as JSON.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Ends with 1 where a figure falls short of its bar.
    #[arg(long)]
    pub(crate) check: bool,
    /// Small numbers, to see that the benchmark runs; its figures say nothing and never pass --check.
    #[arg(long)]
    pub(crate) quick: bool,
    /// Measures only this; may be given several times.
    #[arg(long, value_name = "NAME", value_parser = clap::builder::PossibleValuesParser::new(NAMES))]
    pub(crate) only: Vec<String>,
    /// What cargo adds.
    #[arg(long, hide = true)]
    bench: bool,
    #[command(subcommand)]
    child: Option<Child>,
}

/// What a process of its own does.
#[derive(Subcommand)]
#[command(disable_help_subcommand = true)]
pub(crate) enum Child {
    /// Begins sagas that wait, and ends without closing anything.
    #[command(hide = true)]
    Fill { data: PathBuf, sagas: u64 },
    /// Opens them again, sends one command, and prints how long that took and how much memory.
    #[command(hide = true)]
    Open { data: PathBuf, sagas: u64 },
}

impl Arguments {
    pub(crate) fn parse() -> Task {
        let mut arguments = <Self as Parser>::parse();
        match arguments.child.take() {
            Some(child) => Task::Child(child),
            None => Task::Measure(arguments),
        }
    }

    pub(crate) fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == name)
    }

    /// A number in full, a fiftieth of it for a quick run.
    pub(crate) fn count(&self, full: u64) -> u64 {
        if self.quick { full / 50 } else { full }
    }

    /// Rounds of each measure; figures are medians over them.
    pub(crate) fn rounds(&self) -> usize {
        if self.quick { 1 } else { 5 }
    }
}
