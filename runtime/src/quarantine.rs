//! Instances set aside after too many failures: journaled, visible and releasable.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use chronicler_domain::StreamId;
use chronicler_store::{Append, AppendError, FactKind, FactQuery, ReadError, SideRecord, Store};
use parking_lot::RwLock;
use tokio::sync::broadcast;

use crate::clock::Clock;
use crate::ids::Ids;

/// Releases that who is told of them may be behind with; who is further behind is told so.
const RELEASES_KEPT: usize = 256;

/// An instance that was set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct QuarantinedInstance {
    /// The instance.
    pub stream: StreamId,
    /// Why.
    pub reason: Arc<str>,
}

/// The quarantine of one runtime.
#[derive(Default)]
pub(crate) struct Quarantine {
    reasons: RwLock<HashMap<StreamId, Arc<str>>>,
    released: Released,
}

/// Tells of instances that were released.
struct Released(broadcast::Sender<StreamId>);

impl Default for Released {
    fn default() -> Self {
        Self(broadcast::channel(RELEASES_KEPT).0)
    }
}

impl Quarantine {
    /// Reads who is quarantined from the log's facts.
    pub(crate) async fn load(&self, store: &dyn Store) -> Result<(), ReadError> {
        let facts = store.facts(FactQuery::all(FactKind::QUARANTINE)).await?;
        let entries = facts.iter().filter_map(|fact| {
            let stream = StreamId::from_key(std::str::from_utf8(&fact.key).ok()?)?;
            Some((stream, String::from_utf8_lossy(&fact.value).into()))
        });
        self.reasons.write().extend(entries);
        Ok(())
    }

    /// Tells of each instance that is released from now on.
    pub(crate) fn releases(&self) -> broadcast::Receiver<StreamId> {
        self.released.0.subscribe()
    }

    pub(crate) fn reason(&self, stream: &StreamId) -> Option<Arc<str>> {
        let reasons = self.reasons.read();
        if reasons.is_empty() {
            None
        } else {
            reasons.get(stream).cloned()
        }
    }

    pub(crate) fn list(&self) -> Vec<QuarantinedInstance> {
        let reasons = self.reasons.read();
        let one = |(stream, reason): (&StreamId, &Arc<str>)| QuarantinedInstance {
            stream: stream.clone(),
            reason: Arc::clone(reason),
        };
        let mut all: Vec<_> = reasons.iter().map(one).collect();
        all.sort_by(|a, b| a.stream.cmp(&b.stream));
        all
    }

    /// Sets an instance aside: in memory at once, in the log as soon as it can be.
    pub(crate) async fn set_aside(
        &self,
        store: &dyn Store,
        clock: &dyn Clock,
        stream: &StreamId,
        reason: &str,
    ) -> Result<(), AppendError> {
        tracing::error!(%stream, reason, "instance quarantined");
        self.reasons.write().insert(stream.clone(), reason.into());
        let value = Some(Bytes::copy_from_slice(reason.as_bytes()));
        write(store, clock, stream, value).await
    }

    /// Lets an instance go.
    pub(crate) async fn release(
        &self,
        store: &dyn Store,
        clock: &dyn Clock,
        stream: &StreamId,
    ) -> Result<bool, AppendError> {
        if self.reason(stream).is_none() {
            return Ok(false);
        }
        write(store, clock, stream, None).await?;
        self.reasons.write().remove(stream);
        // Nobody may be listening.
        drop(self.released.0.send(stream.clone()));
        tracing::info!(%stream, "instance released from quarantine");
        Ok(true)
    }
}

async fn write(
    store: &dyn Store,
    clock: &dyn Clock,
    stream: &StreamId,
    value: Option<Bytes>,
) -> Result<(), AppendError> {
    let now = clock.now();
    let key = Bytes::copy_from_slice(stream.key().as_bytes());
    let record = SideRecord::Fact {
        kind: FactKind::QUARANTINE,
        key,
        value,
    };
    store
        .append(Append::new(Ids::next(now), now).record(record))
        .await
        .map(|_| ())
}
