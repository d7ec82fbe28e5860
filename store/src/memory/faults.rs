//! Faults to inject into a store in memory: what disks and processes do at the worst moment.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::journal::Journal;
use super::plan::{AppendFault, CrashPoint, ReadFault};
use super::store::MemoryStore;

/// Injects faults into one [`MemoryStore`].
#[derive(Clone)]
pub struct Faults(MemoryStore);

impl MemoryStore {
    /// Faults to inject into this store.
    pub fn faults(&self) -> Faults {
        Faults(self.clone())
    }
}

impl Faults {
    /// From now on appends are accepted, but neither durable, nor visible, nor answered.
    pub fn hold(&self) {
        self.0.with_plan(|plan| plan.held = true);
    }

    /// Ends [`hold`](Self::hold): everything held becomes durable and is answered, in order.
    pub fn release(&self) {
        self.0.with_plan(|plan| plan.held = false);
        self.0.settle();
    }

    /// The next append meets this fault; called again, the one after it, and so on.
    pub fn fail_append(&self, fault: AppendFault) {
        self.0.with_plan(|plan| plan.appends.push_back(Some(fault)));
    }

    /// The next append that has no fault planned goes through; called again, one more.
    pub fn pass_append(&self) {
        self.0.with_plan(|plan| plan.appends.push_back(None));
    }

    /// Until this is called again with `None`, reads of commits meet this fault; what is in live instances stays there.
    pub fn fail_reads(&self, fault: Option<ReadFault>) {
        self.0.with_plan(|plan| plan.reads = fault);
    }

    /// The same for reads of one stream.
    pub fn fail_reads_of(&self, stream: &chronicler_domain::StreamId, fault: Option<ReadFault>) {
        self.0.with_plan(|plan| match fault {
            Some(fault) => drop(plan.reads_of.insert(stream.key().into(), fault)),
            None => drop(plan.reads_of.remove(stream.key())),
        });
    }

    /// Whether saving snapshots fails.
    pub fn fail_snapshots(&self, fail: bool) {
        self.0.with_plan(|plan| plan.snapshots_fail = fail);
    }

    /// From now on saving a snapshot takes until [`release_snapshots`](Self::release_snapshots).
    pub fn hold_snapshots(&self) {
        self.0
            .with_plan(|plan| plan.snapshots_held = Some(watch::Sender::new(())));
    }

    /// Ends [`hold_snapshots`](Self::hold_snapshots).
    pub fn release_snapshots(&self) {
        self.0.with_plan(|plan| plan.snapshots_held = None);
    }

    /// How many snapshots wait to be saved.
    pub fn snapshots_waiting(&self) -> usize {
        self.0.with_plan(|plan| {
            let held = plan.snapshots_held.as_ref();
            held.map_or(0, watch::Sender::receiver_count)
        })
    }

    /// How many write points there were so far.
    pub fn writes(&self) -> u64 {
        self.0.with_plan(|plan| plan.writes)
    }

    /// How many facts were read so far, one by one or in pages.
    pub fn facts_read(&self) -> u64 {
        self.0.with_plan(|plan| plan.facts_read)
    }

    /// The process dies at this write point, counted from now. After it nothing is written or read, and whoever
    /// waits for an answer gets [`Lost`](crate::AppendError::Lost): completions are dropped without a call.
    pub fn crash_at(&self, point: CrashPoint) {
        self.0.with_plan(|plan| {
            plan.crash = Some(CrashPoint {
                write: plan.writes + point.write,
                ..point
            });
        });
    }

    /// Whether it has died.
    pub fn is_dead(&self) -> bool {
        self.0.with_plan(|plan| plan.is_dead())
    }

    /// What is found when the log is opened again after a crash or a failure: a store with everything that was
    /// durable, and what a [`FailedWritten`](AppendFault::FailedWritten) left on the disk, without faults.
    pub fn survivor(&self) -> Arc<MemoryStore> {
        let frames = self.0.with_journal(|journal| journal.frames_on_disk());
        let derived = self.0.with_derived(|derived| derived.clone());
        Arc::new(MemoryStore::from_parts(
            Journal::of(frames),
            Mutex::new(derived),
        ))
    }

    /// Overwrites the newest snapshot of a stream with bytes that nobody can decode.
    pub fn corrupt_newest_snapshot(&self, stream: &chronicler_domain::StreamId) {
        self.0
            .with_derived(|derived| derived.corrupt_newest_snapshot(stream));
    }

    /// All views are gone, as when a database fails in use: using one is an error until its generations were
    /// asked for.
    pub fn lose_views(&self) {
        self.0.with_derived(|derived| derived.lose_views());
    }
}
