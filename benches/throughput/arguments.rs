//! What the command line asks for.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::table::NAMES;

/// What this process is to do.
pub(crate) enum Task {
    Measure(Arguments),
    /// A part of a measure that needs a process of its own.
    Child(Child),
}

/// Measures what Chronicler does with this machine's disk.
#[derive(Parser)]
#[command(name = "throughput")]
pub(crate) struct Arguments {
    /// Also writes the figures to this file, as JSON.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Ends with 1 where a figure falls short of its bar.
    #[arg(long)]
    pub(crate) check: bool,
    /// Short rounds, to see that the benchmark runs; its figures say nothing and never pass --check.
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
    /// Fills a store and ends without closing it.
    #[command(hide = true)]
    Fill {
        data: PathBuf,
        events: u64,
        streams: usize,
    },
    /// Opens a store, sends one command, and prints how long that took and how much memory.
    #[command(hide = true)]
    Open { data: PathBuf },
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
}
