//! The writer: one thread that accepts appends, groups them, and makes each group durable with one sync.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use chronicler_domain::{StreamVersion, Timestamp};

use super::active::{ActiveSegment, lay_out_segment, may_pass};
use super::answer::Answer;
use super::clock_watch::ClockWatch;
use super::marking::Unsynced;
use super::past::{PastCommits, PastFiles};
use super::queue::{Item, Spent};
use super::search::Search;
use super::searcher::Searcher;
use super::stage::{Encoded, Stage, Waiting};
use crate::acceptance::{Reach, RecentCommits, Verdict, accepted_parts, judge, recorded_parts};
use crate::append::{Append, Appended, PlacedPart};
use crate::error::AppendError;
use crate::frame::SideRecord;
use crate::index::HeadRow;
use crate::journal::lock::DirectoryLock;
use crate::journal::marker::MarkerFile;
use crate::journal::memory::FactValue;
use crate::journal::options::Durability;
use crate::journal::segment::{SEGMENT_HEADER_BYTES, SparseEntry, file_name, stream_hash};
use crate::journal::shared::Shared;
use crate::log::Health;
use crate::test_points::{CrashPlace, Promise, is_broken, reached};

/// A batch is written when it is this long, even if more waits: beyond it a sync costs by the byte.
const BATCH_BYTES_MAX: usize = 4 << 20;

/// How many commits of a stream the writer looks at, from its end backwards, for an append that names an earlier
/// version: about 0.1 ms, during which everybody waits. What lies further back the searcher looks for.
const REACH_COMMITS: usize = 64;

/// What becomes of an append that is not refused by the writer.
enum Accepted {
    Answered {
        appended: Appended,
        /// Whether this is true even if the batch fails.
        is_certain: bool,
    },
    /// Refused with this, unless its original lies further back.
    FurtherBack(AppendError),
}

/// The one thread that writes to the log.
pub(crate) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) active: ActiveSegment,
    pub(super) marker: MarkerFile,
    /// Whose directory it is: looked at before anything is written to it.
    pub(super) lock: DirectoryLock,
    stage: Stage,
    recent: RecentCommits,
    searcher: Searcher,
    past: PastFiles,
    pub(super) marker_synced: Instant,
    /// At `Os`: what was written and not synced since the marker was synced last.
    pub(super) unsynced: Unsynced,
    clock: ClockWatch,
    /// The time that the commit staged last was given.
    given_time: Option<Timestamp>,
    /// Whether the file system tells that the file at a path is the one that was opened there, as long as it was made.
    /// Some in user space do not.
    places_are_told: bool,
    /// When the next segment was to be begun and could not be, and why.
    cannot_grow: Option<(Instant, Arc<io::Error>)>,
    heads: Vec<Option<HeadRow>>,
    places: Vec<Option<(StreamVersion, Option<u64>)>>,
}

impl Writer {
    pub(crate) fn new(
        shared: Arc<Shared>,
        active: ActiveSegment,
        marker: MarkerFile,
        lock: DirectoryLock,
    ) -> Self {
        let places_are_told = active.is_whole().unwrap_or(false);
        Self {
            stage: Stage::new(shared.end()),
            shared,
            active,
            marker,
            lock,
            recent: RecentCommits::default(),
            searcher: Searcher::default(),
            past: PastFiles::default(),
            marker_synced: Instant::now(),
            unsynced: Unsynced::default(),
            clock: ClockWatch::default(),
            given_time: None,
            places_are_told,
            cannot_grow: None,
            heads: Vec::new(),
            places: Vec::new(),
        }
    }

    /// Works until the queue is closed and empty, then ends the log cleanly unless writes had stopped.
    pub(crate) fn run(self) {
        let shared = self.shared.clone();
        // Unwinding answers whoever waits for the batch.
        if catch_unwind(AssertUnwindSafe(|| self.work())).is_err() {
            shared.stop_writes("the writer ended in a panic");
            shared.queue.abandon();
        }
        shared.head.close();
    }

    fn work(mut self) {
        let (mut items, mut spent) = (Vec::new(), Spent::new());
        while !self.take(&mut items) {
            for item in items.drain(..) {
                match item {
                    Item::Append(append, done) => spent.extend(self.append(append, done)),
                    Item::Searched(searched) => self.searcher.answer(searched),
                    Item::Barrier(done) => self.stage.waiting.push(Waiting::Barrier(done)),
                }
                if self.stage.frames.len() >= BATCH_BYTES_MAX {
                    self.commit();
                }
            }
            self.shared.queue.free_later(&mut spent);
            self.commit();
            self.keep_marker();
        }
        let shared = self.shared.clone();
        if let Err(error) = self.end_cleanly() {
            shared.stop_writes(&error.to_string());
            tracing::warn!(%error, "the log could not be closed cleanly; nothing acknowledged is lost");
        }
    }

    fn take(&self, items: &mut Vec<Item>) -> bool {
        let searched_for = self.searcher.is_busy();
        self.shared.queue.take(items, self.patience(), searched_for)
    }

    /// Works off an append, and gives it back unless it is still needed.
    fn append(&mut self, append: Append, done: Answer) -> Option<Append> {
        if let Health::ReadOnly(reason) = self.shared.health() {
            done.give(Err(AppendError::ReadOnly { reason }));
            return Some(append);
        }
        match self.accept(&append) {
            Ok(Accepted::Answered {
                appended,
                is_certain,
            }) => self.stage.waiting.push(Waiting::Append {
                appended,
                is_certain,
                done,
            }),
            Ok(Accepted::FurtherBack(refusal)) => {
                let search = Search {
                    append,
                    heads: self.heads.clone(),
                    refusal,
                    done,
                };
                self.stage.waiting.push(Waiting::Search(Box::new(search)));
                return None;
            }
            Err(error) if self.is_judged_on_staged() && !is_broken(Promise::RefuseAfterDurable) => {
                self.stage.waiting.push(Waiting::Refusal(error, done));
            }
            Err(error) => done.give(Err(error)),
        }
        Some(append)
    }

    /// Whether a commit that is only staged had a part in the judgement of the append that was judged last.
    fn is_judged_on_staged(&self) -> bool {
        let durable = self.shared.durable();
        let heads = self.heads.iter().flatten();
        self.stage.commits() > 0 && heads.into_iter().any(|head| head.sequence > durable)
    }

    /// Whether everything that the answer to a repetition tells of is durable, whatever becomes of the batch.
    fn repeats_durable(&self, original: &Appended) -> bool {
        let end = self.shared.end();
        let durable = |(part, head): (&PlacedPart, &Option<HeadRow>)| match part.positions.last() {
            Some(last) => last <= end.position,
            None => head.is_none_or(|head| head.sequence <= end.sequence),
        };
        original.sequence <= end.sequence && original.parts.iter().zip(&self.heads).all(durable)
    }

    /// Judges an append and stages its frame.
    fn accept(&mut self, append: &Append) -> Result<Accepted, AppendError> {
        self.read_heads(append)?;
        let past = PastCommits {
            shared: &self.shared,
            files: &self.past,
            staged: &self.stage.frames,
            staged_at: self.stage.base(),
        };
        let reach = Reach::commits(REACH_COMMITS);
        match judge(append, &self.heads, &past, &mut self.recent, reach)? {
            Verdict::Repetition(original) => {
                return Ok(Accepted::Answered {
                    is_certain: self.repeats_durable(&original),
                    appended: original,
                });
            }
            Verdict::FurtherBack(refusal) => return Ok(Accepted::FurtherBack(refusal)),
            Verdict::New => {}
        }
        let parts = accepted_parts(append, &self.heads, self.stage.end.position.next());
        self.places.clear();
        let placed = parts.iter().zip(&self.heads).zip(recorded_parts(append));
        self.places.extend(placed.map(|((part, head), recorded)| {
            let previous = head.map(|head| head.log_offset);
            recorded.then_some((part.first_version, previous))
        }));
        let written = self.places.iter().any(Option::is_some) || !append.records.is_empty();
        if written {
            self.stage_frame(append)?;
        }
        let appended = Appended {
            sequence: self.stage.end.sequence,
            timestamp: self.stage.end.timestamp,
            parts,
            duplicate: false,
        };
        Ok(Accepted::Answered {
            appended,
            is_certain: self.stage.commits() == 0,
        })
    }

    fn read_heads(&mut self, append: &Append) -> Result<(), AppendError> {
        self.heads.clear();
        for part in &append.parts {
            let index = |key: &str| self.shared.head_in_index(key);
            let head = self.shared.heads.newest(part.stream.key(), index);
            self.heads
                .push(head.map_err(|source| AppendError::Unreadable {
                    stream: part.stream.clone(),
                    source,
                })?);
        }
        Ok(())
    }

    fn stage_frame(&mut self, append: &Append) -> Result<(), AppendError> {
        if let Some((since, source)) = &self.cannot_grow
            && since.elapsed() < self.shared.options.layout_pause
        {
            let source = Arc::clone(source);
            return Err(AppendError::CannotGrow { source });
        }
        let frame_bytes_max = self.shared.options.frame_bytes_max;
        let mut encoded = self.stage.encode(append, &self.places, frame_bytes_max)?;
        if self.cannot_grow.is_some() || !self.active.fits(self.stage.end.offset, encoded.length) {
            let frame = self.stage.take_out(encoded);
            self.commit();
            self.roll(frame.len())?;
            encoded = self.stage.put_in(frame, encoded);
        }
        self.note(append, &encoded);
        self.stage.accept(encoded);
        self.given_time = self.given_time.max(Some(append.at));
        Ok(())
    }

    /// Moves heads and facts, and notes the frame for the segment's footer.
    fn note(&mut self, append: &Append, encoded: &Encoded) {
        let durable = self.shared.durable();
        let end = &encoded.end;
        let places = append.parts.iter().zip(&self.heads).zip(&self.places);
        let recorded = places.filter_map(|((part, head), place)| Some((part, head, (*place)?)));
        for (part, head, (first_version, _)) in recorded.clone() {
            let row = HeadRow {
                version: first_version.plus(part.events.len() as u64).previous(),
                sequence: end.sequence,
                log_offset: end.last_offset,
                commit_id: append.commit_id,
                first_at: head.map_or(end.timestamp, |head| head.first_at),
                last_at: end.timestamp,
            };
            self.shared
                .heads
                .set(part.stream.key(), row, *head, durable);
        }
        for record in &append.records {
            if let SideRecord::Fact { kind, key, value } = record {
                let value = FactValue {
                    value: value.clone(),
                    sequence: end.sequence,
                };
                self.shared.facts.set(*kind, key.clone(), value, durable);
            }
        }
        let entry = SparseEntry {
            offset: end.last_offset,
            sequence: end.sequence,
            first_position: self.stage.end.position.next(),
            timestamp: end.timestamp,
        };
        let hashes = recorded.map(|(part, _, _)| stream_hash(part.stream.key()));
        self.active.note(entry, hashes);
    }

    /// Writes what is staged, makes it durable, shows it to readers and answers those who wait.
    fn commit(&mut self) {
        if let Some(at) = self.given_time.take() {
            let noted = self
                .clock
                .look(at, self.stage.end.timestamp, Instant::now());
            if let Some(note) = noted {
                note.tell();
            }
        }
        if self.stage.commits() > 0 {
            if let Err(error) = self.lock.check() {
                // Nothing was written, and what lies there may be somebody else's by now.
                let reason: Arc<str> = self.stop("keeping the directory", &error).into();
                return self.give_up(&reason, || AppendError::ReadOnly {
                    reason: reason.clone(),
                });
            }
            if let Err((operation, error)) = self.write() {
                return self.fail(operation, error);
            }
        }
        if self.stage.commits() > 0 {
            reached(CrashPlace::Synced);
            let (commits, end) = (self.stage.commits(), self.stage.end);
            let chunk = self.stage.take_chunk();
            let bytes = chunk.bytes.len();
            // Readers go by the end, so what lies before it must be there first.
            if let Some(room) = self.shared.tail.push(chunk) {
                self.stage.reuse(room);
            }
            self.shared.counters.batch(commits, bytes);
            if let Err(error) = self.move_marker(end) {
                // The batch is durable, so it is answered so; but without the marker nothing later can be.
                self.stop("writing the head marker", &error);
            }
            self.shared.publish(end);
            self.shared.follower.changed(bytes as u64);
        }
        for waiting in self.stage.waiting.drain(..) {
            match waiting {
                Waiting::Append { appended, done, .. } => done.give(Ok(appended)),
                Waiting::Refusal(error, done) => done.give(Err(error)),
                Waiting::Search(search) => self.searcher.search(search, &self.shared),
                // It waits for the searches before it, too.
                Waiting::Barrier(done) if self.searcher.is_busy() => {
                    self.searcher.pass(done, &self.shared);
                }
                Waiting::Barrier(done) => drop(done),
            }
        }
        reached(CrashPlace::Answered);
    }

    fn write(&self) -> Result<(), (&'static str, io::Error)> {
        reached(CrashPlace::Write);
        let at = self.active.segment.file_offset(self.stage.base());
        let written = self.active.file.write_at(&self.stage.frames, at);
        written.map_err(|error| ("write", error))?;
        reached(CrashPlace::Written);
        if is_broken(Promise::SyncFirst) {
            return Ok(());
        }
        if self.shared.options.durability == Durability::Fsync {
            let synced = self.active.file.sync_data();
            synced.map_err(|error| ("fdatasync", error))?;
        }
        if !self.places_are_told {
            return Ok(());
        }
        match self.active.is_whole() {
            Ok(true) => Ok(()),
            // The file takes every write and every sync, and nobody will ever find it again.
            Ok(false) => {
                let reason = "the file was deleted, moved, replaced or cut while in use";
                Err(("write", io::Error::other(reason)))
            }
            Err(error) => Err(("write", error)),
        }
    }

    /// Begins the next segment, with room for a frame of `frame_bytes`. The stage is empty.
    fn roll(&mut self, frame_bytes: usize) -> Result<(), AppendError> {
        if let Health::ReadOnly(reason) = self.shared.health() {
            return Err(AppendError::ReadOnly { reason });
        }
        let next = self.next_segment(SEGMENT_HEADER_BYTES + frame_bytes as u64)?;
        reached(CrashPlace::SegmentBegun);
        if self.cannot_grow.take().is_some() {
            tracing::info!("the log grows again");
        }
        self.shared.catalogue.push(next.segment.clone());
        let full = std::mem::replace(&mut self.active, next);
        if self.shared.options.durability == Durability::Os {
            self.unsynced.add(full.segment.clone(), full.file.clone());
        }
        self.shared.follower.seal(full.into_seal(self.stage.end));
        Ok(())
    }

    /// Lays out the segment after this one, with room for `file_bytes` at least. Nothing of the append that needs it was
    /// written. Want of room or descriptors refuses that append, and those that come soon after it.
    fn next_segment(&mut self, file_bytes: u64) -> Result<ActiveSegment, AppendError> {
        let stopped = |writer: &Self, error: &io::Error| AppendError::ReadOnly {
            reason: writer.stop("beginning the next segment", error).into(),
        };
        self.lock.check().map_err(|error| stopped(self, &error))?;
        let (storage, folder) = (self.shared.storage.as_ref(), &self.shared.folder);
        let number = self.active.segment.header.number + 1;
        let laid_out = lay_out_segment(
            storage,
            folder,
            self.shared.store_id,
            number,
            &self.stage.end,
            file_bytes.max(self.shared.options.segment_bytes),
        );
        let next = match laid_out {
            Ok(next) => next,
            Err(error) if may_pass(&error) => {
                match storage.remove(&folder.join(file_name(number))) {
                    Err(again) if again.kind() != io::ErrorKind::NotFound => {
                        return Err(stopped(self, &again));
                    }
                    _ => {}
                }
                // No shorter frame goes into the segment before: one that is begun in vain may still be there after a
                // power cut, and says where it begins.
                let source = Arc::new(error);
                let failed = (Instant::now(), Arc::clone(&source));
                if self.cannot_grow.replace(failed).is_none() {
                    tracing::error!(error = %source, "the next segment cannot be begun: appends are refused until it can");
                }
                return Err(AppendError::CannotGrow { source });
            }
            Err(error) => return Err(stopped(self, &error)),
        };
        if self.shared.options.durability == Durability::Fsync {
            let durable = next.make_durable(storage, folder);
            durable.map_err(|error| stopped(self, &error))?;
        }
        Ok(next)
    }

    /// Answers the batch whose write or sync failed, and stops writes: what the file holds is unknown now,
    /// and a sync that is tried again can succeed without having written anything.
    fn fail(&mut self, operation: &str, error: io::Error) {
        let reason: Arc<str> = self.stop(operation, &error).into();
        let operation: Arc<str> =
            format!("{operation} of {}", self.active.segment.path.display()).into();
        let source = Arc::new(error);
        self.give_up(&reason, || AppendError::Failed {
            operation: operation.clone(),
            source: source.clone(),
        });
    }

    /// Answers the batch, which is not to be written any more. What repeats something durable is durable.
    fn give_up(&mut self, reason: &Arc<str>, error: impl Fn() -> AppendError) {
        drop(self.stage.take_chunk());
        for waiting in std::mem::take(&mut self.stage.waiting) {
            match waiting {
                Waiting::Append {
                    appended,
                    is_certain: true,
                    done,
                } => done.give(Ok(appended)),
                Waiting::Append { done, .. } => done.give(Err(error())),
                // What it lost to may never have been. It was not written in any case, and will not be.
                Waiting::Refusal(_, done) => done.give(Err(AppendError::ReadOnly {
                    reason: reason.clone(),
                })),
                Waiting::Search(search) => search.done.give(Err(AppendError::ReadOnly {
                    reason: reason.clone(),
                })),
                Waiting::Barrier(done) if self.searcher.is_busy() => {
                    self.searcher.pass(done, &self.shared);
                }
                Waiting::Barrier(done) => drop(done),
            }
        }
    }

    pub(super) fn stop(&self, operation: &str, error: &io::Error) -> String {
        let reason = format!("{operation} failed: {error}");
        tracing::error!(%reason, "the log takes no more writes until it is opened again");
        self.shared.stop_writes(&reason);
        reason
    }
}
