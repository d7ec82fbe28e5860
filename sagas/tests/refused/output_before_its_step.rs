//! A step that reads the output of one that has not run.

#[path = "parts/shop.rs"]
mod shop;

use shop::*;

fn main() {}

fn define(steps: Define<Order, Nil, Compensable>) -> Definition<Order> {
    steps
        .step(
            Reserve,
            |seen| to::<Stock>("all", seen.output(Charge).len() as u32),
            |_, _| to::<Stock>("all", 0),
        )
        .pivot(Confirm, |_| to::<Stock>("all", 1))
        .build()
}
