//! The arguments.

use std::path::PathBuf;

use chronicler::operator::WhichParked;
use chronicler_domain::{StreamId, Timestamp};
use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use uuid::Uuid;

use crate::sagas::SagaCommand;

const EXIT_CODES: &str = "\
Exit codes:
  0   done, and nothing is wrong
  1   something in the directory is not as it was written, or (status) the log takes no more writes
  2   the directory or a file cannot be opened or read, or a running application gave no answer
  3   not done: something stands in the way, or the answer was no
  64  the arguments are wrong";

/// The operator's tool for Chronicler data directories.
///
/// Commands that read take no lock and change nothing: they work beside a running application, and show what was
/// durable when they began.
#[derive(Clone, Debug, Parser)]
#[command(name = "chronicler", version, after_help = EXIT_CODES)]
pub struct Cli {
    /// Prints one JSON object a line
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do
    #[command(subcommand)]
    pub verb: Verb,
}

/// What to do.
#[derive(Clone, Debug, Subcommand)]
#[non_exhaustive]
pub enum Verb {
    /// Checks every frame, every link between segments, every footer and the head marker
    Verify {
        /// The data directory
        dir: PathBuf,
    },
    /// Says what a directory holds: its end, its segments, with --counts its categories and event types
    Stat {
        /// The data directory
        dir: PathBuf,
        /// Reads everything, and counts commits and events by category and type
        #[arg(long)]
        counts: bool,
    },
    /// Lists the streams with their versions
    Streams(StreamsArguments),
    /// Prints events, oldest first
    Events(EventsArguments),
    /// Prints the newest events
    Tail(TailArguments),
    /// Copies the log into a backup, also while an application writes it; the second time only what is new
    Backup {
        /// The data directory
        dir: PathBuf,
        /// The backup: empty, not there yet, or an earlier backup of the same store
        dest: PathBuf,
    },
    /// Makes a data directory of a backup, and checks everything on the way
    Restore {
        /// The backup
        backup: PathBuf,
        /// The data directory: empty, or not there yet
        dir: PathBuf,
    },
    /// Writes the whole log as JSON lines, one commit a line
    Export {
        /// The data directory
        dir: PathBuf,
        /// The file, which must not be there yet; standard output if none is named
        file: Option<PathBuf>,
    },
    /// Makes a data directory of an export, with the same positions, sequences, times and versions, and a new store id
    Import {
        /// The data directory: empty, or not there yet
        dir: PathBuf,
        /// The export; standard input if none is named
        file: Option<PathBuf>,
    },
    /// Makes a damaged log one that opens again, and sets the originals aside in the directory
    Repair {
        /// The data directory, which no application may have open
        dir: PathBuf,
        /// Does it without asking
        #[arg(long)]
        yes: bool,
    },
    /// Sets sled aside and builds the index again from the journal
    RebuildIndex {
        /// The data directory, which no application may have open
        dir: PathBuf,
    },
    /// Asks a running application how it is: its log, projections, subscriptions, and what is in quarantine
    Status {
        /// The data directory
        dir: PathBuf,
    },
    /// Lets an instance go from quarantine; in a running application, or else in the directory
    Release {
        /// The data directory
        dir: PathBuf,
        /// The instance: category/id, or tenant:category/id
        stream: StreamId,
        /// Who and why
        #[command(flatten)]
        reason: Reason,
    },
    /// Says what sagas are doing, and has something done with one
    Saga {
        /// What
        #[command(subcommand)]
        command: SagaCommand,
    },
    /// Has a running application build a view anew, and waits until it has
    RebuildView {
        /// The data directory
        dir: PathBuf,
        /// The projection
        projection: String,
        /// Who and why
        #[command(flatten)]
        reason: Reason,
    },
    /// Lists what a consumer of a running application has parked, in groups by what it failed with
    Parked {
        /// The data directory
        dir: PathBuf,
        /// The consumer, as `status` names it: saga:name
        consumer: String,
    },
    /// Has a running application try again what a consumer has parked: all, or what is named
    RetryParked {
        /// The data directory
        dir: PathBuf,
        /// The consumer
        consumer: String,
        /// Which events
        #[command(flatten)]
        which: Which,
        /// Who and why
        #[command(flatten)]
        reason: Reason,
    },
    /// Has a running application leave events out for good that a consumer has parked
    DropParked {
        /// The data directory
        dir: PathBuf,
        /// The consumer
        consumer: String,
        /// Which events
        #[command(flatten)]
        which: Which,
        /// Who and why
        #[command(flatten)]
        reason: Reason,
    },
    /// Forgets a durable subscription that nobody follows; in a running application, or else in the directory
    ForgetSubscription {
        /// The data directory
        dir: PathBuf,
        /// The subscription
        subscription: String,
        /// Who and why
        #[command(flatten)]
        reason: Reason,
    },
    /// Prints the completions for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// Which parked events.
#[derive(Clone, Debug, Args)]
#[group(required = true, multiple = false)]
pub struct Which {
    /// Those of a group, as `parked` names it
    #[arg(long)]
    pub group: Option<String>,
    /// Those of a key, as `parked` names it
    #[arg(long)]
    pub key: Option<String>,
    /// The one at this position
    #[arg(long)]
    pub position: Option<u64>,
    /// All that the consumer has parked
    #[arg(long)]
    pub all: bool,
}

impl From<Which> for WhichParked {
    fn from(which: Which) -> Self {
        let Which {
            group,
            key,
            position,
            all: _,
        } = which;
        Self {
            group,
            key,
            position,
        }
    }
}

/// Who changes something, and why. Both are journaled with it.
#[derive(Clone, Debug, Args)]
pub struct Reason {
    /// Why
    #[arg(long)]
    pub why: String,
    /// Who
    #[arg(long, env = "USER")]
    pub by: String,
}

/// Which streams to list.
#[derive(Clone, Debug, Args)]
pub struct StreamsArguments {
    /// The data directory
    pub dir: PathBuf,
    /// Only this category
    #[arg(long)]
    pub category: Option<String>,
    /// Only this tenant; the default tenant is ''
    #[arg(long)]
    pub tenant: Option<String>,
    /// Only ids that begin with this
    #[arg(long)]
    pub prefix: Option<String>,
}

/// Which events to print.
#[derive(Clone, Debug, Args)]
pub struct EventsArguments {
    /// The data directory
    pub dir: PathBuf,
    /// Only this stream: category/id, or tenant:category/id
    #[arg(long)]
    pub stream: Option<StreamId>,
    /// Only this category
    #[arg(long)]
    pub category: Option<String>,
    /// Only this event type
    #[arg(long = "type")]
    pub event_type: Option<String>,
    /// From this position on
    #[arg(long)]
    pub from: Option<u64>,
    /// Up to and with this position
    #[arg(long)]
    pub to: Option<u64>,
    /// Only what was accepted at or after this time, as 2026-01-31T12:00:00Z
    #[arg(long)]
    pub since: Option<Timestamp>,
    /// Only what this request from outside set in motion
    #[arg(long)]
    pub correlation: Option<Uuid>,
    /// At most so many
    #[arg(long, default_value_t = usize::MAX, hide_default_value = true)]
    pub limit: usize,
}

/// Which of the newest events to print.
#[derive(Clone, Debug, Args)]
pub struct TailArguments {
    /// The data directory
    pub dir: PathBuf,
    /// Goes on with what becomes durable from now on, until it is interrupted
    #[arg(short, long)]
    pub follow: bool,
    /// How many of the newest events
    #[arg(short = 'n', long, default_value_t = 10)]
    pub lines: u64,
}
