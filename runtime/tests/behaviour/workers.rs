//! R4: a supervised worker is started again for as long as it takes, and says what troubles it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use chronicler_runtime::{RestartPolicy, StopOptions, WorkerError, WorkerSpec, WorkerStatus};
use futures::FutureExt;

use crate::fixture::{fixture, settle};

/// More than any budget that was ever a default.
const FAILURES: u32 = 40;

#[tokio::test]
async fn r4_a_worker_is_started_again_until_its_trouble_has_passed() {
    let f = fixture().await;
    let lives = Arc::new(AtomicU32::new(0));
    let lived = Arc::clone(&lives);
    let begun = f.runtime.clock().now();
    let worker = f
        .runtime
        .workers()
        .spawn(WorkerSpec::new("feed"), move |context| {
            let life = lived.fetch_add(1, Ordering::Relaxed) + 1;
            async move {
                match life {
                    life if life > FAILURES => context.stopping().cancelled().await,
                    life if life.is_multiple_of(2) => panic!("the database is away"),
                    _ => return Err(WorkerError("the database is away".to_owned())),
                }
                Ok(())
            }
            .boxed()
        });
    let mut seen = 0;
    while lives.load(Ordering::Relaxed) <= FAILURES {
        settle().await;
        if let Some(trouble) = worker.info().trouble {
            assert!(trouble.failures >= seen && trouble.reason.contains("away"));
            assert_eq!(trouble.since, begun);
            seen = trouble.failures;
        }
        // The longest wait: never longer than this.
        f.clock.advance(RestartPolicy::default().backoff_max);
    }
    settle().await;
    assert_eq!(seen, FAILURES);
    assert_eq!(worker.status(), WorkerStatus::Running);
    let listed = f.runtime.workers().list();
    let listed = listed.iter().find(|info| info.name == "feed").unwrap();
    assert_eq!(listed.trouble.as_ref().unwrap().failures, FAILURES);
    f.clock
        .advance(RestartPolicy::default().within + Duration::from_secs(1));
    assert_eq!(
        worker.info().trouble,
        None,
        "it has been well for long enough"
    );
    worker.stop().await;
    assert_eq!(worker.status(), WorkerStatus::Stopped);
}

#[tokio::test]
async fn r4_a_worker_that_was_given_a_budget_is_given_up_and_still_listed() {
    let f = fixture().await;
    let spec = WorkerSpec {
        restart: RestartPolicy {
            budget: 2,
            ..RestartPolicy::default()
        },
        ..WorkerSpec::new("once")
    };
    let worker = f.runtime.workers().spawn(spec, |_| {
        async { Err(WorkerError("no".to_owned())) }.boxed()
    });
    for _ in 0..3 {
        settle().await;
        f.clock.advance(Duration::from_secs(1));
    }
    let failed = worker.ended().await;
    assert_eq!(
        failed,
        WorkerStatus::Failed {
            reason: "no".to_owned()
        }
    );
    let listed = f.runtime.workers().list();
    let listed = listed.iter().find(|info| info.name == "once").unwrap();
    assert_eq!(listed.status, failed);
    assert_eq!(listed.trouble.as_ref().unwrap().failures, 3);
}

#[tokio::test]
async fn r4_a_worker_that_hangs_takes_no_time_from_the_others_when_all_are_stopped() {
    let f = fixture().await;
    let ended = Arc::new(AtomicU32::new(0));
    let spawn = |name: &str, hangs: bool| {
        let ended = Arc::clone(&ended);
        let workers = f.runtime.workers();
        workers.spawn(WorkerSpec::new(name), move |context| {
            let ended = Arc::clone(&ended);
            async move {
                if hangs {
                    std::future::pending::<()>().await;
                }
                context.stopping().cancelled().await;
                ended.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            .boxed()
        })
    };
    // The last that is started is the first that is waited for.
    let hangs = [false, false, true, false, true];
    for (number, hangs) in hangs.into_iter().enumerate() {
        spawn(&format!("worker {number}"), hangs);
    }
    let stopping = f.runtime.stop(StopOptions::default());
    let turning = async {
        while ended.load(Ordering::Relaxed) < 3 {
            settle().await;
        }
        // Each of the others has ended, and no time has passed.
        loop {
            settle().await;
            f.clock.advance(Duration::from_secs(1));
        }
    };
    let report = tokio::select! {
        report = stopping => report,
        () = turning => return,
    };
    assert_eq!(report.workers_abandoned, 2);
    assert_eq!(ended.load(Ordering::Relaxed), 3);
}
