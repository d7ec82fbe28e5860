//! Instances are given inputs, and looked at: again and again while the machinery is only busy.

use std::time::Duration;

use chronicler_domain::StreamVersion;
use chronicler_runtime::{Backoff, Deadline, DispatchError, SendError, SendOptions};
use chronicler_store::AppendError;

use crate::definition::saga::Saga;
use crate::execution::executor::Executor;
use crate::instance::id::InstanceId;
use crate::instance::state::InstanceState;
use crate::instance::transition::command::SagaCommand;
use crate::instance::transition::refusal::SagaRefusal;

/// Attempts that follow one another quickly and are not journaled: for a moment of overload.
pub(crate) const QUICK_ATTEMPTS: u32 = 5;
/// Attempts at what a person wants: four seconds of them at most.
pub(crate) const PERSON_ATTEMPTS: u32 = 30;
/// The waits between them.
const QUICK_WAITS: Backoff = Backoff::new(Duration::from_millis(10), Duration::from_millis(160));

/// Why an instance gave no answer.
#[derive(Clone, Debug)]
pub(crate) enum AskError {
    Refused(SagaRefusal),
    Failed(DispatchError),
}

impl<S: Saga> Executor<S> {
    /// Gives an instance an input, again and again while the machinery is only busy, once there is room for what it
    /// may decide. What it decides is handed on by its commit.
    pub(crate) async fn tell(
        &self,
        instance: &InstanceId,
        command: SagaCommand,
        options: SendOptions,
    ) -> Result<(), AskError> {
        self.tell_at_most(u32::MAX, instance, command, options)
            .await
    }

    /// The same, with so many attempts after the first.
    pub(crate) async fn tell_at_most(
        &self,
        attempts_max: u32,
        instance: &InstanceId,
        command: SagaCommand,
        options: SendOptions,
    ) -> Result<(), AskError> {
        self.backlog().below(self.options.deliveries_max).await;
        self.ask_or_quarantine_at_most(attempts_max, instance, command, options)
            .await
    }

    /// The same for a person, who would rather hear that it is busy than wait for ever.
    pub(crate) async fn tell_for_a_person(
        &self,
        instance: &InstanceId,
        command: SagaCommand,
    ) -> Result<(), AskError> {
        let options = SendOptions::default();
        self.ask_at_most(PERSON_ATTEMPTS, instance, command, options)
            .await
    }

    /// Whether what was decided before must be carried out before an input is given.
    pub(crate) fn is_full(&self) -> bool {
        self.backlog().is_full(self.options.deliveries_max)
    }

    /// Looks at an instance, again and again while the machinery is only busy.
    pub(crate) async fn look_at_most<T: Send + 'static>(
        &self,
        instance: &InstanceId,
        attempts_max: u32,
        look: impl FnOnce(&InstanceState<S::State>, StreamVersion) -> T + Clone + Send + 'static,
    ) -> Result<T, AskError> {
        let mut attempt = 0;
        loop {
            let (tenant, id) = (&instance.tenant, &instance.id);
            match self.handle.query(tenant, id, look.clone()).await {
                Ok(found) => return Ok(found.state),
                Err(error) if error.is_retryable() && attempt < attempts_max => {
                    attempt += 1;
                    self.pause(attempt).await;
                }
                Err(error) => return Err(AskError::Failed(error)),
            }
        }
    }

    /// Gives an instance an input. If the log refuses for good what is decided on it (it is too long, or cannot be
    /// written), the instance alone is quarantined at it.
    pub(crate) async fn ask_or_quarantine(
        &self,
        instance: &InstanceId,
        command: SagaCommand,
        options: SendOptions,
    ) -> Result<(), AskError> {
        self.ask_or_quarantine_at_most(u32::MAX, instance, command, options)
            .await
    }

    async fn ask_or_quarantine_at_most(
        &self,
        attempts_max: u32,
        instance: &InstanceId,
        command: SagaCommand,
        options: SendOptions,
    ) -> Result<(), AskError> {
        let asked = self.ask_at_most(attempts_max, instance, command.clone(), options.clone());
        let error = match asked.await {
            Err(AskError::Failed(error)) if is_refused_for_good(&error) => error,
            answered => return answered,
        };
        tracing::error!(saga = S::NAME, id = %instance.id, %error, "the log refuses for good what was decided");
        let input = Box::new(command);
        let reason = format!("the log does not take what it decided: {error}");
        let quarantine = SagaCommand::QuarantineAt { input, reason };
        self.ask_at_most(attempts_max, instance, quarantine, options)
            .await
    }

    pub(crate) async fn ask(
        &self,
        instance: &InstanceId,
        command: SagaCommand,
        options: SendOptions,
    ) -> Result<(), AskError> {
        self.ask_at_most(u32::MAX, instance, command, options).await
    }

    pub(crate) async fn ask_at_most(
        &self,
        attempts_max: u32,
        instance: &InstanceId,
        command: SagaCommand,
        options: SendOptions,
    ) -> Result<(), AskError> {
        // Asked again after a deadline, what it decided would not come back.
        let options = SendOptions {
            deadline: Deadline::None,
            ..options
        };
        // Its dates are taken from the clock as it is now, and not as it was before somebody set it.
        self.runtime.timers().compare_clocks();
        let mut attempt = 0;
        loop {
            let sent = self.handle.send(
                &instance.tenant,
                &instance.id,
                command.clone(),
                options.clone(),
            );
            match sent.await {
                Ok(_) => return Ok(()),
                Err(SendError::Rejected(refusal)) => return Err(AskError::Refused(refusal)),
                Err(SendError::Failed(error)) if error.is_retryable() && attempt < attempts_max => {
                    attempt = attempt.saturating_add(1);
                    self.pause(attempt).await;
                }
                Err(SendError::Failed(error)) => return Err(AskError::Failed(error)),
            }
        }
    }

    /// Waits before an attempt is made again, counted from 1.
    pub(crate) async fn pause(&self, attempt: u32) {
        let wait = QUICK_WAITS.wait(attempt, self.runtime.jitter());
        self.runtime.clock().sleep(wait).await;
    }
}

/// Whether the log would refuse the same commit again, however often it is asked.
pub(crate) fn is_refused_for_good(error: &DispatchError) -> bool {
    matches!(
        error,
        DispatchError::Codec(_)
            | DispatchError::Append(AppendError::TooLarge { .. } | AppendError::Invalid { .. })
    )
}
