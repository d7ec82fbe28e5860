//! Timers that nobody handles, as of a saga that is not registered any more, cost no look at those of others.

use std::sync::atomic::Ordering;
use std::time::Duration;

use chronicler_domain::Timestamp;
use chronicler_runtime::{Clock, TimerWait, timer_key};
use chronicler_store::EventLog;

use crate::fixture::{Fixture, fixture, settle};
use crate::time::{Alarm, alarm_of, armed, go_on};

const MANY: u32 = 3_000;

fn fired(alarm: &Alarm) -> u32 {
    alarm.fired.load(Ordering::SeqCst)
}

/// Arms a timer, and does not tell of it.
async fn arm(f: &Fixture, owner: &str, name: u32, due: Timestamp) {
    let key = timer_key(due, owner, &name.to_be_bytes());
    let value = Some(TimerWait::Duration.value());
    f.store.append(armed(key, value)).await.unwrap();
}

/// Arms one of a registered owner.
async fn arm_ours(f: &Fixture, name: u32, due: Timestamp) {
    arm(f, "test", name, due).await;
    f.runtime.timers().notice(due);
    settle().await;
}

async fn with_foreign(first: impl Fn(Timestamp) -> Timestamp) -> (Fixture, Timestamp) {
    let f = fixture().await;
    let first = first(f.clock.now());
    for n in 0..MANY {
        let due = first.plus(Duration::from_secs(u64::from(n)));
        arm(&f, "gone", n, due).await;
    }
    (f, first)
}

fn an_hour_ago(now: Timestamp) -> Timestamp {
    now.minus(Duration::from_secs(3_600))
}

/// How many facts are read while fifty timers are armed and fire, one after the other.
async fn read_for_fifty(f: &Fixture, alarm: &Alarm) -> u64 {
    let read = f.store.faults().facts_read();
    for n in 0..50 {
        let before = fired(alarm);
        arm_ours(f, n, f.clock.now().plus(Duration::from_secs(1))).await;
        go_on(f, 2).await;
        assert_eq!(fired(alarm), before + 1);
    }
    f.store.faults().facts_read() - read
}

#[tokio::test]
async fn y3_timers_that_nobody_handles_are_not_read_at_each_look() {
    for first in [an_hour_ago, |now| {
        Timestamp::plus(now, Duration::from_secs(200))
    }] {
        let (f, _) = with_foreign(first).await;
        let alarm = alarm_of(&f, "test");
        let last = f.clock.now().plus(Duration::from_secs(9_000));
        arm_ours(&f, 1_000, last).await;
        go_on(&f, 1).await;
        let read = read_for_fifty(&f, &alarm).await;
        assert!(read < 50 * 64, "{read} facts were read for fifty timers");
        // Time passes over all that lie in the future.
        let before = f.store.faults().facts_read();
        for _ in 0..900 {
            go_on(&f, 10).await;
        }
        assert_eq!(fired(&alarm), 51);
        let read = f.store.faults().facts_read() - before;
        assert!(read < 8 * u64::from(MANY), "{read} facts were read");
    }
}

#[tokio::test]
async fn y3_a_timer_that_is_armed_among_those_that_nobody_handles_fires() {
    let (f, first) = with_foreign(an_hour_ago).await;
    let alarm = alarm_of(&f, "test");
    go_on(&f, 1).await;
    // Before all of them, at the time of one, and between two.
    let times = [
        first.minus(Duration::from_secs(1)),
        first,
        first.plus(Duration::from_millis(7_500)),
    ];
    for (n, due) in (1..).zip(times) {
        arm_ours(&f, n, due).await;
        assert_eq!(fired(&alarm), n);
    }
    // One of which nobody tells is found some minutes later.
    arm(&f, "test", 9, first).await;
    for n in 10..30 {
        go_on(&f, 60).await;
        arm_ours(&f, n, f.clock.now()).await;
    }
    assert_eq!(fired(&alarm), 3 + 1 + 20);
}

#[tokio::test]
async fn y3_who_begins_to_handle_timers_gets_those_that_were_passed_over() {
    let (f, _) = with_foreign(an_hour_ago).await;
    let alarm = alarm_of(&f, "test");
    go_on(&f, 1).await;
    assert!(read_for_fifty(&f, &alarm).await < 50 * 64);
    let back = alarm_of(&f, "gone");
    for _ in 0..100 {
        settle().await;
    }
    assert_eq!(fired(&back), MANY);
}
