//! What an operator can have done: each verb changes what it says, once, and stands in the journal with who and why.

use chronicler_sagas::step_keys;
use std::pin::pin;
use std::time::Duration;

use chronicler_domain::{Tenant, Timestamp};
use chronicler_sagas::steps::{
    Attempt, Compensable, Define, Definition, Nil, StepSaga, to_service,
};
use chronicler_sagas::{Answer, EffectState, Ending, SagaStatus, SagaVerb, Tries};

use crate::journey::act;
use crate::world::{World, id, settle};

step_keys! {
    Reserve = "reserve" -> u64;
    Pay = "pay" -> usize;
    Approved = "approved" -> String;
    Ship = "ship" -> u64;
}

/// Reserves, pays outside, waits for an approval, ships.
struct Sale;

impl StepSaga for Sale {
    const NAME: &'static str = "sale";
    begins_where_its_part_does!();

    fn define(steps: Define<Self, Nil, Compensable>) -> Definition<Self> {
        steps
            .step(
                Reserve,
                |_| act("stock", "reserve"),
                |_, _| act("stock", "not reserve"),
            )
            .external::<Pay, String>(
                Pay,
                |_| to_service("service", &"pay"),
                |_, attempt| match attempt {
                    Attempt::Done(_) => to_service("service", &"refund"),
                    Attempt::Unknown => to_service("service", &"find and refund"),
                },
            )
            .tries(Tries::times(3).between(Duration::from_secs(10), Duration::from_secs(10)))
            .within(Duration::from_secs(3_600))
            .wait_for(Approved)
            .within(Duration::from_secs(600))
            .pivot(Ship, |seen| {
                act("shop", format!("ship {}", seen.output(Approved)))
            })
            .build()
    }
}

fn signal(payload: &str) -> SagaVerb {
    SagaVerb::Signal {
        name: "approved".to_owned(),
        payload: payload.to_owned(),
    }
}

fn key(key: &str) -> String {
    key.to_owned()
}

/// The entries of the operators, in words.
async fn operated(world: &World<Sale>) -> Vec<String> {
    let history = world.handle().history(&Tenant::default(), &id("s")).await;
    let lines = history.unwrap().into_iter();
    lines
        .filter(|line| line.event_type == "$Operated")
        .map(|line| line.says)
        .collect()
}

#[tokio::test]
async fn m27_paused_nothing_goes_on_and_resumed_everything_that_waited_does() {
    let world = World::<Sale>::new().await;
    world.begin("s").await;
    let paused = world.operate("s", SagaVerb::Pause).await.unwrap();
    assert!(matches!(paused, SagaStatus::Paused { .. }));
    world.operate("s", SagaVerb::Pause).await.unwrap();
    world.operate("s", signal("\"ann\"")).await.unwrap();
    let world: World<Sale> = world.restart().await;
    assert!(matches!(world.status("s").await, SagaStatus::Paused { .. }));
    assert_eq!(world.view("s").await.stalled, 1);
    assert!(!world.words().await.contains(&"ship ann".to_owned()));
    world.operate("s", SagaVerb::Resume).await.unwrap();
    assert_eq!(world.ended("s").await, Ending::Completed);
    assert_eq!(
        operated(&world).await,
        [
            "pause  by ann: a reason",
            "signal approved by ann: a reason",
            "resume  by ann: a reason"
        ]
    );
}

#[tokio::test]
async fn m27_paused_between_two_attempts_the_next_one_waits_and_is_made_when_it_is_resumed() {
    let world = World::<Sale>::new().await;
    world.service.0.lock().loses_first = [(key("pay"), 1)].into();
    world.begin("s").await;
    world.operate("s", SagaVerb::Pause).await.unwrap();
    world.advance(60).await;
    assert_eq!(world.service.0.lock().calls.len(), 1);
    world.operate("s", SagaVerb::Resume).await.unwrap();
    assert_eq!(world.service.0.lock().calls.len(), 2);
    world.operate("s", signal("\"ann\"")).await.unwrap();
    assert_eq!(world.ended("s").await, Ending::Completed);
}

#[tokio::test]
async fn m27_paused_between_two_attempts_a_step_can_be_skipped_however_late() {
    let world = World::<Sale>::new().await;
    world.service.0.lock().loses = vec![key("pay")];
    world.begin("s").await;
    world.operate("s", SagaVerb::Pause).await.unwrap();
    world.advance(600).await;
    let refused = world.operate("s", signal("17")).await.unwrap_err();
    assert!(refused.contains("signal"), "it would be refused: {refused}");
    let skip = SagaVerb::Skip {
        key: key("pay"),
        output: "17".to_owned(),
    };
    world.operate("s", skip).await.unwrap();
    world.operate("s", signal("\"ann\"")).await.unwrap();
    world.operate("s", SagaVerb::Resume).await.unwrap();
    assert_eq!(world.ended("s").await, Ending::Completed);
    assert_eq!(world.service.0.lock().calls, ["pay"]);
}

#[tokio::test]
async fn m76_paused_it_can_be_cancelled_and_everything_is_undone() {
    let world = World::<Sale>::new().await;
    world.service.0.lock().loses_first = [(key("pay"), 1)].into();
    world.begin("s").await;
    world.operate("s", SagaVerb::Pause).await.unwrap();
    world.advance(60).await;
    world.cancel("s").await.unwrap();
    world.advance(60).await;
    assert!(matches!(world.ended("s").await, Ending::Compensated { .. }));
    assert_eq!(world.words().await, ["reserve", "not reserve"]);
}

#[tokio::test]
async fn m27_a_step_is_skipped_with_what_an_operator_supplies_and_is_not_undone() {
    let world = World::<Sale>::new().await;
    world.service.0.lock().loses = vec![key("pay")];
    world.begin("s").await;
    let skip = || SagaVerb::Skip {
        key: key("pay"),
        output: "17".to_owned(),
    };
    // What it is to go on with is no number.
    let wrong = SagaVerb::Skip {
        key: key("pay"),
        output: "\"much\"".to_owned(),
    };
    let refused = world.operate("s", wrong).await.unwrap_err();
    assert!(refused.contains("output"), "{refused}");
    assert!(matches!(
        world.status("s").await,
        SagaStatus::Retrying { .. }
    ));
    world.operate("s", skip()).await.unwrap();
    world.operate("s", skip()).await.unwrap();
    assert!(matches!(
        world.status("s").await,
        SagaStatus::Waiting { .. }
    ));
    world.cancel("s").await.unwrap();
    assert!(matches!(world.ended("s").await, Ending::Compensated { .. }));
    assert_eq!(world.service.0.lock().calls, ["pay"]);
    assert_eq!(operated(&world).await, ["skip pay by ann: a reason"]);
}

#[tokio::test]
async fn m27_what_is_not_taken_is_refused_when_what_it_was_held_against_is_durable() {
    let world = World::<Sale>::new().await;
    world.service.0.lock().loses = vec![key("pay")];
    world.begin("s").await;
    let wrong = SagaVerb::Skip {
        key: key("pay"),
        output: "\"much\"".to_owned(),
    };
    let faults = world.store.faults();
    faults.hold();
    let (paused, refused) = (
        world.operate("s", SagaVerb::Pause),
        world.operate("s", wrong),
    );
    tokio::pin!(paused, refused);
    tokio::select! {
        biased;
        answer = &mut paused => panic!("answered though not durable: {answer:?}"),
        answer = &mut refused => panic!("answered though not durable: {answer:?}"),
        () = settle() => faults.release(),
    }
    let (paused, refused) = tokio::join!(paused, refused);
    assert!(matches!(paused.unwrap(), SagaStatus::Paused { .. }));
    assert!(refused.unwrap_err().contains("cannot take the output"));
    // What is paused does not find out later what it cannot go on with.
    world.operate("s", SagaVerb::Resume).await.unwrap();
    world.advance(60).await;
    assert!(world.service.0.lock().calls.len() > 1, "it is not skipped");
}

#[tokio::test]
async fn m27_a_stuck_undo_is_edited_and_goes_on_with_the_changed_command() {
    let world = World::<Sale>::new().await;
    world.refuse("stock", &["not reserve"]).await;
    world.begin("s").await;
    world.cancel("s").await.unwrap();
    assert!(matches!(
        world.status("s").await,
        SagaStatus::CompensationStuck { .. }
    ));
    let verb = SagaVerb::Edit {
        key: key("reserve"),
        payload: r#"{"Do":"put back by hand"}"#.to_owned(),
    };
    world.operate("s", verb).await.unwrap();
    assert!(matches!(world.ended("s").await, Ending::Compensated { .. }));
    assert_eq!(world.words().await, ["reserve", "put back by hand"]);
}

#[tokio::test]
async fn m49_a_stuck_undo_that_is_given_up_ends_the_saga_as_abandoned_and_says_what_is_left() {
    let world = World::<Sale>::new().await;
    world.refuse("stock", &["not reserve"]).await;
    world.begin("s").await;
    world.cancel("s").await.unwrap();
    let verb = || SagaVerb::Abandon {
        key: key("reserve"),
    };
    world.operate("s", verb()).await.unwrap();
    let Ending::Abandoned { left, .. } = world.ended("s").await else {
        panic!();
    };
    assert_eq!(left, ["reserve"]);
    assert!(world.service.0.lock().calls.contains(&key("refund")));
}

#[tokio::test]
async fn m27_terminated_nothing_is_undone_and_what_waits_is_not_sent() {
    let world = World::<Sale>::new().await;
    world.service.0.lock().loses = vec![key("pay")];
    world.begin("s").await;
    world.operate("s", SagaVerb::Terminate).await.unwrap();
    world.operate("s", SagaVerb::Terminate).await.unwrap();
    let Ending::Terminated { by, reason } = world.ended("s").await else {
        panic!();
    };
    assert_eq!((by.as_str(), reason.as_str()), ("ann", "a reason"));
    world.advance(3_601).await;
    assert_eq!(world.service.0.lock().calls, ["pay"]);
    assert_eq!(world.words().await, ["reserve"]);
    let refused = world.cancel("s").await.unwrap_err();
    assert_eq!(refused, "the saga is over");
    assert!(world.handle().open().await.unwrap().is_empty());
}

#[tokio::test]
async fn m59_m36_a_timer_is_listed_moved_and_cancelled() {
    let world = World::<Sale>::new().await;
    world.begin("s").await;
    let timers = world.view("s").await.timers;
    assert_eq!(timers.len(), 1);
    assert_eq!(timers[0].0, "step:approved");
    let later = timers[0].1.plus(Duration::from_secs(600));
    let moved = |due: Timestamp| SagaVerb::MoveTimer {
        key: key("step:approved"),
        due,
    };
    world.operate("s", moved(later)).await.unwrap();
    world.operate("s", moved(later)).await.unwrap();
    world.advance(900).await;
    assert!(matches!(
        world.status("s").await,
        SagaStatus::Waiting { .. }
    ));
    let cancel = || SagaVerb::CancelTimer {
        key: key("step:approved"),
    };
    world.operate("s", cancel()).await.unwrap();
    let refused = world.operate("s", cancel()).await.unwrap_err();
    assert_eq!(refused, "no timer of this key is armed");
    let refused = world.operate("s", moved(later)).await.unwrap_err();
    assert_eq!(refused, "no timer of this key is armed");
    world.advance(3_600).await;
    let SagaStatus::Waiting { until, .. } = world.status("s").await else {
        panic!();
    };
    assert_eq!(until, None);
    assert_eq!(
        operated(&world).await,
        [
            "move timer step:approved by ann: a reason",
            "cancel timer step:approved by ann: a reason"
        ]
    );
}

#[tokio::test]
async fn m60_a_signal_that_the_step_cannot_take_is_refused_and_changes_nothing() {
    let world = World::<Sale>::new().await;
    world.begin("s").await;
    let refused = world.operate("s", signal("17")).await.unwrap_err();
    assert!(refused.contains("signal"), "{refused}");
    let mut unknown = signal("\"ann\"");
    if let SagaVerb::Signal { name, .. } = &mut unknown {
        *name = key("approval");
    }
    assert!(world.operate("s", unknown).await.is_err());
    assert!(matches!(
        world.status("s").await,
        SagaStatus::Waiting { .. }
    ));
    world.operate("s", signal("\"ann\"")).await.unwrap();
    assert_eq!(world.ended("s").await, Ending::Completed);
}

#[tokio::test]
async fn m77_an_instance_that_ended_is_forked_before_a_step_and_goes_on_from_there() {
    let world = World::<Sale>::new().await;
    world.begin("s").await;
    let fork = |before: &str, other: &str| SagaVerb::Fork {
        before: key(before),
        id: key(other),
    };
    let refused = world.operate("s", fork("pay", "t")).await.unwrap_err();
    assert!(refused.contains("has not ended"), "{refused}");
    world.operate("s", SagaVerb::Terminate).await.unwrap();
    let refused = world.operate("s", fork("dance", "t")).await.unwrap_err();
    assert!(refused.contains("\"dance\""), "{refused}");
    // What was left of its time is left, however late it is forked.
    world.advance(40_000).await;
    world.operate("s", fork("pay", "t")).await.unwrap();
    world.operate("s", fork("pay", "t")).await.unwrap();
    assert!(matches!(
        world.status("t").await,
        SagaStatus::Waiting { .. }
    ));
    let refused = world.operate("s", fork("pay", "other")).await.unwrap_err();
    assert!(refused.contains("forked before"), "{refused}");
    // It has the outcome of what was before, and paid once more, under its own key.
    assert_eq!(world.words().await, ["reserve"]);
    assert_eq!(world.service.0.lock().calls, ["pay", "pay"]);
    assert_eq!(world.service.0.lock().effects().len(), 2);
    assert_eq!(world.view("t").await.effects[0].state, EffectState::Done);
    world.cancel("t").await.unwrap();
    assert!(matches!(world.ended("t").await, Ending::Compensated { .. }));
    assert_eq!(world.words().await, ["reserve", "not reserve"]);
    // What was undone cannot be gone on from.
    let refused = world.operate("t", fork("pay", "u")).await.unwrap_err();
    assert!(refused.contains("undone"), "{refused}");
    // Where another stands already nothing is forked to, and nothing is given away.
    world.begin("v").await;
    world.begin("w").await;
    world.operate("v", SagaVerb::Terminate).await.unwrap();
    let refused = world.operate("v", fork("pay", "w")).await.unwrap_err();
    assert!(refused.contains("started before"), "{refused}");
    world.operate("v", fork("pay", "x")).await.unwrap();
    assert!(matches!(
        world.status("x").await,
        SagaStatus::Waiting { .. }
    ));
}

/// Gives an order, and goes after so many looks at what becomes of it. True if there was an answer by then.
async fn given_up_after(looks: usize, order: impl Future) -> bool {
    let mut order = pin!(order);
    for _ in 0..looks {
        if futures::poll!(&mut order).is_ready() {
            return true;
        }
        tokio::task::yield_now().await;
    }
    false
}

#[tokio::test]
async fn m77_a_fork_is_carried_out_as_a_whole_though_whoever_ordered_it_goes_at_any_moment() {
    let world = World::<Sale>::new().await;
    for looks in 0_usize.. {
        let (one, other) = (format!("s{looks}"), format!("t{looks}"));
        world.begin(&one).await;
        world.operate(&one, SagaVerb::Terminate).await.unwrap();
        let (before, fork) = (key("pay"), other.clone());
        let order = SagaVerb::Fork { before, id: fork }.by("ann", "a reason");
        let (tenant, from) = (Tenant::default(), id(&one));
        let was_answered =
            given_up_after(looks, world.handle().operate(&tenant, &from, order)).await;
        settle().await;
        let history = world.handle().history(&tenant, &from).await.unwrap();
        let is_given_away = history.iter().any(|line| line.event_type == "$ForkedTo");
        let is_begun = world.view(&other).await.version.is_some();
        assert_eq!(is_begun, is_given_away, "gone after {looks} looks");
        assert_eq!(is_begun, looks > 0, "gone after {looks} looks");
        if was_answered {
            return assert!(looks > 1, "answered at once: nobody could go in between");
        }
    }
}

#[tokio::test]
async fn m77_who_did_more_than_a_commit_holds_is_not_given_away_to_one_that_cannot_begin() {
    let world = World::<Sale>::new().await;
    world.begin("s").await;
    world.operate("s", SagaVerb::Pause).await.unwrap();
    // It is journaled as it waits, as what the step gave, and as what is shipped.
    let long = format!("\"{}\"", "x".repeat(5 << 20));
    world.operate("s", signal(&long)).await.unwrap();
    world.operate("s", SagaVerb::Resume).await.unwrap();
    assert_eq!(world.ended("s").await, Ending::Completed);
    let fork = |before: &str, other: &str| SagaVerb::Fork {
        before: key(before),
        id: key(other),
    };
    let refused = world.operate("s", fork("ship", "t")).await.unwrap_err();
    assert!(refused.contains("a fork may begin with"), "{refused}");
    world.operate("s", fork("pay", "t")).await.unwrap();
    assert!(matches!(
        world.status("t").await,
        SagaStatus::Waiting { .. }
    ));
}

#[tokio::test]
async fn m27_the_outcome_of_a_call_is_settled_by_who_found_it_out() {
    let world = World::<Sale>::new().await;
    world.refuse("shop", &["ship ann"]).await;
    world.begin("s").await;
    let settle = SagaVerb::Settle {
        key: key("reserve"),
        outcome: Answer::Done("1".to_owned()),
    };
    let refused = world.operate("s", settle).await.unwrap_err();
    assert!(refused.contains("waits for a person"), "{refused}");
    world.operate("s", signal("\"ann\"")).await.unwrap();
    assert!(matches!(world.ended("s").await, Ending::Compensated { .. }));
}

#[tokio::test]
async fn the_whole_of_an_instance_is_shown_with_what_remains() {
    let world = World::<Sale>::new().await;
    world.begin("s").await;
    let listed = world.sagas.list().await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].status.word(), "waiting");
    assert_eq!(listed[0].on, ["approved"]);
    let shown = world.sagas.show(&listed[0].stream).await.unwrap().unwrap();
    assert_eq!(shown.remaining, ["approved", "ship"]);
    assert!(shown.diagram.unwrap().contains("class s1 done"));
    assert!(
        shown
            .history
            .iter()
            .any(|line| line.says.contains("\"pay\""))
    );
    assert!(shown.history.iter().all(|line| line.cause.is_some()));
}
