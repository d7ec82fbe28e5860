//! Steps while somebody sets the wall clock, in both directions.

use std::sync::Arc;
use std::time::Duration;

use chronicler_runtime::Clock;
use chronicler_sagas::step_keys;
use chronicler_sagas::steps::{
    Attempt, Compensable, Define, Definition, Nil, StepSaga, to_service,
};
use chronicler_sagas::{SagaStatus, SagaVerb, Tries};
use tokio::sync::Notify;

use crate::journey::act;
use crate::world::{World, settle};

step_keys! {
    Pay = "pay" -> usize;
    Approved = "approved" -> String;
    Ship = "ship" -> u64;
}

/// Pays outside, with ten seconds between two attempts, and waits ten minutes for an approval.
struct Lease;

impl StepSaga for Lease {
    const NAME: &'static str = "lease";
    begins_where_its_part_does!();

    fn define(steps: Define<Self, Nil, Compensable>) -> Definition<Self> {
        steps
            .external::<Pay, String>(
                Pay,
                |_| to_service("service", &"pay"),
                |_, _: Attempt<usize>| to_service("service", &"refund"),
            )
            .tries(Tries::times(3).between(Duration::from_secs(10), Duration::from_secs(10)))
            .within(Duration::from_secs(3_600))
            .wait_for(Approved)
            .within(Duration::from_secs(600))
            .pivot(Ship, |_| act("shop", "ship"))
            .build()
    }
}

const HOUR: Duration = Duration::from_secs(3_600);

type Set = fn(&World<Lease>);

fn set_back(world: &World<Lease>) {
    world.clock.set(world.clock.now().minus(HOUR));
}

fn set_forward(world: &World<Lease>) {
    world.clock.set(world.clock.now().plus(HOUR));
}

async fn waits(world: &World<Lease>) -> bool {
    settle().await;
    matches!(world.status("s").await, SagaStatus::Waiting { .. })
}

#[tokio::test]
async fn t3_a_step_has_its_time_whatever_the_wall_clock_is_set_to() {
    let steps: [(Set, Set); 2] = [(set_back, set_forward), (set_forward, set_back)];
    for (set, set_right) in steps {
        let world = World::<Lease>::new().await;
        world.begin("s").await;
        set(&world);
        world.advance(599).await;
        assert!(waits(&world).await, "its ten minutes are not over");
        world.advance(2).await;
        assert!(!waits(&world).await, "its ten minutes are over");
        // One that was armed after the step, and then the clock is set right again.
        world.begin("t").await;
        set_right(&world);
        world.advance(599).await;
        let status = world.status("t").await;
        assert!(matches!(status, SagaStatus::Waiting { .. }), "{status:?}");
        world.advance(2).await;
        let status = world.status("t").await;
        assert!(matches!(status, SagaStatus::Ended { .. }), "{status:?}");
    }
}

#[tokio::test]
async fn t3_a_step_that_waited_when_the_process_ended_goes_by_its_date() {
    let world = World::<Lease>::new().await;
    world.begin("s").await;
    world
        .clock
        .set(world.clock.now().plus(Duration::from_secs(601)));
    assert!(waits(&world).await, "as long as the process lives");
    let world: World<Lease> = world.restart().await;
    assert!(!waits(&world).await);
}

#[tokio::test]
async fn t2_an_attempt_comes_again_after_its_wait_whatever_the_wall_clock_is_set_to() {
    for set in [set_back, set_forward] {
        let world = World::<Lease>::new().await;
        world.service.0.lock().loses_first = [("pay".to_owned(), 2)].into();
        world.begin("s").await;
        for calls in 1..=2 {
            set(&world);
            // Chance makes a wait shorter by up to half.
            world.advance(4).await;
            assert_eq!(world.service.0.lock().calls.len(), calls);
            world.advance(7).await;
            assert_eq!(world.service.0.lock().calls.len(), calls + 1);
        }
        // A process that begins again after the clock was set back asks the journal for the date of the next attempt,
        // and waits no longer than its terms say.
        assert!(waits(&world).await);
    }
    let world = World::<Lease>::new().await;
    world.service.0.lock().loses_first = [("pay".to_owned(), 1)].into();
    world.begin("s").await;
    set_back(&world);
    let world: World<Lease> = world.restart().await;
    world.advance(11).await;
    assert_eq!(world.service.0.lock().calls.len(), 2);
}

#[tokio::test]
async fn t2_an_attempt_under_way_is_awaited_whatever_the_wall_clock_is_set_to() {
    for set in [set_back, set_forward] {
        let world = World::<Lease>::new().await;
        world.service.0.lock().loses_first = [("pay".to_owned(), 1)].into();
        world.begin("s").await;
        let answer = Arc::new(Notify::new());
        world.service.0.lock().holds = [("pay".to_owned(), Arc::clone(&answer))].into();
        world.advance(11).await;
        assert_eq!(world.service.0.lock().calls.len(), 2);
        set(&world);
        let (key, output) = ("pay".to_owned(), "3".to_owned());
        let skipped = world.operate("s", SagaVerb::Skip { key, output }).await;
        let refused = skipped.unwrap_err();
        assert!(refused.contains("under way"), "{refused}");
        let status = world.status("s").await;
        assert!(matches!(status, SagaStatus::Retrying { .. }), "{status:?}");
        // A pause finds nothing that waits; neither does a compensation after an input of the clock as it is now.
        world.operate("s", SagaVerb::Pause).await.unwrap();
        world.operate("s", SagaVerb::Resume).await.unwrap();
        world.cancel("s").await.unwrap();
        let calls = world.service.0.lock().calls.clone();
        assert!(!calls.contains(&"refund".to_owned()), "{calls:?}");
        world.service.0.lock().holds.clear();
        answer.notify_waiters();
        settle().await;
        let calls = world.service.0.lock().calls.clone();
        assert_eq!(calls.last().map(String::as_str), Some("refund"));
        world.ended("s").await;
    }
}
