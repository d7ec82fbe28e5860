include!("parts/common.rs");

fn define(steps: Define<Order, Nil, Compensable>) -> Definition<Order> {
    steps
        .pivot(Confirm, |_| to::<Stock>("all", 1))
        .then(Letter, |_| to::<Post>("office", 1))
        .then(Reserve, |_| to::<Stock>("all", 1))
        .build()
}
