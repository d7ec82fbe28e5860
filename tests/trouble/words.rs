//! What the parent and the worker say to each other, a line of JSON each.

use std::io::Write;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::bank::Statement;

/// Begins what the worker says: the test harness says something, too.
pub(crate) const MARK: &str = "> ";
/// Where the worker finds its [`Start`].
pub(crate) const VARIABLE: &str = "CHRONICLER_TROUBLE_WORKER";
/// Lines that wait to be written.
const LINES_MAX: usize = 4_096;

/// How a worker is started.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Start {
    pub(crate) dir: PathBuf,
    pub(crate) seed: u64,
    /// The first number that it may use.
    pub(crate) first: u64,
    /// Commands a second.
    pub(crate) rate: u64,
    /// How far its clock is ahead of the machine's, in milliseconds.
    pub(crate) ahead: i64,
    /// How long segments of the log are.
    pub(crate) segment_bytes: u64,
    /// Whether commits are synced.
    pub(crate) syncs: bool,
    pub(crate) slow_readers: usize,
}

/// What the parent says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Told {
    /// To be sent again under the id of this date.
    Again {
        number: u64,
        date: u64,
    },
    /// Commands are to be sent.
    Load,
    /// No more of them; what is under way is to come to its end.
    Quiet,
    /// The clock is to be so far ahead.
    Clock {
        ahead: i64,
    },
    /// Everything there is to be seen is to be said.
    Report,
    Stop,
}

/// What became of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// Carried out; the position of its last event.
    Done { position: u64 },
    /// Carried out, but the answer is lost.
    Applied,
    /// The domain said no.
    Rejected,
    /// It was not applied, whenever it was sent.
    Refused,
    /// Nobody knows.
    Unknown,
}

/// What the worker says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Said {
    Started,
    /// A command is about to be sent under an id of this date.
    Asked {
        number: u64,
        date: u64,
    },
    Answered {
        number: u64,
        answer: Answer,
    },
    /// It comes to rest, and waits for this.
    Awaits {
        what: String,
    },
    /// These wait for a timer that is late.
    Late {
        sagas: Vec<String>,
    },
    /// Nothing is under way any more.
    Quiet,
    /// The log takes no more writes.
    ReadOnly {
        reason: String,
    },
    /// The durable subscription goes on after this position.
    Resumed {
        after: u64,
    },
    /// It was given everything up to here, and is about to acknowledge it.
    Given {
        through: u64,
    },
    /// The acknowledgement was answered.
    Acknowledged {
        through: u64,
    },
    /// Something that must not be.
    Fault {
        what: String,
    },
    /// An account: its state, its version, and what each view shows.
    Account {
        id: String,
        cents: i64,
        version: u64,
        balance: Option<i64>,
        statement: Option<Statement>,
    },
    /// What was set aside, and what has not ended.
    Left {
        quarantined: Vec<String>,
        parked: Vec<String>,
        open: Vec<String>,
    },
    /// Since it was said last: how many requests failed, by kind and outcome, and how often the slow readers read.
    Counted {
        errors: Vec<(String, u64)>,
        slow_reads: u64,
    },
    Stopped,
}

/// Something to say, and whoever waits until it was said.
type Line = (Said, Option<oneshot::Sender<()>>);

/// The worker's mouth. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Mouth(SyncSender<Line>);

impl Mouth {
    /// A thread that writes to the standard output.
    pub(crate) fn open() -> Self {
        let (say, said) = sync_channel(LINES_MAX);
        thread::Builder::new()
            .name("mouth".to_owned())
            .spawn(move || speak(&said))
            .unwrap();
        Self(say)
    }

    pub(crate) fn say(&self, said: Said) {
        // Its parent is dead if not, and so is this process soon.
        drop(self.0.send((said, None)));
    }

    /// The same, and waits until it cannot get lost any more, whatever becomes of this process.
    pub(crate) async fn say_surely(&self, said: Said) {
        let (was_said, wait) = oneshot::channel();
        drop(self.0.send((said, Some(was_said))));
        drop(wait.await);
    }

    pub(crate) fn fault(&self, what: impl Into<String>) {
        self.say(Said::Fault { what: what.into() });
    }
}

fn speak(said: &Receiver<Line>) {
    let mut out = std::io::stdout().lock();
    while let Ok(first) = said.recv() {
        let (mut lines, mut waiting) = (String::new(), Vec::new());
        for (said, waits) in std::iter::once(first).chain(said.try_iter().take(LINES_MAX)) {
            lines.push_str(MARK);
            lines.push_str(&serde_json::to_string(&said).unwrap());
            lines.push('\n');
            waiting.extend(waits);
        }
        if out
            .write_all(lines.as_bytes())
            .and_then(|()| out.flush())
            .is_err()
        {
            return;
        }
        for waits in waiting {
            let _gave_up = waits.send(());
        }
    }
}
