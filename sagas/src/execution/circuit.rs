//! A circuit for each service: when it takes no requests, attempts wait instead of being spent.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chronicler_runtime::Backoff;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// When a circuit opens, and how it closes again. Everything that waited then goes on at once: `at_most` says how much of
/// it at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CircuitOptions {
    /// Attempts in a row, of any saga, that a service did not take ([`CallResult::Unavailable`](crate::CallResult)); then
    /// its circuit opens. It also opens when one effect has spent its tries on such attempts. Default 10.
    pub opens_after: u32,
    /// The wait before one attempt is let through, as a trial; it doubles with each that fails. Default 1 s.
    pub trial_after: Duration,
    /// The longest such wait. Default 60 s.
    pub trial_longest: Duration,
}

/// The longest wait for a trial that can be asked for: what is longer is cut to this.
const TRIAL_WAIT_MAX: Duration = Duration::from_secs(365 * 24 * 3_600);

impl Default for CircuitOptions {
    fn default() -> Self {
        Self {
            opens_after: 10,
            trial_after: Duration::from_secs(1),
            trial_longest: Duration::from_secs(60),
        }
    }
}

/// The circuits of all services, by name.
pub(crate) struct Circuits {
    options: CircuitOptions,
    all: Mutex<HashMap<String, Arc<Circuit>>>,
}

/// The circuit of one service.
pub(crate) struct Circuit {
    options: CircuitOptions,
    state: Mutex<State>,
    /// Tells those that wait of a change, in the order in which they came.
    changed: Notify,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Attempts go through; so many in a row were not taken.
    Closed { untaken: u32 },
    /// Attempts wait; so many trials failed, the next may go then.
    Open { trials: u32, trial_at: Instant },
    /// One attempt is under way as a trial.
    Trial { trials: u32, since: Instant },
}

/// What an attempt may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pass {
    Go,
    /// It goes as the trial: whatever becomes of it has to be said.
    Trial,
    /// It waits, at least until then.
    ///
    /// `None`: until something about the circuit changes.
    Wait(Option<Instant>),
}

impl Circuits {
    pub(crate) fn new(options: CircuitOptions) -> Self {
        Self {
            options,
            all: Mutex::default(),
        }
    }

    pub(crate) fn of(&self, service: &str) -> Arc<Circuit> {
        let mut all = self.all.lock();
        if let Some(circuit) = all.get(service) {
            return Arc::clone(circuit);
        }
        let circuit = Arc::new(Circuit {
            options: self.options,
            state: Mutex::new(State::Closed { untaken: 0 }),
            changed: Notify::new(),
        });
        all.insert(service.to_owned(), Arc::clone(&circuit));
        circuit
    }
}

impl Circuit {
    /// Changes the state, and tells those that wait if it is another then.
    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state.lock();
        let before = *state;
        change(&mut state);
        let is_another = *state != before;
        drop(state);
        if is_another {
            self.changed.notify_waiters();
        }
    }

    /// Asks to go through. Who is let go as the trial has to say how it went, or drop what [`trial`](Self::trial)
    /// gives.
    pub(crate) fn pass(&self, now: Instant) -> Pass {
        let mut pass = Pass::Go;
        self.change(|state| match *state {
            State::Closed { .. } => {}
            State::Open { trials, trial_at } if trial_at <= now => {
                pass = Pass::Trial;
                *state = State::Trial { trials, since: now };
            }
            State::Open { trial_at, .. } => pass = Pass::Wait(Some(trial_at)),
            State::Trial { .. } => pass = Pass::Wait(None),
        });
        pass
    }

    /// An attempt ended: did the service take it? Whether others wait now.
    pub(crate) fn ended(&self, taken: bool, now: Instant) -> bool {
        self.change(|state| {
            *state = match (taken, *state) {
                (true, _) => State::Closed { untaken: 0 },
                (false, State::Closed { untaken }) if untaken + 1 < self.options.opens_after => {
                    State::Closed {
                        untaken: untaken + 1,
                    }
                }
                (false, State::Closed { .. }) => self.opened(0, now),
                (false, State::Trial { trials, .. }) => self.opened(trials + 1, now),
                // One that began before the circuit opened.
                (false, open @ State::Open { .. }) => open,
            };
        });
        !matches!(*self.state.lock(), State::Closed { .. })
    }

    /// Attempts wait from now on: one of them could not be made again.
    pub(crate) fn trip(&self, now: Instant) {
        self.change(|state| {
            if matches!(state, State::Closed { .. }) {
                *state = self.opened(0, now);
            }
        });
    }

    fn opened(&self, trials: u32, now: Instant) -> State {
        // No chance in it: a circuit lets one trial through, and nobody else waits for the same date.
        let waits = Backoff::new(self.options.trial_after, self.options.trial_longest);
        let wait = waits.longest(trials.saturating_add(1)).min(TRIAL_WAIT_MAX);
        State::Open {
            trials,
            trial_at: now + wait,
        }
    }

    /// Ends when something about it has changed since this was called.
    pub(crate) fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }

    /// Watches over a trial: if it ends without a word another may go at once.
    pub(crate) fn trial(self: &Arc<Self>) -> Trial {
        Trial(Arc::clone(self))
    }
}

/// A trial that is under way.
pub(crate) struct Trial(Arc<Circuit>);

impl Drop for Trial {
    fn drop(&mut self) {
        self.0.change(|state| {
            if let State::Trial { trials, since } = *state {
                let trial_at = since;
                *state = State::Open { trials, trial_at };
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use futures::stream::FuturesUnordered;
    use futures::{FutureExt, StreamExt};

    use super::*;

    /// Instants so many seconds after some first one.
    fn seconds() -> impl Fn(u64) -> Instant {
        let begun = Instant::now();
        move |seconds| begun + Duration::from_secs(seconds)
    }

    #[test]
    fn it_opens_after_several_in_a_row_that_were_not_taken_and_lets_one_through_at_a_time() {
        let at = seconds();
        let circuits = Circuits::new(CircuitOptions::default());
        let circuit = circuits.of("bank");
        for _ in 0..9 {
            circuit.ended(false, at(0));
        }
        circuit.ended(true, at(0));
        for _ in 0..9 {
            circuit.ended(false, at(0));
            assert_eq!(circuit.pass(at(0)), Pass::Go);
        }
        circuit.ended(false, at(0));
        assert_eq!(circuit.pass(at(0)), Pass::Wait(Some(at(1))));
        assert_eq!(circuits.of("post").pass(at(0)), Pass::Go);
        assert_eq!(circuit.pass(at(1)), Pass::Trial);
        assert_eq!(circuit.pass(at(1)), Pass::Wait(None));
        circuit.ended(false, at(1));
        assert_eq!(circuit.pass(at(2)), Pass::Wait(Some(at(3))));
        assert_eq!(circuit.pass(at(3)), Pass::Trial);
        circuit.ended(true, at(3));
        assert_eq!(circuit.pass(at(3)), Pass::Go);
    }

    #[test]
    fn after_a_probe_that_is_dropped_another_may_go() {
        let at = seconds();
        let circuit = Circuits::new(CircuitOptions::default()).of("bank");
        for _ in 0..10 {
            circuit.ended(false, at(0));
        }
        assert_eq!(circuit.pass(at(1)), Pass::Trial);
        drop(circuit.trial());
        assert_eq!(circuit.pass(at(1)), Pass::Trial);
    }

    #[test]
    fn v2_attempts_that_wait_go_on_in_the_order_in_which_they_came() {
        let at = seconds();
        let circuit = Circuits::new(CircuitOptions::default()).of("bank");
        circuit.trip(at(0));
        let wait = |number| {
            let changed = circuit.changed();
            async move {
                changed.await;
                number
            }
        };
        let mut waiting: FuturesUnordered<_> = (0..20).map(wait).collect();
        assert_eq!(waiting.next().now_or_never(), None);
        circuit.ended(true, at(1));
        let gone_on = waiting.collect::<Vec<_>>().now_or_never();
        assert_eq!(gone_on, Some((0..20).collect()));
    }
}
