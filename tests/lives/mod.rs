//! Lives of an example: time goes by in them, they are killed at every write, and an operator steps into its sagas.

mod operator;

use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use chronicler_testkit::ManualClock;

pub(crate) use operator::{Operated, REQUESTED, operated_at_every_write};

/// Waits for something while time goes by: what has died fails only after its attempts.
pub(crate) async fn in_time<T>(clock: &ManualClock, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    loop {
        for _ in 0..100 {
            if let Poll::Ready(done) = futures::poll!(&mut work) {
                return done;
            }
            tokio::task::yield_now().await;
        }
        clock.advance(Duration::from_millis(500));
    }
}

/// Until nothing moves any more: of the dead nobody says that they have settled.
pub(crate) async fn a_while() {
    turns(400).await;
}

async fn turns(count: u32) {
    for _ in 0..count {
        tokio::task::yield_now().await;
    }
}
