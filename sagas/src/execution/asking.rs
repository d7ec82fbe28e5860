//! Instances are given inputs, and looked at: again and again while the machinery is only busy.

use std::time::{Duration, Instant};

use chronicler_domain::StreamVersion;
use chronicler_runtime::{Backoff, Deadline, DispatchError, SendError, SendOptions};
use chronicler_store::{AppendError, Outcome};

use crate::definition::saga::Saga;
use crate::execution::executor::Executor;
use crate::instance::id::InstanceId;
use crate::instance::state::InstanceState;
use crate::instance::transition::command::SagaCommand;
use crate::instance::transition::refusal::SagaRefusal;

/// The waits between attempts that follow one another quickly and are not journaled.
const QUICK_WAITS: Backoff = Backoff::new(Duration::from_millis(10), Duration::from_millis(160));

/// How long an instance is asked, in time and not in attempts: one attempt at an instance that cannot be recovered takes a
/// second, and one whose reads hang takes half a minute.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// After an error that may pass no further attempt begins when so much time has gone by.
    again: Duration,
    /// An attempt under way is given up when so much time has gone by; `None`: it is waited for.
    longest: Option<Duration>,
}

impl Patience {
    /// For as long as it takes.
    pub(crate) const ENDLESS: Self = Self {
        again: Duration::MAX,
        longest: None,
    };
    /// For what must be asked anew before a further attempt.
    pub(crate) const ONCE: Self = Self {
        again: Duration::ZERO,
        longest: None,
    };
    /// For what comes again by itself: the overload of a moment is waited for, and nothing else.
    pub(crate) const MOMENT: Self = Self {
        again: Duration::from_millis(300),
        longest: None,
    };
    /// The same for whoever holds a place that others wait for. An attempt that is given up may still take effect.
    pub(crate) const PLACE: Self = Self {
        again: Duration::from_millis(300),
        longest: Some(Duration::from_secs(5)),
    };
    /// For a person, who would rather hear that it is busy than wait for ever. An attempt that began in time has time to say
    /// what the trouble is.
    pub(crate) const PERSON: Self = Self {
        again: Duration::from_secs(3),
        longest: Some(Duration::from_secs(5)),
    };

    /// How long the next attempt may take, when so much time has gone by.
    fn left(self, gone: Duration) -> Deadline {
        let left = self.longest.map(|longest| longest.saturating_sub(gone));
        left.map_or(Deadline::None, Deadline::Within)
    }
}

/// Why an instance gave no answer.
#[derive(Clone, Debug)]
pub(crate) enum AskError {
    Refused(SagaRefusal),
    Failed(DispatchError),
}

impl<S: Saga> Executor<S> {
    /// Gives an instance an input, again and again while the machinery is only busy and patience lasts, once there is room
    /// for what it may decide. What it decides is handed on by its commit.
    pub(crate) async fn tell(
        &self,
        patience: Patience,
        instance: &InstanceId,
        command: SagaCommand,
        options: SendOptions,
    ) -> Result<(), AskError> {
        self.backlog().below(self.options.deliveries_max).await;
        self.ask_or_quarantine_for(patience, instance, command, options)
            .await
    }

    /// The same for a person, without waiting for room.
    pub(crate) async fn tell_for_a_person(
        &self,
        instance: &InstanceId,
        command: SagaCommand,
    ) -> Result<(), AskError> {
        let options = SendOptions::default();
        self.ask_for(Patience::PERSON, instance, command, options)
            .await
    }

    /// Whether what was decided before must be carried out before an input is given.
    pub(crate) fn is_full(&self) -> bool {
        self.backlog().is_full(self.options.deliveries_max)
    }

    /// Looks at an instance, again and again while the machinery is only busy and patience lasts.
    pub(crate) async fn look<T: Send + 'static>(
        &self,
        patience: Patience,
        instance: &InstanceId,
        look: impl FnOnce(&InstanceState<S::State>, StreamVersion) -> T + Clone + Send + 'static,
    ) -> Result<T, AskError> {
        let clock = self.runtime.clock();
        let begun = clock.monotonic();
        let mut attempt = 0;
        loop {
            let (tenant, id) = (&instance.tenant, &instance.id);
            let gone = clock.monotonic().saturating_duration_since(begun);
            let looking = self.handle.query(tenant, id, look.clone());
            let found = match patience.left(gone) {
                Deadline::Within(left) => tokio::select! {
                    biased;
                    found = looking => found,
                    () = clock.sleep(left) => Err(DispatchError::DeadlineExceeded {
                        deadline: clock.now(),
                        outcome: Outcome::NotApplied,
                    }),
                },
                _ => looking.await,
            };
            match found {
                Ok(found) => return Ok(found.state),
                Err(error) if self.is_asked_again(&error, patience, begun) => {
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
        self.ask_or_quarantine_for(Patience::ENDLESS, instance, command, options)
            .await
    }

    /// The same while patience lasts.
    pub(crate) async fn ask_or_quarantine_for(
        &self,
        patience: Patience,
        instance: &InstanceId,
        command: SagaCommand,
        options: SendOptions,
    ) -> Result<(), AskError> {
        let asked = self.ask_for(patience, instance, command.clone(), options.clone());
        let error = match asked.await {
            Err(AskError::Failed(error)) if is_refused_for_good(&error) => error,
            answered => return answered,
        };
        tracing::error!(saga = S::NAME, id = %instance.id, %error, "what was decided is refused for good");
        let quarantine = quarantine_at(command, &error);
        self.ask_for(patience, instance, quarantine, options).await
    }

    pub(crate) async fn ask(
        &self,
        instance: &InstanceId,
        command: SagaCommand,
        options: SendOptions,
    ) -> Result<(), AskError> {
        self.ask_for(Patience::ENDLESS, instance, command, options)
            .await
    }

    /// The same while patience lasts. What is given up is not decided any more, unless it was by then.
    pub(crate) async fn ask_for(
        &self,
        patience: Patience,
        instance: &InstanceId,
        command: SagaCommand,
        options: SendOptions,
    ) -> Result<(), AskError> {
        // Its dates are taken from the clock as it is now, and not as it was before somebody set it.
        self.runtime.timers().compare_clocks();
        let clock = self.runtime.clock();
        let begun = clock.monotonic();
        let mut attempt = 0_u32;
        loop {
            let gone = clock.monotonic().saturating_duration_since(begun);
            let options = SendOptions {
                deadline: patience.left(gone),
                ..options.clone()
            };
            let (tenant, id) = (&instance.tenant, &instance.id);
            match self.handle.send(tenant, id, command.clone(), options).await {
                Ok(_) => return Ok(()),
                Err(SendError::Rejected(refusal)) => return Err(AskError::Refused(refusal)),
                Err(SendError::Failed(error)) if self.is_asked_again(&error, patience, begun) => {
                    attempt = attempt.saturating_add(1);
                    self.pause(attempt).await;
                }
                Err(SendError::Failed(error)) => return Err(AskError::Failed(error)),
            }
        }
    }

    /// Whether patience lasts for another attempt after an error, since so long ago.
    pub(super) fn is_asked_again(
        &self,
        error: &DispatchError,
        patience: Patience,
        begun: Instant,
    ) -> bool {
        let now = self.runtime.clock().monotonic();
        error.is_retryable() && now.saturating_duration_since(begun) < patience.again
    }

    /// Waits before an attempt is made again, counted from 1.
    pub(crate) async fn pause(&self, attempt: u32) {
        let wait = QUICK_WAITS.wait(attempt, self.runtime.jitter());
        self.runtime.clock().sleep(wait).await;
    }
}

/// Has an instance quarantined at an input that is refused for good.
pub(crate) fn quarantine_at(input: SagaCommand, error: &DispatchError) -> SagaCommand {
    let input = Box::new(input);
    let reason = match error {
        DispatchError::Panicked { message, .. } => format!("its code panicked: {message}"),
        error => format!("the log does not take what it decided: {error}"),
    };
    SagaCommand::QuarantineAt { input, reason }.with_short_reason()
}

/// Whether the same would be refused again, however often it is asked: the log does not take it, or the application's code
/// panics over it.
pub(crate) fn is_refused_for_good(error: &DispatchError) -> bool {
    matches!(
        error,
        DispatchError::Codec(_)
            | DispatchError::Panicked { .. }
            | DispatchError::Append(AppendError::TooLarge { .. } | AppendError::Invalid { .. })
    )
}
