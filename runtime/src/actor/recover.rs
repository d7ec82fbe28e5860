//! Recovering an instance: snapshot, then the commits after it. Within a permit, behind a barrier if need be.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use chronicler_domain::StreamVersion;
use chronicler_store::codec::{self, CodecId};
use chronicler_store::{Snapshot, StreamQuery};
use futures::StreamExt;
use tokio::sync::oneshot;
use tracing::Instrument;

use super::decide::panic_message;
use super::snapshot::SnapshotBody;
use super::turn::{Live, Turn};
use crate::dedup::{Memory, Remembered};
use crate::entity::Entity;
use crate::error::DispatchError;
use crate::in_flight::Settled;
use crate::instance::Instance;
use crate::snapshots::SnapshotFacts;
use crate::telemetry;

impl<E: Entity> Turn<E> {
    /// Makes sure that the instance is recovered.
    ///
    /// # Errors
    /// When it is quarantined, or cannot be recovered and now is.
    pub(super) async fn recovered(&mut self) -> Result<(), DispatchError> {
        let stream = &self.instance.stream;
        if let Some(reason) = self.instance.core.quarantine.reason(stream) {
            self.live = None;
            return Err(DispatchError::Quarantined {
                stream: stream.clone(),
                reason,
            });
        }
        if self.live.is_some() {
            return Ok(());
        }
        let span = telemetry::recovery(&self.instance.stream);
        // On the heap: an actor that waits would else hold room for it as long as it lives.
        Box::pin(self.recover().instrument(span)).await
    }

    async fn recover(&mut self) -> Result<(), DispatchError> {
        let core = Arc::clone(&self.instance.core);
        let closed = || DispatchError::Stopped;
        let _permit = core.recoveries.acquire().await.map_err(|_| closed())?;
        if self.instance.take_barrier() {
            let (reached, answer) = oneshot::channel();
            core.store.barrier(Box::new(move || {
                let _nobody_waits = reached.send(());
            }));
            answer.await.map_err(|_| closed())?;
        }
        let policy = core.options.restart;
        let mut attempt = 0;
        loop {
            let begun = core.clock.now();
            match replay(&self.instance).await {
                Ok((mut live, end)) => {
                    live.since_snapshot.recovery = core.clock.now().since(begun);
                    self.instance.in_flight.reset(end);
                    self.live = Some(live);
                    self.snapshot_if_due(false);
                    return Ok(());
                }
                Err(reason) => {
                    attempt += 1;
                    let stream = self.instance.stream.clone();
                    tracing::warn!(%stream, attempt, reason, "recovery failed");
                    if attempt > policy.budget {
                        let why = format!("recovery failed {attempt} times, lastly: {reason}");
                        core.set_aside(&stream, &why).await;
                        return Err(DispatchError::Quarantined {
                            stream,
                            reason: why.into(),
                        });
                    }
                    core.clock
                        .sleep_until(core.clock.now().plus(policy.backoff(attempt)))
                        .await;
                }
            }
        }
    }
}

/// One attempt.
async fn replay<E: Entity>(instance: &Instance<E>) -> Result<(Live<E>, Settled), String> {
    let core = &instance.core;
    let mut base = from_snapshot(instance).await.unwrap_or_else(|| Base {
        live: Live {
            state: instance.entity.initial(&instance.stream),
            version: StreamVersion::ZERO,
            commit_id: None,
            memory: Memory::new(&core.memory),
            since_snapshot: SnapshotFacts::default(),
        },
        end: Settled::default(),
    });
    let after = base.end.sequence;
    let query = StreamQuery {
        after,
        eventless: true,
        ..StreamQuery::new(instance.stream.clone())
    };
    let mut commits = core.store.read_stream(query);
    let stall = core.options.recovery_stall;
    while let Some(batch) = next_within(commits.next(), stall).await? {
        let batch = batch.map_err(|error| error.to_string())?;
        let folded = catch_unwind(AssertUnwindSafe(|| fold(instance, &mut base, &batch)));
        folded.map_err(|panic| format!("it panicked: {}", panic_message(panic.as_ref())))??;
        tokio::task::yield_now().await;
    }
    Ok((base.live, base.end))
}

fn fold<E: Entity>(
    instance: &Instance<E>,
    base: &mut Base<E>,
    batch: &[chronicler_store::RecordedCommit],
) -> Result<(), String> {
    let key = instance.stream.key();
    let Base { live, end } = base;
    for commit in batch {
        let Some(part) = commit.parts().find(|part| part.stream_key() == key) else {
            continue;
        };
        if part.first_version() != live.version.next() {
            let (found, expected) = (part.first_version(), live.version.next());
            return Err(format!("version {found} follows where {expected} should"));
        }
        let entity = &instance.entity;
        entity
            .fold(&mut live.state, commit, &part)
            .map_err(|error| error.to_string())?;
        live.version = part.last_version();
        live.commit_id = Some(commit.commit_id());
        end.sequence = commit.sequence();
        live.since_snapshot.commits += 1;
        live.since_snapshot.bytes += commit.as_bytes().len() as u64;
        if part.event_count() > 0 {
            let last = part.events().last();
            end.position = last.map_or(end.position, |event| event.position());
            live.since_snapshot.events += part.event_count();
        }
        if let Some(outcome) = Remembered::read(commit, key) {
            let now = instance.core.clock.now();
            live.memory.remember(commit.commit_id(), outcome, now);
        }
    }
    Ok(())
}

/// The newest snapshot that can be used. Whatever is wrong with one costs time, never more.
async fn from_snapshot<E: Entity>(instance: &Instance<E>) -> Option<Base<E>> {
    if instance.core.options.snapshots.is_off() {
        return None;
    }
    let mut at_most = StreamVersion::MAX;
    loop {
        let loaded = instance
            .core
            .store
            .load_snapshot(&instance.stream, at_most)
            .await;
        let snapshot = match loaded {
            Ok(snapshot) => snapshot?,
            Err(error) => {
                tracing::warn!(stream = %instance.stream, %error, "no snapshot could be read");
                return None;
            }
        };
        match restore(instance, &snapshot) {
            Ok(base) => return Some(base),
            Err(reason) => {
                let version = snapshot.version.get();
                tracing::warn!(stream = %instance.stream, version, reason, "snapshot ignored");
            }
        }
        if snapshot.version == StreamVersion::ZERO {
            return None;
        }
        at_most = snapshot.version.previous();
    }
}

fn restore<E: Entity>(instance: &Instance<E>, snapshot: &Snapshot) -> Result<Base<E>, String> {
    let (found, wanted) = (snapshot.schema_version, instance.entity.snapshot_version());
    if found != wanted {
        return Err(format!(
            "it has schema version {found}, and the state has {wanted}"
        ));
    }
    let body: SnapshotBody =
        codec::decode(CodecId::BINCODE, &snapshot.payload).map_err(|error| error.to_string())?;
    if !body.is_of_this_shape() {
        return Err("another release wrote it".to_owned());
    }
    let restored = catch_unwind(AssertUnwindSafe(|| {
        instance.entity.restore(&instance.stream, &body.state)
    }));
    let state = restored
        .map_err(|panic| format!("it panicked: {}", panic_message(panic.as_ref())))?
        .map_err(|error| error.to_string())?;
    let live = Live {
        state,
        version: snapshot.version,
        commit_id: Some(snapshot.commit_id),
        memory: Memory::restore(
            &instance.core.memory,
            body.memory,
            instance.core.clock.now(),
        ),
        since_snapshot: SnapshotFacts::default(),
    };
    let end = Settled {
        sequence: snapshot.sequence,
        position: body.position,
    };
    Ok(Base { live, end })
}

/// What a recovery builds on.
struct Base<E: Entity> {
    live: Live<E>,
    end: Settled,
}

/// Waits for the next batch, but not for ever: a stall is a failure, a long recovery is not.
async fn next_within<T>(next: impl Future<Output = T>, stall: Duration) -> Result<T, String> {
    tokio::time::timeout(stall, next)
        .await
        .map_err(|_| format!("nothing could be read for {} s", stall.as_secs_f64()))
}
