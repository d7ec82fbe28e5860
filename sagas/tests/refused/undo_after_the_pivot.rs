include!("parts/common.rs");

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
