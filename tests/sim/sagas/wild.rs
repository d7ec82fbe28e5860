//! Reactive sagas whose decisions are drawn from the seed, the instance, the input, and how many inputs came before.

use std::time::Duration;

use chronicler::prelude::*;
use chronicler::sagas::{Answer, EffectAnswer, Orphan, Tries};
use serde::{Deserialize, Serialize};

use super::desk::Asked;
use super::seed;
use super::shapes::Kid;
use super::thing::{Act, Thing, ThingCommand, ThingEvent, actor, route};
use crate::chance::Chance;

/// Inputs after which an instance comes to an end.
const INPUTS_MAX: u64 = 24;
/// The keys of commands begin with this.
const COMMAND: &str = "do ";
/// A timer whose key is longer than the log takes.
const KEY_TOO_LONG: usize = 1_100;
/// A text that no commit has room for.
const TOO_LONG: usize = 17 << 20;

/// A saga of this number. One of number 0 begins others as its children.
pub(crate) struct Wild<const N: usize>;

const NAMES: [&str; 2] = ["wild", "tame"];

/// What an instance knows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Known {
    /// How many inputs it has taken.
    pub(crate) count: u64,
    turn: Turn,
}

/// Whether it can still be undone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Turn {
    #[default]
    Free,
    Pivoting,
    Pivoted,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum WildEvent {
    /// An input was taken: which, in words.
    Took {
        what: String,
        turn: Turn,
    },
    ContinuedFrom(Known),
}

impl Event for WildEvent {}

/// An input in words.
fn words(input: &Input) -> String {
    let outcome = |outcome: &EffectAnswer| {
        let word = match outcome.answer() {
            Answer::Done(_) => "done",
            Answer::Rejected(_) => "rejected",
            Answer::Unknown(_) => "unknown",
        };
        format!("{} {word}", outcome.key())
    };
    match input {
        Input::Event(_) => match input.event::<Thing>() {
            Some(ThingEvent::Told { number, .. }) => format!("told {number}"),
            other => format!("{other:?}"),
        },
        Input::Answer(of) => outcome(of),
        Input::Timer(key) => format!("timer {key}"),
        Input::Signal(said) => format!("signal {}", said.name()),
        Input::Begin(_) => "begin".to_owned(),
        Input::Cancelled { .. } => "cancelled".to_owned(),
        Input::Compensated { .. } => "compensated".to_owned(),
        _ => "migrate".to_owned(),
    }
}

/// Whether the undo of an act is only said when the act was done.
fn is_undone_by_its_outcome(act: &Act) -> bool {
    act.is_taken_back && act.what.starts_with(COMMAND) && seed::chance(("late", act)).one_in(5)
}

impl<const N: usize> Wild<N> {
    fn act(id: &str, what: &str) -> Act {
        let saga = actor(Self::NAME, id);
        let what = what.to_owned();
        let is_taken_back = !seed::chance(("for good", &saga, &what)).one_in(4);
        Act {
            saga,
            what,
            is_taken_back,
        }
    }

    fn took(&self, what: &str, turn: Turn) -> WildEvent {
        let what = what.to_owned();
        WildEvent::Took { what, turn }
    }

    /// What is decided on an input that says nothing by itself.
    fn anything(
        &self,
        known: &Known,
        chance: &mut Chance,
        next: Next<Self>,
        id: &str,
    ) -> Next<Self> {
        if known.count >= INPUTS_MAX {
            return next.complete();
        }
        let is_free = known.turn == Turn::Free;
        match chance.below(24) {
            0..=6 => self.effects(known, chance, next, id),
            7..=9 => next.timer(
                format!("t{}", chance.below(3)),
                Duration::from_secs(chance.below(900)),
            ),
            10 => next.cancel_timer(format!("t{}", chance.below(3))),
            11 if is_free => next.compensate("it did not go well"),
            12 => self.effects(known, chance, next, id).complete(),
            13 => next.complete(),
            14 => next.fail("it gave up"),
            15 | 16 if known.turn != Turn::Pivoting => {
                let next = self.effects(known, chance, next, id);
                let known = Known {
                    count: known.count + 1,
                    turn: Turn::Free,
                };
                next.continue_as_new(WildEvent::ContinuedFrom(known))
            }
            17 => next.escalate("have a look"),
            18 => next.deescalate(),
            19 | 20 if seed::is_broken("key", (id, known.count)) => {
                next.timer("k".repeat(KEY_TOO_LONG), Duration::from_secs(60))
            }
            21 if seed::is_broken("size", (id, known.count)) => next.escalate("x".repeat(TOO_LONG)),
            _ => next,
        }
    }

    fn effects(
        &self,
        known: &Known,
        chance: &mut Chance,
        next: Next<Self>,
        id: &str,
    ) -> Next<Self> {
        let count = 1 + chance.below(3);
        let draw = |at: u64| self.effect(&format!("{}.{at}", known.count), chance, id);
        let all: Vec<_> = (0..count).map(draw).collect();
        match chance.one_in(3) {
            true => next.together(all),
            false => all.into_iter().fold(next, Next::and),
        }
    }

    fn effect(&self, what: &str, chance: &mut Chance, id: &str) -> Next<Self> {
        let kind = chance.below(10);
        let command = format!("{COMMAND}{what}");
        let what = match kind < 6 {
            true => command.as_str(),
            false => what,
        };
        let act = Self::act(id, what);
        let key = match chance.one_in(6) && !is_undone_by_its_outcome(&act) {
            true => "again".to_owned(),
            false => what.to_owned(),
        };
        let target = act.target();
        let next = Next::stay();
        let next = match kind {
            0..=5 => {
                let next = next.send::<Thing>(key, &target, ThingCommand::Do(act.clone()));
                match act.is_taken_back && !is_undone_by_its_outcome(&act) {
                    true => next.undo::<Thing>(&target, ThingCommand::Undo(act)),
                    false => next,
                }
            }
            6 if N == 0 => next
                .start::<Wild<1>>(key, format!("{id}-{what}"), &())
                .orphan(orphan(chance)),
            7 if N == 0 => next
                .start::<Steps<Kid>>(key, format!("{id}-{what}"), &0_u64)
                .orphan(orphan(chance)),
            _ => {
                let next = next.call(key, "desk", &Asked::Do(act.clone()));
                let next = match act.is_taken_back {
                    true => next.undo_call("desk", &Asked::Undo(act.clone()), &Asked::Unless(act)),
                    false => next,
                };
                match chance.below(4) {
                    0 => next.at_most(1, "line"),
                    1 => next.patience(Duration::from_secs(5)),
                    _ => next,
                }
            }
        };
        match chance.one_in(4) {
            true => next.tries(Tries::times(2)),
            false => next,
        }
    }

    fn outcome(
        &self,
        known: &Known,
        chance: &mut Chance,
        outcome: &EffectAnswer,
        id: &str,
    ) -> Next<Self> {
        let what = words(&Input::Answer(outcome.clone()));
        let took = |turn| Next::stay().record(self.took(&what, turn));
        if outcome.key() == "pivot" && known.turn == Turn::Pivoting {
            return match outcome.is_done() {
                true => took(Turn::Pivoted).pivot(),
                false => took(Turn::Free),
            };
        }
        let next = took(known.turn).and(Self::undo_by_outcome(outcome, id));
        match outcome.is_done() {
            false if known.turn == Turn::Free && chance.one_in(2) => {
                next.compensate("it was not done")
            }
            _ if chance.one_in(2) => self.anything(known, chance, next, id),
            _ => next,
        }
    }

    /// How what was done is taken back, if that was not said before.
    fn undo_by_outcome(outcome: &EffectAnswer, id: &str) -> Next<Self> {
        let act = Self::act(id, outcome.key());
        let is_command = outcome.key().starts_with(COMMAND);
        match outcome.is_done() && is_command && is_undone_by_its_outcome(&act) {
            true => {
                let target = act.target();
                Next::stay().undo_of::<Thing>(outcome.key(), target, ThingCommand::Undo(act))
            }
            false => Next::stay(),
        }
    }
}

fn orphan(chance: &mut Chance) -> Orphan {
    match chance.below(3) {
        0 => Orphan::Cancel,
        1 => Orphan::Wait,
        _ => Orphan::Abandon,
    }
}

impl<const N: usize> Saga for Wild<N> {
    const NAME: &'static str = NAMES[N];

    type State = Known;
    type Event = WildEvent;

    fn routes(on: &mut Routes<Self>) {
        on.event::<Thing>(|event, info| route(Self::NAME, event, info.position.get()));
        if N == 0 {
            on.child::<Wild<1>>();
            on.child::<Steps<Kid>>();
        }
    }

    fn on(&self, known: &Known, input: &Input, ctx: &SagaContext) -> Next<Self> {
        let (id, what) = (ctx.id.as_str(), words(input));
        seed::pass("on", (Self::NAME, id, &what));
        let mut chance = seed::chance(("on", Self::NAME, id, known.count, &what));
        let took = Next::stay().record(self.took(&what, known.turn));
        match input {
            Input::Cancelled { .. } => took,
            Input::Answer(outcome) => self.outcome(known, &mut chance, outcome, id),
            Input::Compensated { .. } => match chance.one_in(3) {
                // Its last words.
                true => {
                    let what = "last";
                    let mut act = Self::act(id, what);
                    act.is_taken_back = false;
                    took.send::<Thing>(what, act.target(), ThingCommand::Do(act))
                }
                false => took,
            },
            _ if known.count == 0 => {
                let after = Duration::from_secs(60 + chance.below(1_800));
                let next = match chance.one_in(4) {
                    true => took,
                    false => took.timer("end", after),
                };
                self.effects(known, &mut chance, next, id)
            }
            Input::Timer(key) if key == "end" => match chance.below(3) {
                0 if known.turn == Turn::Free => took.compensate("it took too long"),
                1 => took.fail("it took too long"),
                _ => took.complete(),
            },
            Input::Event(_) if known.turn == Turn::Free && chance.one_in(12) => {
                let next = Next::stay().record(self.took(&what, Turn::Pivoting));
                let mut act = Self::act(id, &format!("pivot {}", known.count));
                act.is_taken_back = false;
                next.send::<Thing>("pivot", act.target(), ThingCommand::Do(act))
                    .pivoting()
            }
            _ => self.anything(known, &mut chance, took, id),
        }
    }

    fn on_late(&self, known: &Known, outcome: &EffectAnswer, ctx: &SagaContext) -> Next<Self> {
        let what = words(&Input::Answer(outcome.clone()));
        seed::pass("on late", (Self::NAME, &ctx.id, &what));
        Next::stay()
            .record(self.took(&what, known.turn))
            .and(Self::undo_by_outcome(outcome, &ctx.id))
    }

    fn evolve(known: &mut Known, event: &WildEvent) {
        match event {
            WildEvent::Took { what, turn } => {
                known.count += 1;
                known.turn = *turn;
                seed::pass("evolve", (Self::NAME, what, known.count));
            }
            WildEvent::ContinuedFrom(before) => known.clone_from(before),
        }
    }
}
