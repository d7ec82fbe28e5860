//! The gateway's own book: a file of JSON lines, each synced before it is answered.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::{Declined, GatewayReply, GatewayRequest};

/// How many requests may wait to be written.
const QUEUE_MAX: usize = 4_096;

/// What the gateway answered, as it stands in the book.
type Answer = Result<GatewayReply, Declined>;

/// One line of the book.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Entry {
    key: Uuid,
    request: GatewayRequest,
    answer: Answer,
}

/// Why the book cannot be used.
#[derive(Debug, Error)]
pub enum BookError {
    #[error("{}: {source}", file.display())]
    Io { file: PathBuf, source: io::Error },
    #[error("{}:{line}: not a line of a gateway's book: {problem}", file.display())]
    Malformed {
        file: PathBuf,
        line: usize,
        problem: String,
    },
    #[error("the book is closed after an earlier failure")]
    Closed,
}

/// What was charged and given back, by its totals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BookTotals {
    pub charges: u64,
    pub charged: i64,
    pub refunds: u64,
    pub refunded: i64,
}

#[derive(Default)]
struct Known {
    answers: HashMap<Uuid, Answer>,
    entries: Vec<Entry>,
    /// By charge: how much was taken, and whether it was given back.
    charges: HashMap<String, (i64, bool)>,
    totals: BookTotals,
}

struct Asked {
    key: Uuid,
    request: GatewayRequest,
    answered: oneshot::Sender<Answer>,
}

/// The book. Requests that wait are written together and synced once.
pub struct Book {
    known: Arc<Mutex<Known>>,
    queue: mpsc::Sender<Asked>,
}

impl Book {
    /// Opens a book, or begins one. A last line that was not written to its end is cut off: it was never
    /// answered.
    pub fn open(file: &Path) -> Result<Self, BookError> {
        let failed = |source| BookError::Io {
            file: file.to_owned(),
            source,
        };
        let mut options = OpenOptions::new();
        let mut opened = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(file)
            .map_err(failed)?;
        let mut known = Known::default();
        let end = read(file, &opened, &mut known)?;
        opened.set_len(end).map_err(failed)?;
        opened.seek(SeekFrom::End(0)).map_err(failed)?;
        let (queue, queued) = mpsc::channel(QUEUE_MAX);
        let known = Arc::new(Mutex::new(known));
        let writing = Arc::clone(&known);
        // It ends with the last sender.
        thread::Builder::new()
            .name("gateway-book".to_owned())
            .spawn(move || write_all(opened, queued, &writing))
            .map_err(failed)?;
        Ok(Self { known, queue })
    }

    /// Whether a request with this key was answered before.
    pub(super) fn knows(&self, key: Uuid) -> bool {
        self.known.lock().answers.contains_key(&key)
    }

    /// Carries a request out once, however often it comes.
    pub(super) async fn enter(
        &self,
        key: Uuid,
        request: GatewayRequest,
    ) -> Result<Answer, BookError> {
        if let Some(answer) = self.known.lock().answers.get(&key) {
            return Ok(answer.clone());
        }
        let (answered, answer) = oneshot::channel();
        let asked = Asked {
            key,
            request,
            answered,
        };
        self.queue
            .send(asked)
            .await
            .map_err(|_| BookError::Closed)?;
        answer.await.map_err(|_| BookError::Closed)
    }

    /// Every call that changed something, in order, with its key.
    pub fn calls(&self) -> Vec<serde_json::Value> {
        let entries = self.known.lock().entries.clone();
        entries
            .iter()
            .filter_map(|entry| serde_json::to_value(entry).ok())
            .collect()
    }

    pub fn totals(&self) -> BookTotals {
        self.known.lock().totals
    }
}

/// Reads what is there; where its last whole line ends.
fn read(file: &Path, opened: &File, known: &mut Known) -> Result<u64, BookError> {
    let mut lines = BufReader::new(opened);
    let (mut end, mut number, mut line) = (0, 0, Vec::new());
    loop {
        line.clear();
        let taken = lines.read_until(b'\n', &mut line);
        let taken = taken.map_err(|source| BookError::Io {
            file: file.to_owned(),
            source,
        })?;
        if !line.ends_with(b"\n") {
            return Ok(end);
        }
        number += 1;
        let entry: Entry =
            serde_json::from_slice(&line).map_err(|problem| BookError::Malformed {
                file: file.to_owned(),
                line: number,
                problem: problem.to_string(),
            })?;
        known.count(&entry);
        known.answers.insert(entry.key, entry.answer.clone());
        known.entries.push(entry);
        end += taken as u64;
    }
}

fn write_all(mut file: File, mut queued: mpsc::Receiver<Asked>, known: &Mutex<Known>) {
    let mut waiting = Vec::new();
    while queued.blocking_recv_many(&mut waiting, QUEUE_MAX) > 0 {
        let (mut bytes, mut decided) = (Vec::new(), HashMap::new());
        let (mut answers, mut entries) = (Vec::new(), Vec::new());
        for asked in &waiting {
            let mut known = known.lock();
            // It may have been entered since it was asked, or stand twice among those that wait.
            let before = known.answers.get(&asked.key);
            if let Some(answer) = before.or_else(|| decided.get(&asked.key)) {
                answers.push(answer.clone());
                continue;
            }
            let entry = known.decide(asked.key, asked.request.clone());
            known.count(&entry);
            drop(known);
            if serde_json::to_writer(&mut bytes, &entry).is_err() {
                return;
            }
            bytes.push(b'\n');
            answers.push(entry.answer.clone());
            decided.insert(entry.key, entry.answer.clone());
            entries.push(entry);
        }
        if let Err(error) = file.write_all(&bytes).and_then(|()| file.sync_data()) {
            tracing::error!(%error, "the gateway's book cannot be written");
            return;
        }
        // Only now may anybody be told, here or by asking again.
        let mut published = known.lock();
        published.answers.extend(decided);
        published.entries.append(&mut entries);
        drop(published);
        for (asked, answer) in waiting.drain(..).zip(answers) {
            // Nobody may wait for it any more.
            drop(asked.answered.send(answer));
        }
    }
}

impl Known {
    fn decide(&self, key: Uuid, request: GatewayRequest) -> Entry {
        let answer = match &request {
            GatewayRequest::Charge { charge, .. } => match self.charges.get(charge) {
                None => Ok(GatewayReply::Charged),
                Some((_, true)) => Err(Declined {
                    why: "it was called off".to_owned(),
                }),
                Some(_) => Err(Declined {
                    why: "it was charged under another key".to_owned(),
                }),
            },
            GatewayRequest::Refund { charge } => match self.charges.get(charge) {
                Some((amount, false)) if *amount != 0 => Ok(GatewayReply::Refunded),
                _ => Ok(GatewayReply::NothingToRefund),
            },
        };
        Entry {
            key,
            request,
            answer,
        }
    }

    fn count(&mut self, entry: &Entry) {
        match (&entry.request, &entry.answer) {
            (GatewayRequest::Charge { charge, amount }, Ok(_)) => {
                self.charges.insert(charge.clone(), (*amount, false));
                self.totals.charges += 1;
                self.totals.charged += amount;
            }
            (GatewayRequest::Refund { charge }, Ok(reply)) => {
                let (amount, refunded) = self.charges.entry(charge.clone()).or_default();
                *refunded = true;
                if *reply == GatewayReply::Refunded {
                    self.totals.refunds += 1;
                    self.totals.refunded += *amount;
                }
            }
            (_, Err(_)) => {}
        }
    }
}
