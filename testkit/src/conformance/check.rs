//! One check, and how all of them are run.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use chronicler_store::{Store, panic_text};
use futures::FutureExt;
use futures::future::LocalBoxFuture;

use super::failure::{Failures, Violation};
use super::list::checks;
use super::subject::Subject;

/// How long one check may take. Each takes milliseconds: beyond this an answer is missing for good.
const CHECK_TIME_MAX: Duration = Duration::from_secs(60);

/// One promise of a store, checked.
#[derive(Clone, Copy, Debug)]
pub struct Check {
    pub(super) name: &'static str,
    pub(super) body: for<'a> fn(&'a Subject) -> LocalBoxFuture<'a, Result<(), Violation>>,
}

impl Check {
    /// Its name, which begins with the id of the behaviour where it has one.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Runs it on a store that is empty and healthy, and closes the store.
    ///
    /// Needs a tokio runtime with timers, whose time is not paused. A commit of more than 32 MiB must be beyond the
    /// store's limit, and 1,000 small ones must fit its queue.
    ///
    /// # Errors
    /// The [`Violation`]; a panic of the store and an answer that does not come are also ones.
    pub async fn run(&self, store: Arc<dyn Store>) -> Result<(), Violation> {
        let subject = Subject::new(Arc::clone(&store));
        let body = AssertUnwindSafe((self.body)(&subject)).catch_unwind();
        let result = match tokio::time::timeout(CHECK_TIME_MAX, body).await {
            Ok(Ok(result)) => result,
            Ok(Err(panic)) => Err(Violation::new(format_args!(
                "the store panicked: {}",
                panic_text(panic.as_ref())
            ))),
            Err(_) => Err(Violation::new(format_args!(
                "no answer came within {CHECK_TIME_MAX:?}"
            ))),
        };
        match tokio::time::timeout(CHECK_TIME_MAX, store.close()).await {
            Ok(()) => result,
            Err(_) => result.and(Err(Violation::new("close does not end"))),
        }
    }
}

/// Runs every check, each on a store of its own that `make` gives: empty and healthy. What the single checks ask
/// for is in the docs of [`Check::run`].
///
/// # Errors
/// [`Failures`]: all that failed, not only the first.
pub async fn run<S: Store>(make: impl AsyncFn() -> S) -> Result<(), Failures> {
    let mut failed = Vec::new();
    for check in checks() {
        let store = Arc::new(make().await);
        if let Err(violation) = check.run(store).await {
            failed.push((check.name, violation));
        }
    }
    if failed.is_empty() {
        Ok(())
    } else {
        let checks = checks().len();
        Err(Failures { failed, checks })
    }
}
