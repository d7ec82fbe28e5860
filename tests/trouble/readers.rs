//! Who reads the log in the worker: some slowly, and one durably.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chronicler::App;
use chronicler::domain::GlobalPosition;
use chronicler::runtime::{DurableOptions, SubscribeError, SubscriptionOptions};
use chronicler::store::ReadError;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::words::{Mouth, Said};

/// How long a slow reader looks at a batch.
const DAWDLES: Duration = Duration::from_millis(400);
/// How long whoever may not read waits before it tries again.
const AGAIN: Duration = Duration::from_millis(50);
/// Batches after which a slow reader begins again at the first event.
const BATCHES: usize = 8;
/// The name of the durable subscription.
const FOLLOWER: &str = "follower";
/// Commits between two acknowledgements.
const ACKNOWLEDGE_EVERY: usize = 50;
/// How long the follower waits for another commit before it acknowledges what it has.
const IDLE: Duration = Duration::from_millis(50);

/// Reads the log from its beginning, a batch now and then.
pub(crate) async fn read_slowly(app: App, mouth: Mouth, reads: Arc<AtomicU64>) {
    loop {
        let mut subscription = app.runtime().subscribe(SubscriptionOptions::default());
        let mut through = GlobalPosition::ZERO;
        let mut read = 0;
        while read < BATCHES {
            match subscription.next().await {
                Ok(batch) => {
                    for commit in &batch.commits {
                        if commit.first_position() != through.next() {
                            let first = commit.first_position();
                            return mouth.fault(format!("a slow reader: {first} after {through}"));
                        }
                        through = commit.last_position();
                    }
                    through = through.max(batch.through);
                    reads.fetch_add(1, Ordering::Relaxed);
                    read += 1;
                    sleep(DAWDLES).await;
                }
                Err(ReadError::Closed) => return,
                Err(_) => sleep(AGAIN).await,
            }
        }
    }
}

/// Follows the log durably, and says how far it has come.
pub(crate) async fn follow(app: App, mouth: Mouth, came: watch::Sender<u64>) {
    loop {
        match follow_on(&app, &mouth, &came).await {
            Ok(()) | Err(SubscribeError::Read(ReadError::Closed)) => return,
            Err(_) => sleep(AGAIN).await,
        }
    }
}

async fn follow_on(
    app: &App,
    mouth: &Mouth,
    came: &watch::Sender<u64>,
) -> Result<(), SubscribeError> {
    let options = DurableOptions::default();
    let mut follower = app.runtime().subscribe_durably(FOLLOWER, options).await?;
    let mut through = follower.confirmation().after;
    mouth.say(Said::Resumed {
        after: through.get(),
    });
    let mut since = 0;
    loop {
        let next = tokio::time::timeout(IDLE, follower.next()).await;
        let is_idle = next.is_err();
        if let Ok(delivery) = next {
            let delivery = delivery?;
            for event in delivery.events() {
                if event.position() != through.next() {
                    let at = event.position();
                    mouth.fault(format!("the durable subscription: {at} after {through}"));
                    return Ok(());
                }
                through = event.position();
            }
            since += 1;
        }
        if since >= ACKNOWLEDGE_EVERY || (is_idle && since > 0) {
            since = 0;
            let through = through.get();
            mouth.say_surely(Said::Given { through }).await;
            follower.acknowledge(through.into()).await?;
            mouth.say(Said::Acknowledged { through });
        }
        came.send_replace(through.get());
    }
}
