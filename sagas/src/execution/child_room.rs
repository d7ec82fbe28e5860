//! Room for children: an attempt that begins one waits until there is some.

use std::pin::pin;

use chronicler_domain::Timestamp;
use futures::future::{Either, select};

use crate::definition::saga::Saga;
use crate::execution::attempt::Attempt;
use crate::execution::child_places::ChildPlace;
use crate::execution::executor::Executor;
use crate::execution::outcomes::LONG;
use crate::execution::places::AtWork;
use crate::instance::occupancy::Occupancy;
use crate::instance::transition::command::SagaCommand;
use crate::instance::transition::refusal::SagaRefusal;
use crate::instance::work::ChildTask;

impl<S: Saga> Executor<S> {
    /// The place of the child that an attempt begins, and whether it had to be waited for. There is none without a limit, for
    /// a child that was begun before, and for an attempt that begins none.
    ///
    /// # Errors
    /// Why the attempt is not to be made any more.
    pub(super) async fn child_place(
        &self,
        attempt: &mut Attempt<'_>,
        place: &mut AtWork<'_>,
    ) -> Result<(Option<ChildPlace>, bool), SagaRefusal> {
        let ChildTask::Begin {
            has_begun: false,
            awaits_room,
            ..
        } = attempt.task.child
        else {
            return Ok((None, false));
        };
        let child = attempt.task.request.target(&attempt.instance.tenant);
        let (Some(child), Some(occupies)) = (child, attempt.occupies()) else {
            return Ok((None, false));
        };
        let (wait, reason) = match self.shared.child_places.take(&child, &occupies) {
            Ok(found) => return Ok((Some(found), false)),
            Err(waits) => waits,
        };
        let told = &*attempt;
        let waiting = async {
            let mut wait = Some(wait);
            if !awaits_room {
                let telling = pin!(self.tell_of_room(told, reason));
                let may_wait = match select(telling, self.runtime.clock().sleep(LONG)).await {
                    Either::Left((may_wait, _)) => may_wait?,
                    Either::Right(((), telling)) => {
                        // Others may go before an instance that gives no answer.
                        wait = None;
                        telling.await?
                    }
                };
                if !may_wait {
                    return Ok((None, true));
                }
            }
            let wait = match wait {
                Some(wait) => wait,
                None => match self.shared.child_places.take(&child, &occupies) {
                    Ok(found) => return Ok((Some(found), true)),
                    Err((wait, _)) => wait,
                },
            };
            Ok((wait.place().await, true))
        };
        // Others may have the place until then, and nothing is under way: the end of another child can be far away.
        let found = place.rest(waiting).await?;
        if found.0.is_some() {
            attempt.awaited_room();
        }
        Ok(found)
    }

    /// Tells an instance that a child of its waits for room, unless it was begun: an attempt that may have been sent before may
    /// have done that in another life, and it may have ended since. Says whether it waits.
    ///
    /// # Errors
    /// Why the attempt is not to be made any more.
    async fn tell_of_room(
        &self,
        attempt: &Attempt<'_>,
        reason: String,
    ) -> Result<bool, SagaRefusal> {
        let task = &attempt.task;
        if task.decided_at.is_some() && self.has_begun(attempt.instance, task).await {
            return Ok(false);
        }
        let told = SagaCommand::AwaitRoom {
            effect: task.action.effect,
            attempt: task.attempt,
            next: task.not_before,
            reason,
            decided_at: attempt.decided_at,
        };
        self.ask_of(attempt, told).await?;
        Ok(true)
    }
}

impl Attempt<'_> {
    /// Whether it begins a child, or asks one again how it ended.
    pub(super) fn begins_child(&self) -> bool {
        matches!(self.task.child, ChildTask::Begin { .. })
    }

    /// Its instance has it begun, and waits for nothing any more.
    pub(super) fn begins(&mut self) {
        self.task.not_before = Timestamp::EPOCH;
        if let ChildTask::Begin { awaits_room, .. } = &mut self.task.child {
            *awaits_room = false;
        }
    }

    /// The place that the child has which it begins; `None` if there is no limit of those that are alive.
    pub(super) fn occupies(&self) -> Option<Occupancy> {
        let ChildTask::Begin {
            limit: Some((resource, limit)),
            ..
        } = &self.task.child
        else {
            return None;
        };
        Some(Occupancy {
            resource: resource.clone(),
            limit: *limit,
            decided_at: self.decided_at,
        })
    }

    /// Its instance knows that it waited for room.
    fn awaited_room(&mut self) {
        self.task.not_before = Timestamp::MAX;
        if let ChildTask::Begin { awaits_room, .. } = &mut self.task.child {
            *awaits_room = true;
        }
    }
}
