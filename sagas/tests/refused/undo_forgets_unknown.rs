include!("parts/common.rs");

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
