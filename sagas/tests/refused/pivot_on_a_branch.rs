//! A pivot on one of two branches.

#[path = "parts/shop.rs"]
mod shop;

use shop::*;

fn main() {}

fn define(steps: Define<Order, Nil, Compensable>) -> Definition<Order> {
    steps
        .parallel(
            |left| left.pivot(Confirm, |_| to::<Stock>("all", 1)),
            |right| right,
        )
        .build()
}
