//! Who waits for instances to end.

use std::collections::HashMap;

use chronicler_domain::StreamId;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::instance::status::Ending;

/// The waits for the ends of one saga type, by stream. The commit that ends an instance tells them, in the order in which
/// they came, so that no wait reads the log.
#[derive(Default)]
pub(crate) struct Endings(Mutex<HashMap<String, Vec<oneshot::Sender<Ending>>>>);

/// One wait. It is told of an end that becomes durable after it began.
pub(crate) struct EndingWait<'a> {
    endings: &'a Endings,
    key: String,
    told: oneshot::Receiver<Ending>,
}

impl Endings {
    /// Begins to wait. Whoever waits looks at the instance afterwards: it may have ended before.
    pub(crate) fn wait(&self, stream: &StreamId) -> EndingWait<'_> {
        let key = stream.key().to_owned();
        let (tell, told) = oneshot::channel();
        self.0.lock().entry(key.clone()).or_default().push(tell);
        EndingWait {
            endings: self,
            key,
            told,
        }
    }

    /// Tells all that wait for this instance. Called on the log's own thread: it does not block.
    pub(crate) fn tell(&self, stream: &StreamId, ending: &Ending) {
        let waits = self.0.lock().remove(stream.key());
        for tell in waits.into_iter().flatten() {
            // Who gave up in this moment needs no answer.
            drop(tell.send(ending.clone()));
        }
    }
}

impl EndingWait<'_> {
    /// Waits until the instance ends; for ever if it does not.
    ///
    /// # Cancel safety
    /// Nothing changes when the wait is dropped.
    pub(crate) async fn ending(&mut self) -> Ending {
        match (&mut self.told).await {
            Ok(ending) => ending,
            // A sender is dropped unused only after its wait is over.
            Err(_) => std::future::pending().await,
        }
    }
}

impl Drop for EndingWait<'_> {
    fn drop(&mut self) {
        self.told.close();
        let mut all = self.endings.0.lock();
        if let Some(waits) = all.get_mut(&self.key) {
            waits.retain(|tell| !tell.is_closed());
            if waits.is_empty() {
                all.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use chronicler_domain::StreamId;
    use futures::FutureExt;

    use super::Endings;
    use crate::instance::status::Ending;

    #[tokio::test]
    async fn all_who_wait_are_told_and_who_gives_up_leaves_nothing() {
        let endings = Endings::default();
        let stream = |id: &str| StreamId::of("saga", id).unwrap();
        let (one, other) = (stream("one"), stream("other"));
        let (mut first, mut second) = (endings.wait(&one), endings.wait(&one));
        let mut third = endings.wait(&other);
        assert!(first.ending().now_or_never().is_none());
        endings.tell(&one, &Ending::Completed);
        assert_eq!(first.ending().await, Ending::Completed);
        // Waited for again under the same key: those who were told take nothing with them.
        let mut again = endings.wait(&one);
        drop(first);
        endings.tell(&one, &Ending::Completed);
        assert_eq!(again.ending().await, Ending::Completed);
        assert_eq!(second.ending().await, Ending::Completed);
        assert!(third.ending().now_or_never().is_none());
        drop(third);
        assert!(endings.0.lock().is_empty());
    }
}
