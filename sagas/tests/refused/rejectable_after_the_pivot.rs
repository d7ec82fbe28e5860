//! A command behind the pivot that can be rejected.

#[path = "parts/shop.rs"]
mod shop;

use shop::*;

fn main() {}

fn define(steps: Define<Order, Nil, Compensable>) -> Definition<Order> {
    steps
        .pivot(Confirm, |_| to::<Stock>("all", 1))
        .then(Letter, |_| to::<Post>("office", 1))
        .then(Reserve, |_| to::<Stock>("all", 1))
        .build()
}
