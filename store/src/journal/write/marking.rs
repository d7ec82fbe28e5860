//! How the writer keeps the head marker: it names what is durable, and nothing else.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::active::seal;
use super::writer::Writer;
use crate::journal::disk::StorageFile;
use crate::journal::marker::{LogEnd, Marker};
use crate::journal::options::Durability;
use crate::journal::segment::Segment;
use crate::log::Health;
use crate::test_points::{CrashPlace, reached};

/// What the marker may only name once it is synced, beside the active segment's frames.
#[derive(Debug, Default)]
pub(super) struct Unsynced {
    /// Full segments, which the follower is about to seal and sync.
    full: Vec<(Arc<Segment>, Arc<dyn StorageFile>)>,
    /// Whether there are names of new segments.
    names: bool,
}

impl Writer {
    pub(super) fn move_marker(&mut self, end: LogEnd) -> io::Result<()> {
        match self.shared.options.durability {
            Durability::Fsync => self.marker.write(&self.marker_at(end, false)),
            // The marker never names what was not synced: see `keep_marker`.
            Durability::Os => Ok(()),
        }
    }

    fn marker_at(&self, end: LogEnd, clean: bool) -> Marker {
        Marker {
            store_id: self.shared.store_id,
            segment: self.active.segment.header.number,
            end,
            clean,
        }
    }

    /// How long the writer may sleep before the marker wants it.
    pub(super) fn patience(&self) -> Option<Duration> {
        let unmarked = self.shared.marked() < self.shared.durable();
        let healthy = self.shared.health() == Health::Healthy;
        let marker_sync_every = self.shared.options.marker_sync_every;
        (unmarked && healthy)
            .then(|| marker_sync_every.saturating_sub(self.marker_synced.elapsed()))
    }

    /// Makes the marker durable if it has moved and the last time is long enough ago.
    pub(super) fn keep_marker(&mut self) {
        if self.patience().is_none_or(|patience| !patience.is_zero()) {
            return;
        }
        let end = self.shared.end();
        if let Err(error) = self.sync_marker(end, false) {
            self.stop("syncing the head marker", &error);
        }
    }

    fn sync_marker(&mut self, end: LogEnd, clean: bool) -> io::Result<()> {
        self.lock.check()?;
        if self.shared.options.durability == Durability::Os {
            self.sync_frames()?;
        }
        if clean || self.shared.options.durability == Durability::Os {
            self.marker.write(&self.marker_at(end, clean))?;
        }
        self.marker.sync()?;
        reached(CrashPlace::Marked);
        self.marker_synced = Instant::now();
        self.shared.set_marked(end.sequence);
        self.shared.follower.marked();
        Ok(())
    }

    /// Makes durable all that lies before the end, which is what the marker is to name: at `Os` nothing else does.
    fn sync_frames(&mut self) -> io::Result<()> {
        for (segment, file) in self.unsynced.full.drain(..) {
            // The follower has synced what it has sealed.
            if !segment.is_sealed() {
                file.sync_data()?;
            }
        }
        self.active.file.sync_data()?;
        if std::mem::take(&mut self.unsynced.names) {
            self.shared.storage.sync_folder(&self.shared.folder)?;
        }
        Ok(())
    }

    /// Seals the active segment and says in the marker that nothing lies beyond.
    pub(super) fn end_cleanly(mut self) -> io::Result<()> {
        if self.shared.health() != Health::Healthy {
            return Ok(());
        }
        let end = self.shared.end();
        self.sync_marker(end, false)?;
        let number = self.active.segment.header.number;
        let shared = self.shared.clone();
        let marker = Marker {
            store_id: shared.store_id,
            segment: number,
            end,
            clean: true,
        };
        seal(self.active.into_seal(end), shared.store_id)?;
        shared.storage.sync_folder(&shared.folder)?;
        self.marker.write(&marker)?;
        self.marker.sync()
    }
}

impl Unsynced {
    /// A segment is full, and the next one has a name.
    pub(super) fn add(&mut self, full: Arc<Segment>, file: Arc<dyn StorageFile>) {
        // Those that are sealed need not be kept open.
        self.full.retain(|(segment, _)| !segment.is_sealed());
        self.full.push((full, file));
        self.names = true;
    }
}
