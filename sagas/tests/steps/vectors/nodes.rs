//! Steno: two nodes, each with an action and an undo that may be called again and again.

use chronicler_sagas::step_keys;
use std::time::Duration;

use chronicler_sagas::steps::{Compensable, Define, Definition, Nil, StepSaga, Steps, to_service};
use chronicler_sagas::{Ending, Input, Routes, SagaStatus};
use serde_json::Value;

use crate::world::{World, start_where_it_begins};

step_keys! {
    N1 = "n1" -> usize;
    N2 = "n2" -> usize;
    Sure = "sure" -> ();
}

struct Nodes;

impl StepSaga for Nodes {
    const NAME: &'static str = "nodes";
    type Start = ();

    fn routes(on: &mut Routes<Steps<Self>>) {
        start_where_it_begins(on);
    }

    fn begin(_: &Input) -> Option<()> {
        Some(())
    }

    fn define(steps: Define<Self, Nil, Compensable>) -> Definition<Self> {
        steps
            .external::<N1, String>(
                N1,
                |_| to_service("service", &"do_n1"),
                |_, _| to_service("service", &"undo_n1"),
            )
            .within(Duration::from_secs(600))
            .external::<N2, String>(
                N2,
                |_| to_service("service", &"do_n2"),
                |_, _| to_service("service", &"undo_n2"),
            )
            .within(Duration::from_secs(600))
            .pivot_here(Sure)
            .build()
    }
}

/// `repeat` are a node, and how often its action and its undo are called: each call but the last loses its reply.
/// `fail_node` is refused, and a refused action counts as not done.
pub(super) async fn hold(name: &str, case: &Value) {
    let world = World::<Nodes>::new().await;
    let inject = &case["inject"];
    let node = |index: u64| format!("n{}", index + 1);
    if let Some(repeat) = inject["repeat"].as_array() {
        let number = |at: usize| repeat[at].as_u64().unwrap();
        let mut service = world.service.0.lock();
        for (what, times) in [("do", number(1)), ("undo", number(2))] {
            let what = format!("{what}_{}", node(number(0)));
            service
                .loses_first
                .insert(what, u32::try_from(times).unwrap() - 1);
        }
    }
    let refused = inject["fail_node"]
        .as_u64()
        .map(|index| format!("do_{}", node(index)));
    world.service.0.lock().refuses = refused.iter().cloned().collect();
    world.begin("saga").await;
    for _ in 0..20 {
        world.advance(2).await;
    }
    let status = world.status("saga").await;
    match refused {
        None => assert_eq!(
            status,
            SagaStatus::Ended {
                how: Ending::Completed
            },
            "{name}"
        ),
        Some(_) => assert!(
            matches!(
                status,
                SagaStatus::Ended {
                    how: Ending::Compensated { .. }
                }
            ),
            "{name}: {status:?}"
        ),
    }
    let service = world.service.0.lock();
    for (what, count) in case["counts"].as_object().unwrap() {
        let is_refused = service.refuses.contains(what);
        let calls = service.calls.iter().filter(|call| *call == what).count();
        let counted = if is_refused { 0 } else { calls };
        assert_eq!(Some(counted as u64), count.as_u64(), "{name}: {what}");
        // However often it is called: under one key, and so it takes effect once.
        let effects = service.effects();
        let effects = effects.iter().filter(|effect| *effect == what).count();
        assert_eq!(effects, usize::from(counted > 0), "{name}: {what}");
    }
}
