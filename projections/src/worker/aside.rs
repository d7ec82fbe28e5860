//! What a view sets aside, and how that is taken up again: key by key, in order, at its time.

use std::sync::Arc;
use std::time::Instant;

use chronicler_domain::{GlobalPosition, Timestamp};
use chronicler_runtime::{ParkedEvent, SetAside};
use chronicler_store::{AllQuery, ReadError, RecordedCommit, Start, Store};
use futures::StreamExt;

use super::setup::Setup;
use super::track::Track;
use crate::error::RunError;
use crate::failure::{AfterRetries, FailureReason, Verdict};
use crate::fold::{Aside, Fold, Line};
use crate::ledger::Ledger;

/// Keys that are tried at a time.
const LINES_MAX: usize = 64;
/// Events of one key that are taken up at a time.
const LINE_EVENTS_MAX: usize = 16;
/// While there is something to follow, taking up may use one part of so many of the time.
const SHARE: u32 = 20;

/// What was taken up at a time.
#[derive(Default)]
pub(super) struct TakenUp {
    /// Events that are newly visible.
    pub(super) newly: u64,
    /// Keys whose first event was tried.
    pub(super) keys: Vec<Arc<str>>,
}

impl<F: Fold> Track<F> {
    /// How many more events it may set aside: no more are read at a time.
    pub(super) fn room(&self, setup: &Setup) -> usize {
        let most = setup.options.parked_events_max;
        self.ledger.room(most, self.fold.position())
    }

    /// How many of the events that wait may be left out for good: with one more nothing more would be read.
    pub(super) fn droppable(&self, setup: &Setup) -> usize {
        let most = setup.options.parked_events_max;
        let (_, skipped) = self.ledger.counts();
        most.saturating_sub(1).saturating_sub(skipped as usize)
    }

    /// Why nothing more is read, if as many events are set aside as may be: which limit is reached, and what helps.
    pub(super) fn is_full(&self, setup: &Setup) -> Option<Arc<str>> {
        let (most, position) = (setup.options.parked_events_max, self.fold.position());
        let (waiting, skipped) = self.ledger.counts();
        if self.ledger.is_skipped_full(most, position) {
            let reason = format!(
                "{skipped} events are left out for good, as many as may be, and nothing more is read: raise parked_events_max, or mend the projection and rebuild it, which tries them again"
            );
            return Some(reason.into());
        }
        if !self.ledger.is_waiting_full(most, position) {
            return None;
        }
        let dropping = match self.droppable(setup) {
            0 => "",
            _ => "drop some, ",
        };
        let reason = format!(
            "{waiting} events wait set aside, as many as may, and nothing more is read: mend the projection and retry them, {dropping}or raise parked_events_max"
        );
        Some(reason.into())
    }

    /// Records what a fold met and did not fold, durably if the view is.
    pub(super) async fn set_aside(&mut self, setup: &Setup, aside: Aside) -> Result<(), RunError> {
        let (at, fingerprint) = (setup.clock.now(), setup.fingerprint);
        let mut events = Vec::with_capacity(aside.failed.len() + aside.held.len());
        let mut due = Vec::new();
        for failure in aside.failed {
            let (position, is_certain) = (failure.position, failure.is_certain);
            let (since, before) = self.before(position, at);
            let (tries, cause, when) = match is_certain {
                true => self.verdict(setup, before.saturating_add(1), &failure.reason),
                // It did not meet a whole view, so this was no try.
                false => (before, SetAside::Retrying, Some(setup.clock.monotonic())),
            };
            due.push((Arc::clone(&failure.key), position, when));
            let event = ParkedEvent::new(position, failure.stream_key, failure.key, cause, since);
            let event = event.failed(&failure.reason.to_string(), tries, at);
            report(setup, &event);
            events.push(event);
        }
        for held in aside.held {
            let (since, _) = self.before(held.position, at);
            let behind = held.behind;
            let cause = SetAside::Held { behind };
            let event = ParkedEvent::new(held.position, held.stream_key, held.key, cause, since);
            events.push(event);
        }
        if events.is_empty() {
            return Ok(());
        }
        for event in &mut events {
            event.fingerprint = fingerprint;
        }
        self.note(setup, events).await?;
        let ledger = Arc::make_mut(&mut self.ledger);
        for (key, position, when) in due {
            // An event that is left out holds up nobody.
            if ledger.first(&key) == Some(position) {
                ledger.set_due(&key, when);
            }
        }
        Ok(())
    }

    /// When an event was first set aside, and how often it was tried, as far as an earlier life of the view knew.
    fn before(&self, position: GlobalPosition, now: Timestamp) -> (Timestamp, u32) {
        let earlier = self.ledger.earlier(position);
        earlier.map_or((now, 0), |event| (event.at, event.tries))
    }

    /// Has the log forget what an earlier life has set aside and this one has folded up to where it stands. Before that
    /// shows, since the next life would take the events for set aside.
    pub(super) async fn settle_earlier(&mut self, setup: &Setup) -> Result<(), RunError> {
        let through = self.fold.position();
        if !self.is_recorded || !self.ledger.has_earlier(through) {
            return Ok(());
        }
        let ledger = Arc::make_mut(&mut self.ledger);
        let folded = ledger.met(through);
        setup.facts().forget(&self.facts, &folded).await
    }

    /// Takes events into the ledger, durably if the view is.
    async fn note(&mut self, setup: &Setup, events: Vec<ParkedEvent>) -> Result<(), RunError> {
        if self.is_recorded {
            let new = self.unrecorded(&events);
            setup.facts().record(&self.facts, &new).await?;
        }
        let ledger = Arc::make_mut(&mut self.ledger);
        for event in events {
            ledger.note(event);
        }
        Ok(())
    }

    /// What becomes of an event after so many tries: how often it was tried, why it is set aside, and when it is tried
    /// again without a person.
    fn verdict(
        &self,
        setup: &Setup,
        tries: u32,
        reason: &FailureReason,
    ) -> (u32, SetAside, Option<Instant>) {
        match setup.options.failure.after(tries, reason) {
            Verdict::RetryAfter(wait) => {
                let wait = setup.runtime.jitter().shorten(wait);
                (tries, SetAside::Retrying, Some(setup.after(wait)))
            }
            // Where the policy says stop, the view is past the event already: it was set aside under another policy.
            Verdict::Done(AfterRetries::Park | AfterRetries::Stop) => {
                (tries, SetAside::Parked, None)
            }
            Verdict::Done(AfterRetries::Skip) => (tries, SetAside::Skipped, None),
        }
    }

    /// Records what a view has that takes over, if that was not done at once.
    pub(super) async fn record_all(&mut self, setup: &Setup) -> Result<(), RunError> {
        if !self.is_recorded {
            let events: Vec<_> = self.ledger.events().cloned().collect();
            let new = self.unrecorded(&events);
            setup.facts().record(&self.facts, &new).await?;
            self.is_recorded = true;
        }
        self.settle_earlier(setup).await
    }

    /// Those of these events of which the log does not say the same already.
    fn unrecorded(&self, events: &[ParkedEvent]) -> Vec<ParkedEvent> {
        let new = events
            .iter()
            .filter(|event| !self.ledger.is_recorded(event));
        new.cloned().collect()
    }

    /// When it takes something up next; `None` if nothing waits for a time.
    pub(super) fn takes_up_at(&self) -> Option<Instant> {
        if self.is_stopped() {
            return None;
        }
        let due = self.ledger.next_due(self.fold.position())?;
        Some(self.rests_until.map_or(due, |rests| due.max(rests)))
    }

    /// Has every key tried now.
    pub(super) fn make_all_due(&mut self, setup: &Setup) {
        if self.ledger.counts().0 > 0 {
            let now = setup.clock.monotonic();
            Arc::make_mut(&mut self.ledger).make_due(now, |_| true);
        }
    }

    /// Tries some of the keys that are due. Each is tried once; its later events follow if it works, up to a limit.
    pub(super) async fn take_up(&mut self, setup: &Setup) -> Result<TakenUp, RunError> {
        let began = setup.clock.monotonic();
        let reached = self.fold.position();
        let waiting = self.ledger.due(began, reached, LINES_MAX, LINE_EVENTS_MAX);
        if waiting.is_empty() || self.is_stopped() {
            return Ok(TakenUp::default());
        }
        // What is taken up is written apart from what is folded in order.
        if self.fold.is_unwritten() {
            self.fold.flush().await?;
        }
        let mut lines = Vec::with_capacity(waiting.len());
        for events in &waiting {
            lines.push(line(&*setup.store, events).await?);
        }
        let ends = self.fold.take_up(lines).await?;
        let mut taken = Vec::new();
        let mut failed = Vec::new();
        let mut next = Vec::new();
        let mut keys = Vec::new();
        let now = setup.clock.now();
        for (events, end) in waiting.into_iter().zip(ends) {
            keys.extend(events.first().map(|event| Arc::clone(&event.key)));
            let mut events = events.into_iter();
            taken.extend(events.by_ref().take(end.taken).map(|event| event.position));
            if let (Some(reason), Some(event)) = (end.failed, events.next()) {
                let tries = event.tries.saturating_add(1);
                let (tries, cause, due) = self.verdict(setup, tries, &reason);
                next.push((Arc::clone(&event.key), event.position, due));
                let mut event = event.failed(&reason.to_string(), tries, now);
                event.cause = cause;
                report(setup, &event);
                failed.push(event);
            }
        }
        let newly = self.have_taken(setup, &taken).await?;
        self.note(setup, failed).await?;
        self.schedule(setup, &keys, &next);
        let cost = setup.clock.monotonic().saturating_duration_since(began);
        self.rests_until = Some(began + cost * SHARE);
        Ok(TakenUp { newly, keys })
    }

    /// Shows what was taken up, makes it durable, and has the log forget that it was set aside.
    async fn have_taken(
        &mut self,
        setup: &Setup,
        taken: &[GlobalPosition],
    ) -> Result<u64, RunError> {
        if taken.is_empty() {
            return Ok(0);
        }
        let newly = self.fold.show_taken(taken);
        self.fold.write_taken().await?;
        if self.is_recorded {
            setup.facts().forget(&self.facts, taken).await?;
        }
        self.fold.clear_taken().await?;
        let ledger = Arc::make_mut(&mut self.ledger);
        for position in taken {
            ledger.remove(*position);
        }
        let name = &setup.progress.name;
        tracing::info!(projection = %name, events = taken.len(), "events that were set aside are folded");
        Ok(newly)
    }

    /// Notes when keys that were tried are tried next: those that failed at their time, the others at once.
    fn schedule(
        &mut self,
        setup: &Setup,
        keys: &[Arc<str>],
        failed: &[(Arc<str>, GlobalPosition, Option<Instant>)],
    ) {
        let now = setup.clock.monotonic();
        let ledger = Arc::make_mut(&mut self.ledger);
        for key in keys {
            ledger.set_due(key, Some(now));
        }
        for (key, position, due) in failed {
            if ledger.first(key) == Some(*position) {
                ledger.set_due(key, *due);
            }
        }
    }

    /// Leaves events out for good, durably, and has those tried that waited for them.
    pub(super) async fn leave_out(
        &mut self,
        setup: &Setup,
        mut events: Vec<ParkedEvent>,
    ) -> Result<(), RunError> {
        let name = &setup.progress.name;
        let mut keys = Vec::new();
        for event in &mut events {
            event.cause = SetAside::Skipped;
            tracing::warn!(projection = %name, position = %event.position, key = &*event.key, "a parked event is left out for good");
            if self.ledger.first(&event.key) == Some(event.position) {
                keys.push(Arc::clone(&event.key));
            }
        }
        self.note(setup, events).await?;
        self.schedule(setup, &keys, &[]);
        Ok(())
    }
}

/// Takes what an earlier life has set aside of a view that stands at a position.
pub(super) async fn load<F: Fold>(setup: &Setup, fold: &mut F) -> Result<Ledger, RunError> {
    let name = setup.facts_name(fold.generation());
    let facts = setup.facts();
    let taken = fold.settle_taken().await?;
    if !taken.is_empty() {
        facts.forget(&name, &taken).await?;
        fold.clear_taken().await?;
    }
    facts.load(&name, fold.position()).await
}

/// The events of a key with their commits.
async fn line(store: &dyn Store, events: &[ParkedEvent]) -> Result<Line, RunError> {
    let mut with_commits = Vec::with_capacity(events.len());
    for event in events {
        let commit = commit_of(store, event.position).await?;
        if commit.is_none() {
            tracing::warn!(position = %event.position, "the log has an event no more that was set aside");
        }
        with_commits.push((event.position, commit));
    }
    Ok(Line {
        events: with_commits,
    })
}

/// The commit that an event is in.
async fn commit_of(
    store: &dyn Store,
    position: GlobalPosition,
) -> Result<Option<RecordedCommit>, ReadError> {
    let query = AllQuery {
        to: position,
        ..AllQuery::from(Start::Position(position))
    };
    let mut commits = store.read_all(query);
    while let Some(batch) = commits.next().await {
        let mut batch = batch?.into_iter();
        let has_it = |commit: &RecordedCommit| commit.last_position() >= position;
        if let Some(commit) = batch.find(has_it) {
            return Ok(Some(commit));
        }
    }
    Ok(None)
}

/// Says it where operators look.
fn report(setup: &Setup, event: &ParkedEvent) {
    let (name, position) = (&setup.progress.name, event.position);
    let (key, tries, reason) = (&*event.key, event.tries, &event.reason);
    match event.cause {
        SetAside::Retrying => {
            tracing::warn!(projection = %name, %position, key, tries, %reason, "an event failed and is tried again later");
        }
        cause => {
            tracing::error!(projection = %name, %position, key, tries, %reason, ?cause, "an event is set aside");
        }
    }
}
