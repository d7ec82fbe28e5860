//! Step sagas of the shape that the scripts were written for.

use chronicler_sagas::step_keys;
use chronicler_sagas::steps::{Compensable, Define, Definition, Nil, StepSaga, Steps, To, to};
use chronicler_sagas::{Input, Routes};

use crate::parts::{Part, PartCommand, Willing};
use crate::world::start_where_it_begins;

step_keys! {
    Created = "created" -> ();
    First = "first" -> u64;
    Second = "second" -> u64;
    Decide = "decide" -> u64;
    Look = "look" -> ();
    Sure = "sure" -> ();
    Third = "third" -> ();
    Fourth = "fourth" -> ();
}

fn act(part: &str, what: &str) -> To<Part> {
    to(part, PartCommand::Do(what.to_owned()))
}

fn willing(part: &str, what: &str) -> To<Willing> {
    to(part, what.to_owned())
}

/// A saga that begins with the event of its name and knows nothing more.
macro_rules! saga {
    ($saga:ident, $name:literal, |$steps:ident| $definition:expr) => {
        pub(super) struct $saga;
        impl StepSaga for $saga {
            const NAME: &'static str = $name;
            type Start = ();
            fn routes(on: &mut Routes<Steps<Self>>) {
                start_where_it_begins(on);
            }
            fn begin(_: &Input) -> Option<()> {
                Some(())
            }
            fn define($steps: Define<Self, Nil, Compensable>) -> Definition<Self> {
                $definition
            }
        }
    };
}

saga!(CreateOrder, "ftgo", |steps| steps
    .on_undo(Created, |_| act("order", "RejectOrder"))
    .step_without_undo(First, |_| act("consumer", "ValidateOrderByConsumer"))
    .step(
        Second,
        |_| act("kitchen", "CreateTicket"),
        |_, _| act("kitchen", "CancelCreateTicket"),
    )
    .pivot(Decide, |_| act("accounting", "AuthorizeCard"))
    .then(Third, |_| willing("kitchen", "ConfirmCreateTicket"))
    .then(Fourth, |_| willing("order", "ApproveOrder"))
    .build());

saga!(Conditional, "conditional", |steps| steps
    .step_if(
        First,
        |seen| seen.id() != "unconditionally",
        |_| act("p1", "Do1"),
        |_, _| act("p1", "Undo1"),
    )
    .pivot(Decide, |_| act("p2", "ReserveCredit"))
    .build());

/// What the local step says, by the id of the saga.
fn approve(id: &str) -> Result<(), &'static str> {
    match id {
        "throws" => Err("not approved"),
        "throws_unexpected" => panic!("nobody thought of this"),
        _ => Ok(()),
    }
}

saga!(Local, "local", |steps| steps
    .step(
        First,
        |_| act("p2", "ReserveCredit"),
        |_, _| act("p2", "ReleaseCredit"),
    )
    .check(Look, |seen| approve(seen.id()))
    .pivot_here(Sure)
    .build());

saga!(Notification, "notification", |steps| steps
    .step(
        First,
        |_| act("customer", "ReserveCredit"),
        |_, _| act("customer", "ReleaseCredit"),
    )
    .step(
        Second,
        |_| act("inventory", "ReserveInventory"),
        |_, _| act("inventory", "ReleaseInventory"),
    )
    .check(Look, |seen| approve(seen.id()))
    .pivot_here(Sure)
    .then(Third, |_| willing("fulfillment", "FulfillOrder"))
    .build());
