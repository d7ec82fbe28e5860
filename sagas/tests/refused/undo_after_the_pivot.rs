//! A step behind the pivot that can be taken back.

#[path = "parts/shop.rs"]
mod shop;

use shop::*;

fn main() {}

fn define(steps: Define<Order, Nil, Compensable>) -> Definition<Order> {
    steps
        .pivot(Confirm, |_| to::<Stock>("all", 1))
        .step(
            Reserve,
            |_| to::<Stock>("all", 1),
            |_, _| to::<Stock>("all", 0),
        )
        .build()
}
