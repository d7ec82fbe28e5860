//! Every limit of the saga executor, with its default.

use std::time::Duration;

use chronicler_runtime::RestartPolicy;

use crate::execution::circuit::CircuitOptions;

/// Every limit of the saga executor.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct SagaOptions {
    /// How an effect is tried again that failed for reasons that are not the domain's. Default: 10 attempts,
    /// 100 ms to 30 s apart; then it is parked. A command or a child whose target cannot take it at present (overload, a
    /// disk that cannot be read) is tried again for as long as it takes, and waits for its release if it is in quarantine.
    pub effects: RestartPolicy,
    /// The same for undos. Default: 10 attempts, 100 ms to 30 s apart; then the undo is stuck.
    pub undos: RestartPolicy,
    /// How a call is tried again whose outcome is unknown, under the same key. Default: 12 attempts, 500 ms to 60 s apart,
    /// which are some five minutes: longer than a service that is deployed or fails over is away. Then the saga is told
    /// that it is unknown, unless its own time-out comes first.
    pub unknown_calls: RestartPolicy,
    /// How long one call may take before its outcome is unknown. Default 30 s.
    pub call_timeout: Duration,
    /// When attempts at a service that takes no requests wait instead of being spent.
    pub circuit: CircuitOptions,
    /// Inputs that are delivered at a time. Default 1,024.
    pub deliveries_max: usize,
    /// Decisions whose effects are at work at a time. What only waits is not counted, whatever it waits for: its next
    /// attempt, room at a resource, a service that is away, an instance that gives no answer for two seconds; it takes some
    /// KB of memory. Default 65,536.
    pub under_way_max: usize,
    /// Causes that may lie between a request from outside and an event or a beginning that an instance takes in; beyond
    /// it a cycle is assumed, and the instance is quarantined with that input. Released, it takes it in, and the count
    /// begins again. A round through a saga and an aggregate is two causes, a child of a child one. Default 64.
    pub causation_depth_max: u16,
    /// Whether the sagas are only to be looked at: they take in nothing, carry out nothing and no timer fires.
    /// Default false.
    pub paused: bool,
}

impl Default for SagaOptions {
    fn default() -> Self {
        let tries = |budget, backoff_min, backoff_max| RestartPolicy {
            budget,
            backoff_min: Duration::from_millis(backoff_min),
            backoff_max: Duration::from_millis(backoff_max),
            ..RestartPolicy::default()
        };
        Self {
            effects: tries(10, 100, 30_000),
            undos: tries(10, 100, 30_000),
            unknown_calls: tries(12, 500, 60_000),
            call_timeout: Duration::from_secs(30),
            circuit: CircuitOptions::default(),
            deliveries_max: 1_024,
            under_way_max: 65_536,
            causation_depth_max: 64,
            paused: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use chronicler_runtime::Backoff;

    use super::*;

    #[test]
    fn a_call_of_which_nobody_knows_is_asked_for_some_five_minutes() {
        let policy = SagaOptions::default().unknown_calls;
        let backoff = Backoff::new(policy.backoff_min, policy.backoff_max);
        let waits = (1..policy.budget).map(|attempt| backoff.longest(attempt));
        // Chance makes each wait shorter by up to half.
        assert_eq!(waits.sum::<Duration>(), Duration::from_millis(303_500));
    }
}
