include!("parts/common.rs");

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
