//! Looking in the log for commands that the memory does not hold any more: beside the actor, which goes on with others.

use std::collections::{HashMap, HashSet};
use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use chronicler_domain::{LogSequence, StreamId};
use chronicler_store::{
    AllQuery, Direction, ReadError, RecordedCommit, Start, StreamQuery, panic_text,
};
use futures::{FutureExt, StreamExt};
use uuid::Uuid;

use super::reading::Permit;
use crate::core::Core;
use crate::dedup::{Entry, OpenRun, Remembered, Run, Span};
use crate::entity::Entity;
use crate::envelope::{Envelope, Searched};
use crate::instance::Instance;
use crate::look_ups::Asking;

/// The longest span whose ids are kept in memory after it was read: 2 MiB of them.
const LEARNED_MAX: usize = 262_144;
/// How many of them make one run, so that no run takes long to be read again.
const LEARNED_RUN: usize = 16_384;

/// Looks through the log for a command, which comes back to the inbox with the answer.
pub(super) fn look_up<E: Entity>(instance: &Arc<Instance<E>>, asking: Asking<E>) {
    if instance.look_ups.ask(asking) {
        let looking = Arc::clone(instance);
        instance
            .core
            .tasks
            .spawn(async move { run(&looking).await });
    }
}

async fn run<E: Entity>(instance: &Arc<Instance<E>>) {
    let look_ups = &instance.look_ups;
    while let Some(asking) = look_ups.next_pass() {
        let wanted: HashSet<Uuid> = asking.iter().map(Asking::id).collect();
        let spans: HashSet<Span> = asking
            .iter()
            .flat_map(|asking| asking.spans.iter().copied())
            .collect();
        // Whatever becomes of one pass, those who come later have theirs.
        let finding = AssertUnwindSafe(find(instance, spans, &wanted)).catch_unwind();
        let found = finding
            .await
            .unwrap_or_else(|panic| Err(panicked(panic_text(panic.as_ref()))));
        match found {
            Ok(found) => {
                for (span, runs) in found.learned {
                    instance.push_back(Envelope::Learned(Box::new((span, runs))));
                }
                for asking in asking {
                    let searched = match found.outcomes.get(&asking.id()) {
                        Some(outcome) => Searched::Found(Box::new(outcome.clone())),
                        None => Searched::Through(asking.through),
                    };
                    look_ups.answered();
                    instance.push_back(Envelope::Again(Box::new(asking.back(searched))));
                }
            }
            Err(source) => {
                for asking in asking {
                    look_ups.answered();
                    let away = asking.fail(&instance.stream, &source);
                    instance.push_back(Envelope::GivenUp(Box::new(away)));
                }
            }
        }
    }
}

/// The result of one pass over the log.
#[derive(Default)]
struct Found {
    outcomes: HashMap<Uuid, Remembered>,
    learned: Vec<(Span, Vec<Run>)>,
}

async fn find<E: Entity>(
    instance: &Instance<E>,
    spans: HashSet<Span>,
    wanted: &HashSet<Uuid>,
) -> Result<Found, ReadError> {
    let (core, stream) = (&instance.core, &instance.stream);
    let mut permit = Permit::take(&core.look_ups).await;
    let mut found = Found::default();
    for span in spans {
        if span.first == span.last {
            let commit = commit_at(core, &mut permit, span.first).await?;
            found.note(commit.iter(), stream, wanted);
        } else {
            found.read(core, &mut permit, stream, span, wanted).await?;
        }
    }
    Ok(found)
}

impl Found {
    fn note<'a>(
        &mut self,
        commits: impl Iterator<Item = &'a RecordedCommit>,
        stream: &StreamId,
        wanted: &HashSet<Uuid>,
    ) {
        for commit in commits.filter(|commit| wanted.contains(&commit.commit_id())) {
            if let Some(outcome) = Remembered::read(commit, stream.key()) {
                self.outcomes.insert(commit.commit_id(), outcome);
            }
        }
    }

    /// Reads a span of the stream, and keeps what the memory needs to know of it.
    async fn read(
        &mut self,
        core: &Core,
        permit: &mut Permit<'_>,
        stream: &StreamId,
        span: Span,
        wanted: &HashSet<Uuid>,
    ) -> Result<(), ReadError> {
        let query = StreamQuery {
            after: span.first.previous(),
            until: span.last,
            eventless: true,
            heartbeats: true,
            direction: Direction::Backward,
            ..StreamQuery::new(stream.clone())
        };
        let mut commits = core.store.read_stream(query);
        let mut entries = Vec::new();
        let stall = core.options.stall();
        while let Some(batch) = permit.within(stall, commits.next()).await? {
            let batch = batch?;
            self.note(batch.iter(), stream, wanted);
            if entries.len() <= LEARNED_MAX {
                let ahead_max = core.options.remembered_ahead_max;
                entries.extend(batch.iter().filter_map(|commit| {
                    let outcome = Remembered::read(commit, stream.key())?;
                    Entry::of(commit.commit_id(), &outcome, ahead_max)
                }));
            }
        }
        if entries.len() <= LEARNED_MAX {
            self.learned.push((span, runs(entries)));
        }
        Ok(())
    }
}

/// The runs of what was read from new to old.
fn runs(entries: Vec<Entry>) -> Vec<Run> {
    let (mut runs, mut open) = (Vec::new(), OpenRun::new());
    for entry in entries.iter().rev() {
        if open.len() >= LEARNED_RUN || !open.push(entry) {
            runs.push(open.close());
            open.push(entry);
        }
    }
    if open.len() > 0 {
        runs.push(open.close());
    }
    runs
}

/// One commit of the log.
async fn commit_at(
    core: &Core,
    permit: &mut Permit<'_>,
    sequence: LogSequence,
) -> Result<Option<RecordedCommit>, ReadError> {
    let query = AllQuery {
        eventless: true,
        commits_max: 1,
        ..AllQuery::from(Start::Sequence(sequence))
    };
    let mut commits = core.store.read_all(query);
    let stall = core.options.stall();
    let batch = permit.within(stall, commits.next()).await?.transpose()?;
    let commit = batch.and_then(|commits| commits.into_iter().next());
    Ok(commit.filter(|commit| commit.sequence() == sequence))
}

fn panicked(said: &str) -> ReadError {
    ReadError::Io {
        operation: Arc::from("looking in the log for a command"),
        source: Arc::new(io::Error::other(format!("the store panicked: {said}"))),
    }
}
