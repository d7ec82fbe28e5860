//! Outcomes of attempts are taken in: those that come together in one commit.

use std::collections::VecDeque;
use std::pin::pin;
use std::time::Duration;

use chronicler_domain::LogSequence;
use chronicler_runtime::SendOptions;
use futures::FutureExt;
use futures::future::{Either, Fuse, FusedFuture, select};
use futures::stream::{FuturesUnordered, StreamExt};

use crate::definition::answer::Answer;
use crate::definition::saga::Saga;
use crate::execution::asking::{AskError, is_refused_for_good};
use crate::execution::executor::Executor;
use crate::execution::places::{AtWork, Seat};
use crate::execution::turns::Turn;
use crate::instance::action::Action;
use crate::instance::id::InstanceId;
use crate::instance::transition::command::SagaCommand;
use crate::instance::work::Task;

/// Outcomes of one decision that are taken in one commit.
const OUTCOMES_MAX: usize = 512;
/// The bytes of their answers; a longer one goes alone.
const OUTCOMES_BYTES_MAX: usize = 1 << 20;

/// The time after which whoever waits for an instance leaves its place to others.
pub(super) const LONG: Duration = Duration::from_secs(2);

/// What became of an attempt.
pub(super) struct AttemptOutcome<'a> {
    pub(super) command: SagaCommand,
    pub(super) options: SendOptions,
    /// The turn that it had, if its turn had come. It ends when the outcome has been taken in: a copy that waits for it then sees what came of it.
    pub(super) turn: Option<Turn>,
    pub(super) place: AtWork<'a>,
}

type GivenOutcome = (SagaCommand, SendOptions, Option<Turn>);

impl<S: Saga> Executor<S> {
    /// Carries out what one decision asks for, and has the instance take in what became of it.
    pub(super) async fn carry_out_all(
        &self,
        instance: &InstanceId,
        tasks: Vec<Task>,
        sequence: LogSequence,
        had_to_wait: bool,
        holds: u64,
        seat: &Seat,
    ) {
        let begin = |task: Task| {
            let place = seat.at_work();
            self.carry_out(instance, task, sequence, had_to_wait, holds, place)
        };
        let mut under_way: FuturesUnordered<_> = tasks.into_iter().map(begin).collect();
        let mut come = VecDeque::new();
        let mut taking = Fuse::terminated();
        // While outcomes are committed others come: those are then committed as one.
        loop {
            if taking.is_terminated() && !come.is_empty() {
                let together = together(&mut come);
                taking = self.take_in(instance, together).boxed().fuse();
            }
            tokio::select! {
                biased;
                () = &mut taking, if !taking.is_terminated() => {}
                Some(done) = under_way.next(), if !under_way.is_empty() => {
                    come.extend(done.map(|mut outcome| {
                        if !taking.is_terminated() {
                            // It only waits until its instance has taken those before it: others may have the place.
                            outcome.place.leave();
                        }
                        outcome.command = outcome.command.with_short_reason();
                        outcome
                    }));
                }
                else => return,
            }
        }
    }

    /// Gives an instance outcomes that came together, in one commit if the log takes that, else one by one.
    async fn take_in(&self, instance: &InstanceId, outcomes: Vec<AttemptOutcome<'_>>) {
        let mut places = Vec::with_capacity(outcomes.len());
        let outcomes = outcomes.into_iter().map(|outcome| {
            places.push(outcome.place);
            (outcome.command, outcome.options, outcome.turn)
        });
        let outcomes = outcomes.collect();
        self.leaving(&mut places, self.give(instance, outcomes))
            .await;
    }

    async fn give(&self, instance: &InstanceId, outcomes: Vec<GivenOutcome>) {
        if outcomes.len() > 1
            && let Some((_, options, _)) = outcomes.first()
        {
            let options = options.clone();
            let commands = outcomes.iter().map(|(command, ..)| command.clone());
            let several = SagaCommand::Several(commands.collect());
            match self.ask(instance, several, options).await {
                Err(AskError::Failed(error)) if is_refused_for_good(&error) => {}
                Err(error) => return not_taken::<S>(instance, &error),
                Ok(()) => return,
            }
        }
        for (command, options, _turn) in outcomes {
            let asked = self.ask_or_quarantine(instance, command.clone(), options.clone());
            let mut taken = asked.await;
            if let Some(given_up) = given_up(&command, &taken) {
                taken = self.ask(instance, given_up, options).await;
            }
            if let Err(error) = taken {
                not_taken::<S>(instance, &error);
            }
        }
    }

    /// Waits for an instance. When it gives no answer for long, others may have the places: it is only waited for, and what
    /// comes after that needs none.
    pub(super) async fn leaving<T>(
        &self,
        places: &mut [AtWork<'_>],
        wait: impl Future<Output = T>,
    ) -> T {
        let wait = pin!(wait);
        match select(wait, self.runtime.clock().sleep(LONG)).await {
            Either::Left((done, _)) => done,
            Either::Right(((), wait)) => {
                places.iter_mut().for_each(AtWork::leave);
                wait.await
            }
        }
    }
}

/// A restart or an operator takes it up again: the effect is still open in the stream.
fn not_taken<S: Saga>(instance: &InstanceId, error: &AskError) {
    tracing::warn!(saga = S::NAME, id = %instance.id, ?error, "outcome not taken");
}

/// Takes off what goes into one commit: answers, or other outcomes, as many as belong together at the front.
fn together<'a>(come: &mut VecDeque<AttemptOutcome<'a>>) -> Vec<AttemptOutcome<'a>> {
    let answers = |outcome: &AttemptOutcome<'_>| match &outcome.command {
        SagaCommand::Answer {
            answer: Answer::Done(payload) | Answer::Rejected(payload),
            ..
        } => Some(payload.bytes().len()),
        SagaCommand::Answer { .. } => Some(0),
        _ => None,
    };
    let are_answers = come.front().map(|first| answers(first).is_some());
    let (mut bytes, mut count) = (0, 0);
    for outcome in come.iter().take(OUTCOMES_MAX) {
        let size = answers(outcome);
        bytes += size.unwrap_or_default();
        let fits = bytes <= OUTCOMES_BYTES_MAX || count == 0;
        if Some(size.is_some()) != are_answers || !fits {
            break;
        }
        count += 1;
    }
    come.drain(..count).collect()
}

/// What an instance is told instead of an outcome that the log does not take even by itself: the attempt failed for good,
/// and a person sees to it.
fn given_up<T>(command: &SagaCommand, taken: &Result<T, AskError>) -> Option<SagaCommand> {
    let Err(AskError::Failed(error)) = taken else {
        return None;
    };
    if !is_refused_for_good(error) {
        return None;
    }
    let (action, what) = match command {
        SagaCommand::NotTaken { outcome, .. } => return given_up(outcome, taken),
        SagaCommand::Answer { action, .. } => (*action, "it was answered"),
        SagaCommand::ChildEnded { effect, .. } => (Action::of(*effect), "its child has ended"),
        SagaCommand::Begun { effect, .. } => (Action::of(*effect), "its child was begun"),
        SagaCommand::Failed { action, .. } | SagaCommand::Held { action, .. } => {
            (*action, "an attempt failed")
        }
        _ => return None,
    };
    let reason = format!("{what}, and that cannot be taken in: {error}");
    Some(SagaCommand::GiveUp { action, reason }.with_short_reason())
}

#[cfg(test)]
mod tests {
    use chronicler_domain::Timestamp;
    use chronicler_runtime::DispatchError;
    use chronicler_store::AppendError;

    use super::*;
    use crate::instance::status::Ending;

    #[test]
    fn m61_no_outcome_is_dropped_that_is_refused_for_good_whatever_it_is() {
        let (action, effect, attempt) = (Action::of(3), 3, 1);
        let (reason, decided_at) = (String::new(), LogSequence::new(1));
        let outcomes = [
            SagaCommand::Answer {
                action,
                answer: Answer::nothing(),
            },
            SagaCommand::Failed {
                action,
                attempt,
                next: Some(Timestamp::MAX),
                reason: reason.clone(),
                decided_at,
            },
            SagaCommand::Held {
                action,
                attempt,
                reason: reason.clone(),
                decided_at,
            },
            SagaCommand::Begun {
                effect,
                was_to_end: false,
                decided_at,
            },
            SagaCommand::ChildEnded {
                effect,
                ending: Ending::Compensated { reason },
            },
        ];
        let failed = |error: DispatchError| Err::<(), _>(AskError::Failed(error));
        let refused = failed(DispatchError::Append(AppendError::Invalid {
            reason: "it is too long".into(),
        }));
        for outcome in outcomes {
            let instead = given_up(&outcome, &refused);
            let Some(SagaCommand::GiveUp { action, reason }) = instead else {
                panic!("it is dropped")
            };
            assert_eq!(action, Action::of(3));
            assert!(reason.contains("too long"), "{reason}");
            assert!(given_up(&outcome, &failed(DispatchError::Stopped)).is_none());
        }
    }
}
