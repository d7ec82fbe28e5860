//! Inputs that waited are taken up again: read once more, and given to their instance in order.

use std::sync::Arc;

use chronicler_domain::GlobalPosition;
use chronicler_runtime::{DispatchError, SendOptions};
use chronicler_store::codec::CodecError;
use chronicler_store::{AllQuery, ReadError, Start};
use futures::StreamExt;

use crate::definition::input::RoutedEvent;
use crate::definition::saga::Saga;
use crate::execution::asking::{AskError, Patience};
use crate::execution::executor::Executor;
use crate::instance::entry::StalledInput;
use crate::instance::id::InstanceId;
use crate::instance::open_fact::waits_for;
use crate::instance::status::SagaStatus;
use crate::instance::transition::command::SagaCommand;

impl<S: Saga> Executor<S> {
    /// Takes up the inputs of an instance that wait, in order, as long as nothing keeps it from that, and says where it
    /// then is. Two who do so at a time are in nobody's way: each input is taken once.
    pub(crate) async fn take_up(
        &self,
        instance: &InstanceId,
        patience: Patience,
    ) -> Result<SagaStatus, AskError> {
        loop {
            let saga = Arc::clone(self.handle.entity());
            let first = self.look(patience, instance, move |state, _| {
                let first = state.stalled.front().filter(|_| state.takes_up());
                let status = state.status_with(|| waits_for(saga.saga(), state.user()));
                (first.cloned(), status)
            });
            let (first, status) = first.await?;
            let Some(input) = first else {
                return Ok(status);
            };
            let options = SendOptions::default();
            match self.events_of(&input, patience).await {
                Ok(events) => {
                    let command = SagaCommand::Unstall { input, events };
                    self.ask_or_quarantine_for(patience, instance, command, options)
                        .await?;
                }
                // That instance alone stands at it, and says why.
                Err(error) if is_lasting(&error) => {
                    let events = Vec::new();
                    let input = Box::new(SagaCommand::Unstall { input, events });
                    let reason = format!("an event that waits cannot be read: {error}");
                    let command = SagaCommand::QuarantineAt { input, reason }.with_short_reason();
                    self.ask_for(patience, instance, command, options).await?;
                }
                Err(error) => return Err(AskError::Failed(error)),
            }
        }
    }

    /// Reads the events of an input that waits again, again and again while the log cannot be read for the moment and
    /// patience lasts.
    async fn events_of(
        &self,
        input: &StalledInput,
        patience: Patience,
    ) -> Result<Vec<RoutedEvent>, DispatchError> {
        let begun = self.runtime.clock().monotonic();
        let mut attempt = 0_u32;
        loop {
            match self.read_events_of(input).await {
                Err(error) if self.is_asked_again(&error, patience, begun) => {
                    attempt = attempt.saturating_add(1);
                    self.pause(attempt).await;
                }
                read => return read,
            }
        }
    }

    /// Reads the events of an input that waits again: those that it was given, whatever the routes of today make of them.
    async fn read_events_of(
        &self,
        input: &StalledInput,
    ) -> Result<Vec<RoutedEvent>, DispatchError> {
        let (position, part) = match input {
            StalledInput::Event(position) => (*position, None),
            StalledInput::Part {
                position,
                place,
                of,
            } => (*position, Some((*place, *of))),
            StalledInput::Starting {
                position,
                place,
                of,
            } => (*position, (*of > 1).then_some((*place, *of))),
            _ => return Ok(Vec::new()),
        };
        let found = self.events_at(position).await?;
        let Some((place, of)) = part else {
            return Ok(found);
        };
        let (count, wanted) = (found.len(), usize::try_from(place).unwrap_or(usize::MAX));
        let chosen = found.into_iter().nth(wanted);
        let chosen = chosen.filter(|_| usize::try_from(of) == Ok(count));
        let chosen = chosen.ok_or_else(|| CodecError::Undecodable {
            type_name: "an event that waits for a saga",
            reason: format!(
                "the event at position {position} was read as {of} events when it came, and is read as {count} now"
            ),
        })?;
        Ok(vec![chosen])
    }

    /// Reads the event at a position again.
    async fn events_at(&self, position: GlobalPosition) -> Result<Vec<RoutedEvent>, DispatchError> {
        let query = AllQuery {
            to: position,
            ..AllQuery::from(Start::Position(position))
        };
        let mut commits = self.runtime.store().read_all(query);
        let mut found = Vec::new();
        while let Some(batch) = commits.next().await {
            for commit in batch? {
                for event in commit.events().filter(|event| event.position() == position) {
                    found.extend(self.routes.read(&event)?);
                }
            }
        }
        Ok(found)
    }
}

/// Whether an event cannot be read until something is mended.
fn is_lasting(error: &DispatchError) -> bool {
    matches!(
        error,
        DispatchError::Codec(_) | DispatchError::Read(ReadError::Damaged { .. })
    )
}
