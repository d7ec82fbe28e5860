include!("parts/common.rs");

fn define(steps: Define<Order, Nil, Compensable>) -> Definition<Order> {
    steps
        .step(
            Reserve,
            |_| to::<Stock>("all", 1),
            |_, _| to::<Stock>("all", 0),
        )
        .build()
}
