//! What does not change from one run of a projection's worker to the next.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chronicler_domain::GlobalPosition;
use chronicler_runtime::{Clock, Runtime, Subscription, SubscriptionOptions};
use chronicler_store::{Filter, Store};

use super::control::Control;
use crate::options::ProjectionOptions;
use crate::parked::{Facts, facts_name};
use crate::progress::Progress;

/// A wait that nobody sees the end of: a hundred years.
const NEVER: Duration = Duration::from_secs(100 * 365 * 86_400);

/// What does not change from one run of a projection's worker to the next.
pub(crate) struct Setup {
    pub(crate) runtime: Runtime,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) progress: Arc<Progress>,
    pub(crate) control: Arc<Control>,
    pub(crate) options: ProjectionOptions,
    pub(crate) fingerprint: u64,
    pub(crate) filter: Filter,
}

impl Setup {
    /// The commits after a position that concern this projection.
    pub(super) fn subscribe(&self, after: GlobalPosition) -> Subscription {
        self.runtime.subscribe(SubscriptionOptions {
            after,
            filter: self.filter.clone(),
        })
    }

    /// The facts about what this projection has set aside.
    pub(super) fn facts(&self) -> Facts<'_> {
        Facts {
            store: &*self.store,
            clock: &*self.clock,
            projection: &self.progress.name,
            fingerprint: self.fingerprint,
        }
    }

    /// Under which name a view of this projection has its facts.
    pub(super) fn facts_name(&self, generation: u64) -> Arc<str> {
        facts_name(&self.progress.name, generation)
    }

    /// The time so long after now.
    pub(super) fn after(&self, wait: Duration) -> Instant {
        let now = self.clock.monotonic();
        // One that no clock can show is as good as never.
        now.checked_add(wait).unwrap_or(now + NEVER)
    }

    /// Waits until a time.
    pub(super) async fn sleep_to(&self, at: Instant) {
        let now = self.clock.monotonic();
        if at > now {
            self.clock.sleep(at.saturating_duration_since(now)).await;
        }
    }
}
