//! Recovering an instance: snapshot, then the commits after it. Behind a barrier if need be, then within a permit.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use chronicler_domain::StreamVersion;
use chronicler_store::codec::{self, CodecId};
use chronicler_store::{ReadError, Snapshot, StreamQuery, panic_text};
use futures::StreamExt;
use tokio::sync::oneshot;
use tracing::Instrument;

use super::reading::Permit;
use super::snapshot::SnapshotBody;
use super::turn::{Live, Turn};
use crate::contain::{contain, let_go};
use crate::dedup::{Memory, Remembered};
use crate::entity::Entity;
use crate::error::DispatchError;
use crate::in_flight::Settled;
use crate::instance::Instance;
use crate::snapshots::SnapshotFacts;
use crate::telemetry;

/// How long a command waits for tries to recover its instance before it is answered that it may be sent again. Long
/// enough for a trouble of a moment, and for a command that comes between two tries to have one.
const PATIENCE: Duration = Duration::from_secs(1);

impl<E: Entity> Turn<E> {
    /// Makes sure that the instance is recovered.
    ///
    /// # Errors
    /// When it is quarantined, or cannot be recovered: for good, and now is, or at present.
    pub(super) async fn recovered(&mut self) -> Result<(), DispatchError> {
        let stream = &self.instance.stream;
        if let Some(reason) = self.instance.core.quarantine.reason(stream) {
            let_go(self.live.take());
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
        let stream = self.instance.stream.clone();
        if self.instance.take_barrier() {
            let (reached, answer) = oneshot::channel();
            core.store.barrier(Box::new(move || {
                let _nobody_waits = reached.send(());
            }));
            answer.await.map_err(|_| DispatchError::Stopped)?;
        }
        let sleep = |wait| core.clock.sleep(wait);
        let mut waited = Duration::ZERO;
        if let Some(wait) = core.failing.wait(&stream, core.clock.monotonic()) {
            sleep(wait).await;
            waited += wait;
        }
        loop {
            let begun = core.clock.monotonic();
            match attempt(&self.instance).await {
                Ok((mut live, end)) => {
                    live.since_snapshot.recovery = core.clock.monotonic() - begun;
                    self.instance.in_flight.reset(end);
                    self.live = Some(live);
                    if let Some(attempts) = core.failing.forget(&stream) {
                        tracing::info!(%stream, attempts, "an instance that could not be recovered is recovered");
                    }
                    self.snapshot_if_due();
                    return Ok(());
                }
                Err(Failure::Closed) => return Err(DispatchError::Stopped),
                Err(Failure::Unreadable(reason) | Failure::Unfoldable(reason)) => {
                    core.failing.forget(&stream);
                    let why = format!("recovery failed: {reason}");
                    core.set_aside(&stream, &why).await;
                    return Err(DispatchError::Quarantined {
                        stream,
                        reason: why.into(),
                    });
                }
                Err(Failure::Passing(reason)) => {
                    let reason = reason.into();
                    let now = core.clock.monotonic();
                    let (clock, jitter) = (core.clock.as_ref(), &core.jitter);
                    let wait = core.failing.note(&stream, &reason, now, clock, jitter);
                    waited += wait + now.saturating_duration_since(begun);
                    if waited > PATIENCE {
                        // Everybody who waits has waited for this try: what comes later has the next one.
                        let why = |stream| DispatchError::Recovery {
                            stream,
                            reason: reason.to_string(),
                        };
                        self.instance.fail_waiting(why);
                        return Err(why(stream));
                    }
                    sleep(wait).await;
                }
            }
        }
    }
}

/// Why an instance could not be recovered. Only what the log gives again, however often it is read, sets it aside.
enum Failure {
    /// The store is closed.
    Closed,
    /// The next try may find it gone: the disk, the index, descriptors, threads.
    Passing(String),
    /// What was read is not whole, or does not follow. Believed when it is read once more.
    Unreadable(String),
    /// A commit that the entity's code cannot take.
    Unfoldable(String),
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Closed => Self::Closed,
            ReadError::Damaged { .. } => Self::Unreadable(error.to_string()),
            other => Self::Passing(other.to_string()),
        }
    }
}

/// One try, within a permit. A snapshot is only a short way: what fails after one is tried from the first event, as is
/// what was read wrongly, before it is believed.
async fn attempt<E: Entity>(instance: &Instance<E>) -> Result<(Live<E>, Settled), Failure> {
    let mut permit = Permit::take(&instance.core.recoveries).await;
    let snapshot = from_snapshot(instance, &mut permit).await;
    let from_log_alone = snapshot.is_none();
    match replay(instance, &mut permit, snapshot).await {
        Err(Failure::Unfoldable(reason)) if !from_log_alone => {
            tracing::warn!(stream = %instance.stream, reason, "recovered from the first event, not from the snapshot");
        }
        Err(Failure::Unreadable(reason)) => {
            tracing::warn!(stream = %instance.stream, reason, "what was read is not whole; it is read again");
        }
        other => return other,
    }
    replay(instance, &mut permit, None).await
}

async fn replay<E: Entity>(
    instance: &Instance<E>,
    permit: &mut Permit<'_>,
    snapshot: Option<Base<E>>,
) -> Result<(Live<E>, Settled), Failure> {
    let core = &instance.core;
    let mut base = match snapshot {
        Some(base) => base,
        None => Base {
            live: Live {
                state: contain(|| instance.entity.initial(&instance.stream)).map_err(|said| {
                    Failure::Unfoldable(format!("its first state panicked: {said}"))
                })?,
                version: StreamVersion::ZERO,
                commit_id: None,
                memory: Memory::new(&core.memory),
                since_snapshot: SnapshotFacts::default(),
                snapshot_bytes: 0,
            },
            end: Settled::default(),
        },
    };
    let after = base.end.sequence;
    let query = StreamQuery {
        after,
        eventless: true,
        heartbeats: true,
        ..StreamQuery::new(instance.stream.clone())
    };
    let mut commits = core.store.read_stream(query);
    let stall = core.options.stall();
    while let Some(batch) = permit.within(stall, commits.next()).await? {
        let batch = batch?;
        let folded = catch_unwind(AssertUnwindSafe(|| fold(instance, &mut base, &batch)));
        folded.map_err(|panic| {
            Failure::Unfoldable(format!("it panicked: {}", panic_text(panic.as_ref())))
        })??;
        tokio::task::yield_now().await;
    }
    Ok((base.live, base.end))
}

fn fold<E: Entity>(
    instance: &Instance<E>,
    base: &mut Base<E>,
    batch: &[chronicler_store::RecordedCommit],
) -> Result<(), Failure> {
    let key = instance.stream.key();
    let Base { live, end } = base;
    for commit in batch {
        let Some(part) = commit.parts().find(|part| part.stream_key() == key) else {
            continue;
        };
        if part.first_version() != live.version.next() {
            let (found, expected) = (part.first_version(), live.version.next());
            let reason = format!("version {found} follows where {expected} should");
            return Err(Failure::Unreadable(reason));
        }
        let entity = &instance.entity;
        entity
            .fold(&mut live.state, commit, &part)
            .map_err(|error| Failure::Unfoldable(error.to_string()))?;
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
async fn from_snapshot<E: Entity>(
    instance: &Instance<E>,
    permit: &mut Permit<'_>,
) -> Option<Base<E>> {
    if instance.core.options.snapshots.is_off() {
        return None;
    }
    let mut at_most = StreamVersion::MAX;
    loop {
        let core = &instance.core;
        let loading = core.store.load_snapshot(&instance.stream, at_most);
        let loaded = permit.within(core.options.stall(), loading).await;
        let snapshot = match loaded {
            Ok(Ok(snapshot)) => snapshot?,
            Err(error) => {
                tracing::warn!(stream = %instance.stream, %error, "no snapshot could be read");
                return None;
            }
            Ok(Err(error)) => {
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
        .map_err(|panic| format!("it panicked: {}", panic_text(panic.as_ref())))?
        .map_err(|error| error.to_string())?;
    let snapshot_bytes = body.state.len() as u64;
    let live = Live {
        state,
        version: snapshot.version,
        commit_id: Some(snapshot.commit_id),
        memory: Memory::restore(
            &instance.core.memory,
            body.memory,
            snapshot.sequence,
            instance.core.clock.now(),
        ),
        since_snapshot: SnapshotFacts::default(),
        snapshot_bytes,
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
