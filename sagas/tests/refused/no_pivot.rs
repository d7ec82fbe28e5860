//! A saga without a point of no return.

#[path = "parts/shop.rs"]
mod shop;

use shop::*;

fn main() {}

fn define(steps: Define<Order, Nil, Compensable>) -> Definition<Order> {
    steps
        .step(
            Reserve,
            |_| to::<Stock>("all", 1),
            |_, _| to::<Stock>("all", 0),
        )
        .build()
}
