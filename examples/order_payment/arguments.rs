//! What can be asked of the example on the command line.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Parser, Subcommand};

use crate::sources::FeedOrder;

/// Orders, payments, stock and shipments, coordinated by sagas over Chronicler. Without arguments it works off
/// 2,000 generated orders.
#[derive(Debug, Parser)]
#[command(name = "order_payment", version)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) mode: Option<Mode>,
    #[command(flatten)]
    pub(crate) generate: Generate,
}

/// How many orders are generated, and where they go.
#[derive(Debug, Args)]
pub(crate) struct Generate {
    /// How many orders are generated in a run.
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub(crate) orders: u64,
    /// What the orders and the gateway's moods are made from; the same data always goes on with the same seed.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// The data directory.
    #[arg(long, default_value = "order_payment_data/generated")]
    pub(crate) data: PathBuf,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Mode {
    /// Work off real orders, and report what became of them. Started again it goes on where it was.
    Replay(Replay),
    /// Say what is open, done, compensated and parked in a data directory, without changing anything.
    Status {
        /// The data directory.
        #[arg(long)]
        data: PathBuf,
    },
}

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("source").required(true).args(["olist", "orders"])))]
pub(crate) struct Replay {
    /// A folder with the Olist files.
    #[arg(long, value_name = "DIR", requires = "feed")]
    pub(crate) olist: Option<PathBuf>,
    /// In which order the Olist orders come.
    #[arg(long, value_enum, conflicts_with = "orders")]
    pub(crate) feed: Option<FeedOrder>,
    /// A file of orders, returns and adjustments in the neutral format; the example's README describes it.
    #[arg(long, value_name = "FILE.jsonl")]
    pub(crate) orders: Option<PathBuf>,
    /// What every product opens with. Without it nothing is counted, and nothing refused.
    #[arg(long, value_name = "UNITS", requires = "orders", value_parser = clap::value_parser!(i64).range(0..=1_000_000_000_000))]
    pub(crate) stock: Option<i64>,
    /// Take the next line when everything of the previous one has ended.
    #[arg(long, requires = "orders")]
    pub(crate) sequential: bool,
    /// The data directory. Default: one below `order_payment_data`, by the kind of replay.
    #[arg(long)]
    pub(crate) data: Option<PathBuf>,
    /// Where the report goes. Default: the standard output.
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
}
