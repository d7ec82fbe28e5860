//! An undo that does not think of an unknown outcome.

#[path = "parts/shop.rs"]
mod shop;

use shop::*;

fn main() {}

fn define(steps: Define<Order, Nil, Compensable>) -> Definition<Order> {
    steps
        .external::<Charge, String>(
            Charge,
            |_| to_service("gateway", &"charge"),
            |_, attempt| match attempt {
                Attempt::Done(receipt) => to_service("gateway", receipt),
            },
        )
        .pivot(Confirm, |_| to::<Stock>("all", 1))
        .build()
}
