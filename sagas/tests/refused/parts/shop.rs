//! What the programs share: a stock that says no, a post that does not, and the keys of steps.

use chronicler_domain::{Aggregate, Context, Decided, Decision, Event, Never};
pub use chronicler_sagas::steps::*;
use chronicler_sagas::{Input, Routes};
use serde::{Deserialize, Serialize};

#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Stock;
#[derive(Serialize, Deserialize)]
pub struct Moved;
#[derive(Clone, Debug, Serialize, Deserialize, thiserror::Error)]
#[error("out of stock")]
pub struct OutOfStock;
impl Event for Moved {}
impl Aggregate for Stock {
    const CATEGORY: &'static str = "stock";
    type Command = u32;
    type Event = Moved;
    type Reply = u64;
    type Rejection = OutOfStock;
    fn decide(&self, _: u32, _: &Context) -> Decided<Self> {
        Ok(Decision::event(Moved).reply(1))
    }
    fn evolve(&mut self, _: &Moved) {}
}

#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Post;
impl Aggregate for Post {
    const CATEGORY: &'static str = "post";
    type Command = u32;
    type Event = Moved;
    type Reply = ();
    type Rejection = Never;
    fn decide(&self, _: u32, _: &Context) -> Decided<Self> {
        Ok(Moved.into())
    }
    fn evolve(&mut self, _: &Moved) {}
}

#[derive(Clone, Copy)]
pub struct Reserve;
impl StepKey for Reserve {
    const ID: &'static str = "reserve";
    type Output = u64;
}
#[derive(Clone, Copy)]
pub struct Charge;
impl StepKey for Charge {
    const ID: &'static str = "charge";
    type Output = String;
}
#[derive(Clone, Copy)]
pub struct Confirm;
impl StepKey for Confirm {
    const ID: &'static str = "confirm";
    type Output = u64;
}
#[derive(Clone, Copy)]
pub struct Letter;
impl StepKey for Letter {
    const ID: &'static str = "letter";
    type Output = ();
}

pub struct Order;
impl StepSaga for Order {
    const NAME: &'static str = "order";
    type Start = ();
    fn routes(_: &mut Routes<Steps<Self>>) {}
    fn begin(_: &Input) -> Option<()> {
        Some(())
    }
    fn define(steps: Define<Self, Nil, Compensable>) -> Definition<Self> {
        crate::define(steps)
    }
}
