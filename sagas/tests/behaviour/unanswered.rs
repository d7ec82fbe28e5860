//! Instances that give no answer for long, while their attempts and outcomes wait: what others may have until then, and
//! what is asked again when they answer.

use std::time::Duration;

use chronicler_domain::StreamId;
use chronicler_sagas::{Answer, CallResult, OpenStatus, SagaOptions, SagaStatus, SagaVerb};
use chronicler_store::memory::ReadFault;

use crate::fixture::{Fixture, impatient};
use crate::porter::{Counter, Porter, carry, operate, porter, porter_with, touch, unknown, view};

/// Calls that are answered when the test has it so.
fn patient() -> SagaOptions {
    let mut options = impatient();
    options.call_timeout = Duration::from_secs(1 << 20);
    options
}

/// Time passes, for the sagas and for the permits to recover, which are measured on tokio's clock.
async fn pass(f: &Fixture, seconds: u64) {
    tokio::time::advance(Duration::from_secs(seconds)).await;
    f.advance(seconds).await;
}

/// Has so much time pass that no instance is in memory any more.
async fn passivate(f: &Fixture) {
    for _ in 0..99 {
        pass(f, 10).await;
    }
    assert_eq!(f.sagas.saga::<Porter>().unwrap().awake(), 0);
}

fn break_reads(f: &Fixture, name: &str, fault: Option<ReadFault>) {
    let stream = StreamId::of("saga:porter", name).unwrap();
    f.store.faults().fail_reads_of(&stream, fault);
}

async fn done(counter: &Counter) {
    counter.answers(CallResult::done(&())).await;
}

#[tokio::test(start_paused = true)]
async fn m27_what_waits_for_room_once_more_is_asked_once_more() {
    for verb in [None, Some(SagaVerb::Terminate), Some(SagaVerb::Pause)] {
        let (f, counter) = porter_with(patient()).await;
        for name in ["room-a", "room-b", "room-c"] {
            touch(&f, name).await;
        }
        passivate(&f).await;
        break_reads(&f, "room-b", Some(ReadFault::Io));
        // There is room for `room-b`, and its instance gives no answer: `room-c` has it.
        done(&counter).await;
        for _ in 0..5 {
            pass(&f, 1).await;
        }
        assert_eq!(counter.calls().len(), 2);
        break_reads(&f, "room-b", None);
        for _ in 0..10 {
            pass(&f, 10).await;
        }
        if let Some(verb) = verb.clone() {
            operate(&f, "room-b", verb).await.unwrap();
        }
        done(&counter).await;
        for _ in 0..5 {
            pass(&f, 1).await;
        }
        let is_made = counter.calls().len() == 3;
        assert_eq!(is_made, verb.is_none(), "{verb:?}");
        if verb == Some(SagaVerb::Pause) {
            operate(&f, "room-b", SagaVerb::Resume).await.unwrap();
        }
        if verb != Some(SagaVerb::Terminate) {
            done(&counter).await;
            assert_eq!(view(&f, "room-b").await.state.0, ["begun", "done carry"]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn z6_outcomes_that_wait_for_an_instance_that_cannot_be_recovered_keep_no_place() {
    let mut options = patient();
    options.under_way_max = 1;
    let (f, counter) = porter_with(options).await;
    touch(&f, "pair-a").await;
    passivate(&f).await;
    break_reads(&f, "pair-a", Some(ReadFault::Io));
    touch(&f, "call-b").await;
    assert_eq!(counter.calls().len(), 2, "the one place is taken");
    // The second comes while the first is being taken in.
    done(&counter).await;
    done(&counter).await;
    for _ in 0..5 {
        pass(&f, 1).await;
    }
    assert_eq!(counter.calls().len(), 3);
    break_reads(&f, "pair-a", None);
    for _ in 0..10 {
        pass(&f, 10).await;
    }
    let heard = view(&f, "pair-a").await.state.0;
    assert_eq!(heard, ["begun", "done carry", "done sign"]);
}

#[tokio::test]
async fn m27_a_retry_during_a_pause_has_no_attempt_skipped_that_is_under_way() {
    let (f, counter) = porter().await;
    touch(&f, "call-a").await;
    for failed in 0..2 {
        if failed > 0 {
            counter.answers(unknown()).await;
            f.advance(10).await;
        }
        assert_eq!(counter.calls().len(), failed + 1);
        operate(&f, "call-a", SagaVerb::Pause).await.unwrap();
        operate(&f, "call-a", SagaVerb::RetryNow).await.unwrap();
        let skip = SagaVerb::Skip {
            key: carry(),
            output: "null".to_owned(),
        };
        let settle = SagaVerb::Settle {
            key: carry(),
            outcome: Answer::Rejected("null".to_owned()),
        };
        for verb in [skip, settle] {
            operate(&f, "call-a", verb).await.unwrap_err();
        }
        operate(&f, "call-a", SagaVerb::Resume).await.unwrap();
    }
    done(&counter).await;
    assert_eq!(view(&f, "call-a").await.state.0, ["begun", "done carry"]);
    assert_eq!(counter.calls().len(), 2);
}

#[tokio::test]
async fn m61_an_outcome_that_the_log_does_not_take_is_shown_and_waits_for_a_person() {
    let long = "x".repeat(17 << 20);
    for result in [CallResult::done(&long), CallResult::rejected(&long)] {
        let (f, counter) = porter().await;
        touch(&f, "pair-a").await;
        counter.answers(result).await;
        let told = view(&f, "pair-a").await;
        let SagaStatus::Parked { key, reason } = &told.status else {
            panic!("{:?}", told.status)
        };
        assert_eq!(*key, carry());
        assert!(reason.contains("cannot be taken in"), "{reason}");
        assert_eq!(told.state.0, ["begun"]);
        let open = f.sagas.saga::<Porter>().unwrap().open().await.unwrap();
        let listed: Vec<_> = open.iter().map(|open| (open.id(), open.status)).collect();
        assert_eq!(listed, [("pair-a", OpenStatus::Parked)]);
        let settle = SagaVerb::Settle {
            key: carry(),
            outcome: Answer::Done("null".to_owned()),
        };
        operate(&f, "pair-a", settle).await.unwrap();
        done(&counter).await;
        let heard = view(&f, "pair-a").await.state.0;
        assert_eq!(heard, ["begun", "done carry", "done sign"]);
    }
}
