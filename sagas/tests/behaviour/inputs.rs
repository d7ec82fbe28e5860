//! What instances are told: events that concern none, one or many of them, in any order, and time-outs.

use std::time::Duration;

use bytes::Bytes;
use chronicler_domain::LogSequence;
use chronicler_runtime::{Clock, ManualClock, StopOptions, timer_key};
use chronicler_sagas::{Ending, SagaStatus};
use chronicler_store::memory::CrashPoint;
use chronicler_store::{FactEntry, FactKind, MemoryStore};
use futures::FutureExt;
use futures::future::join_all;

use crate::fixture::{compensated, over, settle};
use crate::shop::{Gateway, Script};
use crate::watch::{HOUR, MINUTE, PARTS, PATIENCE, Watch, World, events};

#[tokio::test]
async fn m11_what_comes_just_before_its_time_out_leaves_the_time_out_nothing_to_do() {
    let world = World::new().await;
    world.ring(&["+a"], "wait").await;
    let faults = world.store.faults();
    faults.hold();
    let meanwhile = async {
        settle().await;
        faults.release();
        // What came is in the log, and the instance has taken it in, but that is not written yet.
        faults.hold();
        settle().await;
        world.advance(MINUTE).await;
        assert_eq!(world.facts(FactKind::TIMER).await.len(), 2);
        faults.release();
    };
    futures::join!(world.touch("bell", &["a"], "came"), meanwhile);
    settle().await;
    assert_eq!(world.heard("a").await, ["wait", "came"]);
    assert!(!world.journal("a").await.contains(&"$Fired".to_owned()));
    assert_eq!(world.facts(FactKind::TIMER).await.len(), 1, "the hour's");
}

#[tokio::test]
async fn m11_an_answer_just_before_its_time_out_counts_and_one_just_after_is_undone() {
    let almost = PATIENCE - Duration::from_millis(1);
    let (store, clock) = (MemoryStore::new(), ManualClock::default());
    let world = World::with(store, clock, Watch::default(), almost).await;
    world.ring(&["+a"], "pay").await;
    world.advance(almost).await;
    world.advance(HOUR).await;
    assert_eq!(
        world.status("a").await,
        SagaStatus::Ended {
            how: Ending::Completed
        }
    );
    assert_eq!(*world.till.asked.lock(), ["pay"]);

    let late = PATIENCE + Duration::from_millis(1);
    let (store, clock) = (MemoryStore::new(), ManualClock::default());
    let world = World::with(store, clock, Watch::default(), late).await;
    world.ring(&["+a"], "pay").await;
    world.advance(PATIENCE).await;
    let status = world.status("a").await;
    assert!(
        matches!(status, SagaStatus::Compensating { .. }),
        "{status:?}"
    );
    world.ring(&["a"], "came").await;
    assert_eq!(
        *world.till.asked.lock(),
        ["pay"],
        "the answer is waited for"
    );
    world.advance(Duration::from_millis(1)).await;
    assert_eq!(*world.till.asked.lock(), ["pay", "give back"]);
    world.advance(late).await;
    world.ring(&["a"], "came").await;
    assert_eq!(world.status("a").await, compensated("time-out"));
    assert_eq!(world.heard("a").await, ["pay", "time-out"]);
    assert_eq!(*world.till.asked.lock(), ["pay", "give back"]);
}

#[tokio::test]
async fn m22_one_event_goes_to_many_instances_once_each_killed_at_every_write() {
    let to = ["a", "b", "+c", "*d", "nobody"];
    let mut died = true;
    let mut points =
        (1..).flat_map(|write| [true, false].map(|durable| CrashPoint { write, durable }));
    let mut writes = 0;
    while died {
        let world = World::new().await;
        world.ring(&["+a", "+b"], "hello").await;
        let point = points.next().unwrap();
        world.store.faults().crash_at(point);
        // Whoever rang does not live to see the answer.
        assert!(world.touch("bell", &to, "news").now_or_never().is_none());
        settle().await;
        died = world.store.faults().is_dead();
        writes = point.write;
        let store = MemoryStore::clone(&world.store.faults().survivor());
        let world = World::of(store, ManualClock::default(), Watch::default()).await;
        if events(&world.store, "bell").await.len() == 1 {
            world.ring(&to, "news").await;
        }
        for name in ["a", "b"] {
            assert_eq!(
                world.heard(name).await,
                ["hello", "news"],
                "{point:?}: {name}"
            );
        }
        for name in ["c", "d"] {
            assert_eq!(world.heard(name).await, ["news"], "{point:?}: {name}");
        }
        assert_eq!(world.status("nobody").await, SagaStatus::Unknown);
    }
    assert!(writes > 5, "only {writes} writes were met");
}

#[tokio::test]
async fn m22_an_instance_that_is_named_twice_takes_the_event_once() {
    let world = World::new().await;
    world.ring(&["+a"], "hello").await;
    world.ring(&["a", "a"], "news").await;
    assert_eq!(world.heard("a").await, ["hello", "news"]);
}

#[tokio::test]
async fn m22_of_two_ways_to_one_instance_the_one_that_fits_is_taken() {
    let world = World::new().await;
    world.ring(&["+a"], "hello").await;
    world.ring(&["+a", "a"], "news").await;
    assert_eq!(world.heard("a").await, ["hello", "news"]);
    world.ring(&["b", "+b"], "news").await;
    assert_eq!(world.heard("b").await, ["news"]);
}

#[tokio::test]
async fn m24_an_event_that_no_route_takes_is_ignored() {
    let world = World::new().await;
    world.ring(&["+a"], "hello").await;
    let before = world.runtime.head();
    world.ring(&[], "nobody is meant").await;
    let head = world.runtime.head();
    assert_eq!(head.position, before.position.next(), "the event alone");
    assert_eq!(head.sequence, before.sequence.next(), "no note of it");
    world.ring(&["a"], "again").await;
    assert_eq!(world.heard("a").await, ["hello", "again"]);
    assert!(world.facts(FactKind::PARKED).await.is_empty());
    assert_eq!(world.facts(FactKind::OPEN_SAGA).await.len(), 1);
}

#[tokio::test]
async fn m39_messages_for_one_instance_at_once_are_all_taken_one_after_the_other() {
    let world = World::new().await;
    let bells: Vec<_> = (0..40).map(|n| format!("bell {n}")).collect();
    // The first of them starts it; which one that is the log decides.
    join_all(bells.iter().map(|bell| world.touch(bell, &["*a"], bell))).await;
    // And a time-out at once with messages.
    world.ring(&["a"], "wait").await;
    world.clock.advance(MINUTE);
    join_all(bells.iter().map(|bell| world.touch(bell, &["a"], bell))).await;
    settle().await;
    let mut heard = world.heard("a").await;
    let time_outs = heard
        .iter()
        .filter(|what| *what == "time-out minute")
        .count();
    assert_eq!(time_outs, 1);
    heard.retain(|what| what != "time-out minute" && what != "wait");
    let rung = events(&world.store, "bell").await;
    let rung = rung.iter().map(|event| event.stream.id());
    let in_order: Vec<_> = rung.filter(|bell| *bell != "bell").collect();
    assert_eq!(in_order.len(), 80);
    assert_eq!(heard, in_order);
    let journal = world.journal("a").await;
    let count = |name: &str| journal.iter().filter(|entry| *entry == name).count();
    assert_eq!((count("$Started"), count("$Consumed")), (1, 81));
}

#[tokio::test]
async fn m40_many_time_outs_at_once_all_fire_once() {
    // More than are handled, and than are read, at a time.
    const MANY: usize = 1_100;
    let world = World::new().await;
    let names: Vec<_> = (0..MANY).map(|n| format!("i{n}")).collect();
    let to: Vec<_> = names.iter().map(|name| format!("+{name}")).collect();
    let to: Vec<_> = to.iter().map(String::as_str).collect();
    world.ring(&to, "wait").await;
    world.advance(MINUTE - Duration::from_millis(1)).await;
    assert_eq!(world.facts(FactKind::TIMER).await.len(), 2 * MANY);
    world.advance(Duration::from_millis(1)).await;
    settle().await;
    assert_eq!(world.facts(FactKind::TIMER).await.len(), MANY);
    for name in &names {
        assert_eq!(
            world.heard(name).await,
            ["wait", "time-out minute"],
            "{name}"
        );
    }
    world.advance(HOUR).await;
    world.advance(HOUR).await;
    assert!(world.facts(FactKind::TIMER).await.is_empty());
    let all = ["wait", "time-out minute", "time-out hour"];
    for name in &names {
        assert_eq!(world.heard(name).await, all, "{name}");
    }
}

#[tokio::test]
async fn m40_time_outs_that_cannot_be_handled_hold_up_no_others() {
    let world = World::new().await;
    world.ring(&["+a"], "wait").await;
    let now = world.clock.now();
    let broken = (0..1_024).map(|n| FactEntry {
        key: timer_key(now, "saga:watch", format!("of no instance {n}").as_bytes()),
        value: Bytes::new(),
        sequence: LogSequence::ZERO,
    });
    world.time_out(broken.collect()).await;
    world.advance(MINUTE).await;
    assert_eq!(world.heard("a").await, ["wait", "time-out minute"]);
}

#[tokio::test]
async fn m41_a_time_out_for_a_finished_saga_is_noted_nowhere_and_changes_nothing() {
    let world = World::new().await;
    world.ring(&["+a", "+b"], "wait").await;
    let armed = world.facts(FactKind::TIMER).await;
    world.ring(&["a"], "complete").await;
    world.ring(&["b"], "compensate").await;
    world.clock.advance(HOUR);
    let before = (
        world.runtime.head().position,
        world.view("a").await.moved_at,
    );
    world.time_out(armed).await;
    let after = (
        world.runtime.head().position,
        world.view("a").await.moved_at,
    );
    assert_eq!(after, before);
    assert_eq!(
        world.status("a").await,
        SagaStatus::Ended {
            how: Ending::Completed
        }
    );
    assert_eq!(world.status("b").await, compensated("told to"));
    assert!(
        world.facts(FactKind::TIMER).await.is_empty(),
        "it comes due once"
    );
    assert!(world.facts(FactKind::OPEN_SAGA).await.is_empty());
}

#[tokio::test]
async fn m43_an_event_for_what_was_never_started_or_is_no_id_stops_nobody() {
    let world = World::new().await;
    world.ring(&["+a", "+b"], "hello").await;
    let long = "x".repeat(256);
    for wrong in ["", " a", "a\n", long.as_str()] {
        world.ring(&["a", "nobody", wrong, "b"], "news").await;
    }
    world.ring(&["a", "b"], "end").await;
    let all = ["hello", "news", "news", "news", "news", "end"];
    for name in ["a", "b"] {
        assert_eq!(world.heard(name).await, all, "{name}");
    }
    assert_eq!(world.status("nobody").await, SagaStatus::Unknown);
    assert!(world.journal("nobody").await.is_empty());
    let parked = world.facts(FactKind::PARKED).await;
    assert_eq!(parked.len(), 4, "each is set aside, with the reason");
    for fact in &parked {
        let reason = String::from_utf8_lossy(&fact.value);
        assert!(reason.contains("is no saga id"), "{reason}");
    }
    // What was set aside stays so, and is not brought again.
    let (store, clock) = world.stop().await;
    let world = World::of(store, clock, Watch::default()).await;
    let again = world.facts(FactKind::PARKED).await;
    assert!(
        again
            .iter()
            .map(|fact| &fact.key)
            .eq(parked.iter().map(|fact| &fact.key))
    );
    assert_eq!(world.heard("a").await, all);
}

/// All orders of so many things.
fn orders(count: usize) -> Vec<Vec<usize>> {
    if count == 0 {
        return vec![Vec::new()];
    }
    let with_one_more = |shorter: Vec<usize>| {
        (0..count).map(move |place| {
            let mut longer = shorter.clone();
            longer.insert(place, count - 1);
            longer
        })
    };
    orders(count - 1)
        .into_iter()
        .flat_map(with_one_more)
        .collect()
}

#[tokio::test]
async fn m54_events_in_any_order_lead_to_the_same_end() {
    let world = World::new().await;
    let orders = orders(PARTS.len());
    assert_eq!(orders.len(), 24);
    for (n, order) in orders.iter().enumerate() {
        let name = format!("*o{n}");
        for (place, part) in order.iter().enumerate() {
            // Every other one of them all at once.
            if n % 2 == 0 {
                settle().await;
                let status = world.status(&name[1..]).await;
                let waits = matches!(status, SagaStatus::Waiting { .. });
                assert!(
                    waits || (place == 0 && status == SagaStatus::Unknown),
                    "{status:?}"
                );
            }
            world.touch("bell", &[&name], PARTS[*part]).await;
        }
        settle().await;
        let name = &name[1..];
        assert_eq!(
            world.status(name).await,
            SagaStatus::Ended {
                how: Ending::Completed
            }
        );
        let mut heard = world.heard(name).await;
        let expected = order.iter().map(|part| PARTS[*part]);
        assert_eq!(heard, expected.collect::<Vec<_>>());
        heard.sort();
        assert_eq!(heard, PARTS);
    }
    let told = events(&world.store, "bell").await;
    let told = told.iter().filter(|event| event.stream.id() == "ready");
    assert_eq!(told.count(), orders.len(), "each said once that it has all");
}

#[tokio::test]
async fn m82_a_timer_that_the_saga_does_not_know_any_more_is_consumed_and_does_no_harm() {
    let world = World::new().await;
    world.ring(&["+a"], "wait").await;
    let (store, clock) = world.stop().await;
    let world = World::of(store, clock, Watch { forgetful: true }).await;
    world.advance(MINUTE).await;
    assert_eq!(world.facts(FactKind::TIMER).await.len(), 1);
    world.advance(HOUR).await;
    assert!(world.facts(FactKind::TIMER).await.is_empty());
    let status = world.status("a").await;
    assert!(matches!(status, SagaStatus::Waiting { .. }), "{status:?}");
    let fired = world.journal("a").await;
    assert_eq!(fired.iter().filter(|entry| *entry == "$Fired").count(), 2);
    world.ring(&["a"], "complete").await;
    assert_eq!(
        world.status("a").await,
        SagaStatus::Ended {
            how: Ending::Completed
        }
    );
    assert_eq!(world.heard("a").await, ["wait", "complete"]);
}

#[tokio::test]
async fn m82_the_timers_of_a_saga_that_is_not_registered_wait_and_hold_up_no_others() {
    let world = World::new().await;
    world.ring(&["+a"], "wait").await;
    let (store, clock) = world.stop().await;
    // Another application over the same log, which knows only the order process.
    let others = over(store, Gateway::default(), clock).await;
    others.gateway.inner.lock().script = Script::NeverAnswers;
    others.advance(120).await;
    others.place("o", 3).await;
    assert_eq!(others.facts(FactKind::TIMER).await, 3);
    others.advance(901).await;
    assert_eq!(others.status("o").await, compensated("time-out"));
    assert_eq!(others.facts(FactKind::TIMER).await, 2, "those of `a`");
    others.sagas.stop().await;
    others.runtime.stop(StopOptions::default()).await;
    let world = World::of(others.store, others.clock, Watch::default()).await;
    assert_eq!(world.heard("a").await, ["wait", "time-out minute"]);
    assert_eq!(world.facts(FactKind::TIMER).await.len(), 1, "the hour's");
}

#[tokio::test]
async fn m83_finishing_clears_the_timers() {
    for how in ["complete", "compensate", "fail"] {
        let world = World::new().await;
        world.ring(&["+a"], "wait").await;
        assert_eq!(world.facts(FactKind::TIMER).await.len(), 2);
        world.ring(&["a"], how).await;
        assert!(world.facts(FactKind::TIMER).await.is_empty(), "{how}");
        let view = world.view("a").await;
        assert!(matches!(view.status, SagaStatus::Ended { .. }), "{how}");
        assert!(view.timers.is_empty(), "{how}");
        let (journal, head) = (world.journal("a").await, world.runtime.head().position);
        world.advance(2 * HOUR).await;
        assert_eq!(world.journal("a").await, journal, "{how}");
        assert_eq!(world.runtime.head().position, head, "{how}");
    }
}

#[tokio::test]
async fn m87_what_was_decided_with_the_end_is_carried_out_killed_at_every_write() {
    let points =
        (1..10).flat_map(|write| [true, false].map(|durable| CrashPoint { write, durable }));
    for point in points {
        let world = World::new().await;
        world.store.faults().crash_at(point);
        let rung = world.touch("bell", &["+a"], "tell and complete");
        assert!(rung.now_or_never().is_none());
        settle().await;
        let store = MemoryStore::clone(&world.store.faults().survivor());
        let world = World::of(store, ManualClock::default(), Watch::default()).await;
        world.advance(HOUR).await;
        let rung = events(&world.store, "bell").await;
        let told = rung.iter().filter(|event| event.stream.id() == "ready");
        let is_over = world.status("a").await
            == SagaStatus::Ended {
                how: Ending::Completed,
            };
        assert_eq!(told.count() == 1, is_over, "{point:?}");
    }
}
