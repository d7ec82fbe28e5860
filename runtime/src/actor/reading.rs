//! Reading a stream for an actor: a standstill ends it, much to read does not, and a standstill keeps nobody else waiting.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use chronicler_store::ReadError;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

/// How long a reader may wait for the store before it gives its permit back and takes it again when something comes. Longer
/// than a quick disk needs for a batch; ten times as many reads that hang as there are permits keep others waiting for ten
/// times this.
const PERMIT_PATIENCE: Duration = Duration::from_millis(15);

/// The right to recover, or to look for commands, now; held while something is being done.
pub(super) struct Permit<'a> {
    permits: &'a Semaphore,
    held: Option<SemaphorePermit<'a>>,
}

impl<'a> Permit<'a> {
    pub(super) async fn take(permits: &'a Semaphore) -> Self {
        let held = permits.acquire().await.ok();
        Self { permits, held }
    }

    /// Waits for something from the store, but not for ever. If it takes long, others have the permit until then.
    pub(super) async fn within<T>(
        &mut self,
        stall: Duration,
        wait: impl Future<Output = T>,
    ) -> Result<T, ReadError> {
        tokio::pin!(wait);
        let patience = PERMIT_PATIENCE.min(stall);
        if let Ok(came) = timeout(patience, &mut wait).await {
            return Ok(came);
        }
        self.held = None;
        let came = timeout(stall.saturating_sub(patience), wait).await;
        let came = came.map_err(|_| stalled(stall))?;
        self.held = self.permits.acquire().await.ok();
        Ok(came)
    }
}

fn stalled(stall: Duration) -> ReadError {
    let reason = format!("nothing could be read for {} s", stall.as_secs_f64());
    ReadError::Io {
        operation: Arc::from("reading the stream"),
        source: Arc::new(io::Error::new(io::ErrorKind::TimedOut, reason)),
    }
}
