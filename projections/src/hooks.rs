//! What an application may do when a projection starts, stops, restarts or fails.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use chronicler_domain::GlobalPosition;
use chronicler_store::panic_text;

/// Called at the turning points of a projection's life; every method does nothing unless written.
///
/// The methods run on the projection's own worker between two batches, so they must be quick and must not
/// block. A panic in one is said at error level, and changes nothing: the projection goes on as if it had returned.
pub trait ProjectionHooks: Send + Sync + 'static {
    /// The worker begins to fold after `position`, for the first time.
    fn started(&self, name: &str, position: GlobalPosition) {
        let _ = (name, position);
    }

    /// The view has reached the head found at open, and answers from now on.
    fn ready(&self, name: &str, position: GlobalPosition) {
        let _ = (name, position);
    }

    /// The worker begins again after `position`, because its last run ended for `reason`.
    fn restarted(&self, name: &str, position: GlobalPosition, reason: &str) {
        let _ = (name, position, reason);
    }

    /// The projection was stopped, with everything up to `position` published (and written, if it is a table).
    fn stopped(&self, name: &str, position: GlobalPosition) {
        let _ = (name, position);
    }

    /// The projection gave up at `position` for `reason`, by its failure policy.
    fn failed(&self, name: &str, position: GlobalPosition, reason: &str) {
        let _ = (name, position, reason);
    }

    /// A rebuilt view took the place of the old one at `position`.
    fn rebuilt(&self, name: &str, position: GlobalPosition) {
        let _ = (name, position);
    }
}

/// The hooks of an application, whose panics end here.
pub(crate) struct Contained(pub(crate) Arc<dyn ProjectionHooks>);

impl Contained {
    fn call(&self, name: &str, hook: &'static str, call: impl FnOnce(&dyn ProjectionHooks)) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| call(&*self.0))) {
            let panic = panic_text(&*panic);
            tracing::error!(projection = name, hook, panic, "a hook panicked");
        }
    }
}

impl ProjectionHooks for Contained {
    fn started(&self, name: &str, position: GlobalPosition) {
        self.call(name, "started", |hooks| hooks.started(name, position));
    }

    fn ready(&self, name: &str, position: GlobalPosition) {
        self.call(name, "ready", |hooks| hooks.ready(name, position));
    }

    fn restarted(&self, name: &str, position: GlobalPosition, reason: &str) {
        self.call(name, "restarted", |hooks| {
            hooks.restarted(name, position, reason);
        });
    }

    fn stopped(&self, name: &str, position: GlobalPosition) {
        self.call(name, "stopped", |hooks| hooks.stopped(name, position));
    }

    fn failed(&self, name: &str, position: GlobalPosition, reason: &str) {
        self.call(name, "failed", |hooks| hooks.failed(name, position, reason));
    }

    fn rebuilt(&self, name: &str, position: GlobalPosition) {
        self.call(name, "rebuilt", |hooks| hooks.rebuilt(name, position));
    }
}

/// Hooks that do nothing.
pub(crate) struct NoHooks;

impl ProjectionHooks for NoHooks {}

/// The hooks that a projection without any has.
pub(crate) fn none() -> Arc<dyn ProjectionHooks> {
    Arc::new(NoHooks)
}
