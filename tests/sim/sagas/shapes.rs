//! Sagas of steps: fixed shapes, of which each instance goes its own way.

use std::time::Duration;

use chronicler::prelude::*;
use chronicler::sagas::steps::{OlderDefinition, Perhaps, Ran, Sent};
use chronicler::sagas::{Orphan, Tries};

use super::desk::Asked;
use super::seed;
use super::thing::{Act, Refused, Thing, ThingCommand, ThingEvent, Willing, actor, route};

step_keys! {
    First = "first" -> u64;
    Paid = "paid" -> u64;
    Turns = "turns" -> Vec<u64>;
    Nod = "nod" -> u64;
    Sealed = "sealed" -> u64;
    Extra = "extra" -> u64;
    Posted = "sent" -> ();
    Words = "words" -> ();
    Many = "many" -> Vec<u64>;
    Calls = "calls" -> Vec<u64>;
    Aside = "aside" -> u64;
    Kids = "kids" -> ();
    Here = "here" -> ();
    Cards = "cards" -> Vec<()>;
    Small = "small" -> u64;
    Asked1 = "asked" -> u64;
}

/// What a step does, named by its instance, its step and the alternative.
fn act<S: StepSaga, L: StepList>(seen: &Seen<'_, S, L>, what: &str) -> Act {
    Act {
        saga: actor(S::NAME, seen.id()),
        what: format!("{what}.{}", seen.tried()),
        is_taken_back: true,
    }
}

fn does<S: StepSaga, L: StepList>(seen: &Seen<'_, S, L>, what: &str) -> To<Thing> {
    let act = act(seen, what);
    seed::pass("step", &act);
    to(act.target(), ThingCommand::Do(act))
}

fn undoes<S: StepSaga, L: StepList>(seen: &Seen<'_, S, L>, what: &str) -> To<Thing> {
    let act = act(seen, what);
    seed::pass("undo", &act);
    to(act.target(), ThingCommand::Undo(act))
}

fn calls<S: StepSaga, L: StepList>(seen: &Seen<'_, S, L>, what: &str) -> ToService {
    let act = act(seen, what);
    seed::pass("call", &act);
    to_service("desk", &Asked::Do(act))
}

fn calls_back<S: StepSaga, L: StepList>(
    seen: &Seen<'_, S, L>,
    what: &str,
    attempt: Attempt<'_, u64>,
) -> ToService {
    let act = act(seen, what);
    let asked = match attempt {
        Attempt::Done(_) => Asked::Undo(act),
        Attempt::Unknown => Asked::Unless(act),
    };
    to_service("desk", &asked)
}

/// What is done for good.
fn last<A: Aggregate<Command = Act>, S: StepSaga, L: StepList>(
    seen: &Seen<'_, S, L>,
    what: &str,
) -> To<A> {
    let act = Act {
        is_taken_back: false,
        ..act(seen, what)
    };
    to(act.target(), act)
}

fn seals<S: StepSaga, L: StepList>(seen: &Seen<'_, S, L>, what: &str) -> To<Thing> {
    let act = Act {
        is_taken_back: false,
        ..act(seen, what)
    };
    to(act.target(), ThingCommand::Do(act))
}

/// How many there are in a list of an instance.
fn count<S: StepSaga, L: StepList>(seen: &Seen<'_, S, L>, of: &str, at_most: u64) -> u64 {
    seed::chance((of, actor(S::NAME, seen.id()))).below(at_most + 1)
}

fn holds<S: StepSaga, L: StepList>(seen: &Seen<'_, S, L>, what: &str) -> bool {
    seed::chance((what, actor(S::NAME, seen.id()))).one_in(2)
}

fn several<S: StepSaga, L: StepList>(seen: &Seen<'_, S, L>, of: &str) -> Vec<To<Thing>> {
    (0..count(seen, of, 4))
        .map(|at| does(seen, &format!("{of} {at}")))
        .collect()
}

fn begins(event: &Input) -> Option<u64> {
    match event.event::<Thing>() {
        Some(ThingEvent::Told { number, .. }) => Some(*number),
        _ => None,
    }
}

/// What it is told on the way: to stop, or what it `waits` for.
fn heard(event: &Input, waits: bool) -> Heard {
    let Some(number) = begins(event) else {
        return Heard::Nothing;
    };
    match seed::chance(("heard", number)).below(5) {
        0 => Heard::cancel("told so"),
        1..=3 if waits => Heard::signal(Nod, &number),
        _ => Heard::Nothing,
    }
}

/// One step after the other, with alternatives, a call that is looked after, and a wait.
pub(crate) struct Errand;

impl StepSaga for Errand {
    const NAME: &'static str = "errand";
    /// The number that it was told.
    type Start = u64;

    fn routes(on: &mut Routes<Steps<Self>>) {
        on.event::<Thing>(|event, info| route(Self::NAME, event, info.position.get()));
    }

    fn begin(event: &Input) -> Option<u64> {
        begins(event)
    }

    fn heard(event: &Input, _: &u64) -> Heard {
        heard(event, true)
    }

    fn define(steps: Define<Self, Nil, Compensable>) -> Definition<Self> {
        match seed::is_renewed() {
            true => second(steps),
            false => first(steps),
        }
    }

    fn older() -> Vec<OlderDefinition<Self>> {
        match seed::is_renewed() {
            true => vec![first],
            false => Vec::new(),
        }
    }
}

fn first(steps: Define<Errand, Nil, Compensable>) -> Definition<Errand> {
    nodded(until_turns(steps))
}

/// With one more step, which an instance that is migrated while it waits still takes.
fn second(steps: Define<Errand, Nil, Compensable>) -> Definition<Errand> {
    nodded(until_turns(steps).step(
        Extra,
        |seen| does(seen, "extra"),
        |seen, _| undoes(seen, "extra"),
    ))
}

/// The steps up to the turns.
type UntilTurns = Ran<Turns, Perhaps<Paid, Ran<First, Nil>>>;

fn until_turns(
    steps: Define<Errand, Nil, Compensable>,
) -> Define<Errand, UntilTurns, Compensable, Sent<Refused>> {
    steps
        .step(
            First,
            |seen| does(seen, "first"),
            |seen, _| undoes(seen, "first"),
        )
        .or_else(|seen, _| seen.tried() < 2)
        .external::<Paid, String>(
            Paid,
            |seen| calls(seen, "paid"),
            |seen, attempt| calls_back(seen, "paid", attempt),
        )
        .tries(Tries::times(2))
        .patience(Duration::from_secs(10))
        .within(Duration::from_secs(300))
        .probe(|seen| to_service("desk", &Asked::Look(act(seen, "paid"))))
        .only_if(|seen| holds(seen, "paid"))
        .each_in_turn(
            Turns,
            |seen| several(seen, "turns"),
            |seen, at, _| undoes(seen, &format!("turns {at}")),
        )
}

fn nodded<L: StepList, T>(steps: Define<Errand, L, Compensable, T>) -> Definition<Errand> {
    steps
        .wait_for(Nod)
        .within(Duration::from_secs(1_200))
        .only_if(|seen| holds(seen, "nod"))
        .pivot(Sealed, |seen| seals(seen, "sealed"))
        .then(Posted, |seen| last::<Willing, _, _>(seen, "sent"))
        .if_undone(Words, |seen, _| last::<Willing, _, _>(seen, "words"))
        .build()
}

/// Branches, lists, and a child.
pub(crate) struct Tour;

impl StepSaga for Tour {
    const NAME: &'static str = "tour";
    type Start = u64;

    fn routes(on: &mut Routes<Steps<Self>>) {
        on.event::<Thing>(|event, info| route(Self::NAME, event, info.position.get()));
        on.child::<Steps<Kid>>();
    }

    fn begin(event: &Input) -> Option<u64> {
        begins(event)
    }

    fn heard(event: &Input, _: &u64) -> Heard {
        heard(event, false)
    }

    fn define(steps: Define<Self, Nil, Compensable>) -> Definition<Self> {
        let orphan = match seed::chance("orphan").below(3) {
            0 => Orphan::Cancel,
            1 => Orphan::Wait,
            _ => Orphan::Abandon,
        };
        steps
            .parallel(
                |left| {
                    left.each(
                        Many,
                        |seen| several(seen, "many"),
                        |seen, at, _| undoes(seen, &format!("many {at}")),
                    )
                    .or_else(|seen, _| seen.tried() < 1)
                },
                |right| {
                    right
                        .external_each::<Calls, u64, String>(
                            Calls,
                            |seen| {
                                (0..count(seen, "calls", 3))
                                    .map(|at| calls(seen, &format!("calls {at}")))
                                    .collect()
                            },
                            |seen, at, attempt| calls_back(seen, &format!("calls {at}"), attempt),
                        )
                        .at_most(2, "line")
                        .within(Duration::from_secs(600))
                        .step(
                            Aside,
                            |seen| does(seen, "aside"),
                            |seen, _| undoes(seen, "aside"),
                        )
                        .only_if(|seen| holds(seen, "aside"))
                },
            )
            .child(
                Kids,
                |seen| to_child::<Kid>(format!("{}-kid", seen.id()), seen.start()),
                |seen| seals(seen, "sent back"),
            )
            .orphan(orphan)
            .only_if(|seen| holds(seen, "kid"))
            .pivot_here(Here)
            .then_each(Cards, |seen| {
                (0..count(seen, "cards", 3))
                    .map(|at| last::<Willing, _, _>(seen, &format!("card {at}")))
                    .collect()
            })
            .build()
    }
}

/// What others begin as their child.
pub(crate) struct Kid;

impl StepSaga for Kid {
    const NAME: &'static str = "kid";
    type Start = u64;

    fn routes(_: &mut Routes<Steps<Self>>) {}

    fn begin(_: &Input) -> Option<u64> {
        None
    }

    fn define(steps: Define<Self, Nil, Compensable>) -> Definition<Self> {
        steps
            .external::<Asked1, String>(
                Asked1,
                |seen| calls(seen, "asked"),
                |seen, attempt| calls_back(seen, "asked", attempt),
            )
            // Of what takes longer than it may, the service is asked, and it may still be answered.
            .patience(Duration::from_secs(300))
            .within(Duration::from_secs(60))
            .probe(|seen| to_service("desk", &Asked::Look(act(seen, "asked"))))
            .step(
                Small,
                |seen| does(seen, "small"),
                |seen, _| undoes(seen, "small"),
            )
            .pivot(Sealed, |seen| seals(seen, "sealed"))
            .build()
    }
}
