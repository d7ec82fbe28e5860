//! Orders of many lines: a command for each of them, at once, in turn, or past the pivot.

use chronicler::prelude::*;
use serde::{Deserialize, Serialize};

use crate::shop::{Count, Counter};

/// A desk takes orders. Each event is one order, with its number of lines.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(crate) struct Desk;

/// An order.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Ordered {
    pub(crate) lines: u64,
    /// When everything is done it is refused, and undone.
    pub(crate) is_refused: bool,
}

impl Event for Ordered {}

impl Aggregate for Desk {
    const CATEGORY: &'static str = "desk";
    type Command = Ordered;
    type Event = Ordered;
    type Reply = ();
    type Rejection = Never;

    fn decide(&self, order: Ordered, _: &Context) -> Decided<Self> {
        Ok(order.into())
    }

    fn evolve(&mut self, _: &Ordered) {}
}

chronicler::sagas::step_keys! {
    Lines = "lines" -> Vec<u64>;
    Checked = "checked" -> ();
    Sure = "sure" -> ();
    Later = "later" -> Vec<u64>;
}

fn line(id: &str, line: u64, by: i64) -> To<Counter> {
    to(format!("{id}-{line}"), Count(by))
}

macro_rules! of_lines {
    ($saga:ident, $name:literal, $define:expr) => {
        pub(crate) struct $saga;

        impl StepSaga for $saga {
            const NAME: &'static str = $name;
            type Start = Ordered;

            fn routes(on: &mut Routes<Steps<Self>>) {
                on.event::<Desk>(|_, info| Route::start(&info.id));
            }

            fn begin(event: &Input) -> Option<Ordered> {
                event.event::<Desk>().cloned()
            }

            fn define(steps: Define<Self, Nil, Compensable>) -> Definition<Self> {
                $define(steps)
            }
        }
    };
}

of_lines!(AtOnce, "at-once", |steps: Define<Self, _, _>| steps
    .each(
        Lines,
        |seen| (0..seen.start().lines)
            .map(|at| line(seen.id(), at, 1))
            .collect(),
        |seen, at, _| line(seen.id(), at as u64, -1),
    )
    .check(Checked, |seen| match seen.start().is_refused {
        true => Err("refused"),
        false => Ok(()),
    })
    .pivot_here(Sure)
    .build());

of_lines!(InTurn, "in-turn", |steps: Define<Self, _, _>| steps
    .each_in_turn(
        Lines,
        |seen| (0..seen.start().lines)
            .map(|at| line(seen.id(), at, 1))
            .collect(),
        |seen, at, _| line(seen.id(), at as u64, -1),
    )
    .check(Checked, |seen| match seen.start().is_refused {
        true => Err("refused"),
        false => Ok(()),
    })
    .pivot_here(Sure)
    .build());

of_lines!(Afterwards, "afterwards", |steps: Define<Self, _, _>| steps
    .pivot_here(Sure)
    .then_each(Later, |seen| (0..seen.start().lines)
        .map(|at| line(seen.id(), at, 1))
        .collect())
    .build());
