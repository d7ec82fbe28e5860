//! Making a log that can be opened of one that is damaged, without throwing anything away.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chronicler_domain::{GlobalPosition, LogSequence};
use uuid::Uuid;

use super::chain::Chain;
use super::copy::{CopyProgress, SegmentCopy};
use super::error::{MaintenanceError, io_failed};
use super::place::{KIND, create_folder};
use super::segment_writer::SegmentWriter;
use crate::error::OpenError;
use crate::journal::disk::{OpenMode, RealStorage, Storage};
use crate::journal::identity;
use crate::journal::lock::DirectoryLock;
use crate::journal::marker::{self, LogEnd, Marker, MarkerFile};
use crate::journal::open::{find_segments, io_failed as open_failed, walk_dry};
use crate::journal::options::JournalOptions;
use crate::journal::reader::{Damage, JournalReader, Verification};
use crate::journal::segment::{SEGMENT_HEADER_BYTES, Segment, SegmentHeader, file_name};
use crate::journal::store::JournalStore;
use crate::journal::unfinished::{self, Work};
use crate::log::Head;
use crate::sled::set_index_aside;

/// Where originals go, in the data directory.
const SET_ASIDE: &str = "set-aside";
/// A segment that is being made; the store knows it as its own, and ignores it.
const NEW_SEGMENT: &str = "tail.new";
const NEW_MARKER: &str = "head.new";

/// What a repair is going to do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RepairPlan {
    /// The store's id.
    pub store_id: Uuid,
    /// What it comes to.
    pub action: RepairAction,
    /// What is wrong, as far as verifying could tell.
    pub damage: Vec<Damage>,
    /// What else is wrong.
    pub reasons: Vec<String>,
    /// The end of the log afterwards.
    pub end: Head,
    /// Where the log is cut: a file, and a byte in it. `None` if it is not.
    pub cut: Option<(PathBuf, u64)>,
    /// Commits that are lost: those that the log is known to have held behind its new end.
    pub lost_commits: u64,
    /// Events that are lost.
    pub lost_events: u64,
    /// Whether more may be lost: nothing says how far the log went on.
    pub lost_at_least: bool,
    /// Of the commits that are lost, those that are whole. They are in the files that are set aside, and no log can
    /// hold them: what they followed is gone.
    pub whole_set_aside: u64,
}

/// What a repair comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RepairAction {
    /// Nothing is wrong with the log; the index is checked.
    Nothing,
    /// Footers, marker slots or the `format` file are made again. Nothing is lost.
    Mend,
    /// The log is cut before the first thing that is wrong.
    Cut,
}

/// What a repair did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RepairReport {
    /// Where the originals are; `None` if no file was changed.
    pub set_aside: Option<PathBuf>,
    /// The end of the log.
    pub end: Head,
    /// Why the index that was there is not used; it was rebuilt.
    pub index_set_aside: Option<String>,
}

/// A repair that was planned, under the lock of the directory. Nothing is changed before
/// [`perform`](Self::perform).
#[derive(Debug)]
pub struct Repair {
    data: PathBuf,
    folder: PathBuf,
    storage: Arc<dyn Storage>,
    chain: Chain,
    has_format: bool,
    plan: RepairPlan,
    lock: DirectoryLock,
}

/// Why an index is not used after a cut.
const INDEX_BEFORE_A_CUT: &str = "it may know commits that were cut off";

impl Repair {
    /// Reads the whole log, twice, and finds out what is to be done; `progress` is told each time, the second time from
    /// several threads. Takes the lock of the directory.
    ///
    /// # Errors
    /// [`MaintenanceError`]: an application has the directory, a newer release wrote it, or it is none.
    pub fn plan(
        data: &Path,
        progress: &(dyn Fn(CopyProgress) + Sync),
    ) -> Result<Self, MaintenanceError> {
        let storage: Arc<dyn Storage> = Arc::new(RealStorage);
        let folder = data.join(KIND.folder());
        if !folder.is_dir() {
            let reason = format!("it has no folder `{}`", KIND.folder());
            return Err(OpenError::NotADirectory {
                path: data.to_path_buf(),
                reason,
            }
            .into());
        }
        let lock = DirectoryLock::take(data)?;
        // What was being made is not to be made whole; a repair that was cut short is gone on with.
        unfinished::refuse(storage.as_ref(), data, Some(Work::Repair))?;
        let mut reasons = Vec::new();
        let identity = identity::read(storage.as_ref(), KIND, data);
        let (store_id, has_format) = match identity {
            Ok(Some(store_id)) => (store_id, true),
            Ok(None) => (store_id_of(storage.as_ref(), &folder)?, false),
            Err(OpenError::NotADirectory { reason, .. }) => {
                reasons.push(reason);
                (store_id_of(storage.as_ref(), &folder)?, false)
            }
            Err(error) => return Err(error.into()),
        };
        if !has_format && reasons.is_empty() {
            reasons.push("its `format` file is missing".to_owned());
        }
        let found = find_segments(storage.as_ref(), &folder, store_id)?;
        let marker = MarkerFile::read(storage.as_ref(), &folder)
            .map_err(io_failed("reading the head marker in", &folder))?
            .and_then(|found| found.marker);
        let foreign = marker.is_some_and(|marker| marker.store_id != store_id);
        if foreign {
            reasons.push("the head marker is of another store".to_owned());
        }
        let marker = marker.filter(|_| !foreign);
        if !has_format && marker.is_none() {
            let reason = "there is no head marker either: an import or a restore by an earlier release that was cut short looks like this, and then whatever follows the last commit here is missing";
            reasons.push(reason.to_owned());
        }
        let chain = Chain::read(&storage, found.clone(), progress)?;
        let known = marker.map(|marker| marker.end).unwrap_or_default();
        let opens = walk_dry(&storage, found, marker.as_ref());
        let must_cut = foreign
            || opens.is_err()
            || chain.kept.is_empty()
            || chain.end.offset < known.offset
            || (marker.is_none() && chain.stop.is_some());
        let mut damage = Vec::new();
        match JournalReader::open(data) {
            Ok(reader) => damage = verify(&reader, progress).damage,
            Err(error) if reasons.is_empty() => reasons.push(error.to_string()),
            Err(_) => {}
        }
        if let Err(error) = opens
            && damage.is_empty()
        {
            reasons.push(error.to_string());
        }
        let action = if must_cut {
            RepairAction::Cut
        } else if damage.is_empty() && has_format {
            RepairAction::Nothing
        } else {
            RepairAction::Mend
        };
        let mut plan = RepairPlan {
            store_id,
            action,
            damage,
            reasons,
            end: chain.end.into(),
            cut: None,
            lost_commits: 0,
            lost_events: 0,
            lost_at_least: false,
            whole_set_aside: 0,
        };
        if must_cut {
            reckon(&mut plan, &storage, &chain, &known, marker.is_some())?;
        }
        Ok(Self {
            data: data.to_path_buf(),
            folder,
            storage,
            chain,
            has_format,
            plan,
            lock,
        })
    }

    /// What is going to be done.
    pub fn what(&self) -> &RepairPlan {
        &self.plan
    }

    /// Does it, opens the store, which checks its index and rebuilds it if need be, and verifies everything.
    ///
    /// # Errors
    /// [`MaintenanceError`]. Cut short it can be done again: originals are set aside before anything takes their
    /// place.
    pub fn perform(self, options: JournalOptions) -> Result<RepairReport, MaintenanceError> {
        let storage = self.storage.as_ref();
        if self.plan.action != RepairAction::Nothing {
            unfinished::begin(storage, &self.data, Work::Repair)?;
        }
        let mut index_set_aside = None;
        let set_aside = match self.plan.action {
            RepairAction::Nothing => None,
            RepairAction::Mend => Some(self.mend()?),
            RepairAction::Cut => {
                // Before the log is cut: a repair that ends right after that finds nothing left to cut. The rows of the
                // index may be newer than its watermark, and of commits that go.
                let moved = set_index_aside(&self.data)
                    .map_err(io_failed("setting the index aside in", &self.data))?;
                index_set_aside = moved.map(|_| INDEX_BEFORE_A_CUT.to_owned());
                Some(self.cut()?)
            }
        };
        unfinished::end(storage, &self.data)?;
        let store = JournalStore::open_held(self.lock, &self.data, options)?;
        let index_set_aside =
            index_set_aside.or_else(|| store.open_report().index_set_aside.clone());
        drop(store);
        let reader = JournalReader::open(&self.data)?;
        let verified = reader.verify(&|_| {});
        match verified.damage.first() {
            None => Ok(RepairReport {
                set_aside,
                end: verified.head,
                index_set_aside,
            }),
            Some(damage) => {
                let reason = format!("after the repair, still: {damage}; restore it from a backup");
                Err(MaintenanceError::damaged(&self.data, reason))
            }
        }
    }

    /// Sets copies aside of what the opening of the store makes again.
    fn mend(&self) -> Result<PathBuf, MaintenanceError> {
        let aside = self.aside()?;
        for damage in &self.plan.damage {
            keep_copy(&damage.file, &aside)?;
        }
        self.write_format(&aside)?;
        self.sync(&aside)?;
        Ok(aside)
    }

    fn cut(&self) -> Result<PathBuf, MaintenanceError> {
        let storage = self.storage.as_ref();
        let aside = self.aside()?;
        let head = self.folder.join(marker::FILE);
        let new = self.folder.join(NEW_SEGMENT);
        let cut = self.write_cut_segment(&new)?;
        let number = cut.as_ref().map(|(number, _)| *number);
        if let Some((_, original)) = &cut {
            keep_copy(original, &aside)?;
        }
        keep_copy(&head, &aside)?;
        self.sync(&aside)?;
        // The last one first: what is left of them is in order whenever this is cut short.
        for segment in self.chain.rest.iter().rev() {
            let to = aside.join(file_name(segment.number));
            storage
                .rename(&segment.path, &to)
                .map_err(io_failed("setting aside", &segment.path))?;
            self.sync(&aside)?;
        }
        if let Some((_, path)) = &cut {
            storage
                .rename(&new, path)
                .map_err(io_failed("renaming to", path))?;
        }
        let last = self.chain.kept.last().map(|(segment, _)| segment.number);
        let marker = Marker {
            store_id: self.plan.store_id,
            segment: last.or(number).unwrap_or(1),
            end: self.chain.end,
            clean: false,
        };
        let new_head = self.folder.join(NEW_MARKER);
        MarkerFile::create_as(storage, &new_head, &marker)
            .and_then(|_| storage.rename(&new_head, &head))
            .map_err(io_failed("writing", &head))?;
        self.write_format(&aside)?;
        self.sync(&aside)?;
        Ok(aside)
    }

    /// Writes what the segment that has to be cut will be; its number, and the file whose place it takes. Of a log
    /// that has no usable segment the first one, empty.
    fn write_cut_segment(&self, to: &Path) -> Result<Option<(u64, PathBuf)>, MaintenanceError> {
        let Some((found, header)) = self.chain.kept.last() else {
            let end = LogEnd::default();
            let header = SegmentHeader::following(1, self.plan.store_id, &end);
            SegmentWriter::create(self.storage.as_ref(), to, header)
                .and_then(|writer| writer.finish(&end, false))
                .map_err(io_failed("writing", to))?;
            return Ok(Some((1, self.folder.join(file_name(1)))));
        };
        if !self.chain.ends_within {
            return Ok(None);
        }
        let copy = SegmentCopy {
            storage: &self.storage,
            segment: &Arc::new(Segment::new(&self.folder, *header, None)),
            until: self.chain.end.offset,
            goes_on: false,
            log_bytes: self.chain.end.offset,
            progress: &|_| {},
        };
        copy.copy(&mut header.end_before(), to)?;
        Ok(Some((found.number, found.path.clone())))
    }

    fn write_format(&self, aside: &Path) -> Result<(), MaintenanceError> {
        if self.has_format {
            return Ok(());
        }
        keep_copy(&self.data.join(identity::FILE), aside)?;
        identity::create(self.storage.as_ref(), KIND, &self.data, self.plan.store_id)?;
        Ok(())
    }

    /// A new folder for originals: `set-aside/1`, `set-aside/2` …
    fn aside(&self) -> Result<PathBuf, MaintenanceError> {
        let all = self.data.join(SET_ASIDE);
        create_folder(self.storage.as_ref(), &all)?;
        let mut number = 1_u64;
        while all.join(number.to_string()).exists() {
            number += 1;
        }
        let aside = all.join(number.to_string());
        create_folder(self.storage.as_ref(), &aside)?;
        Ok(aside)
    }

    fn sync(&self, aside: &Path) -> Result<(), MaintenanceError> {
        for folder in [aside, &self.folder] {
            self.storage
                .sync_folder(folder)
                .map_err(io_failed("syncing", folder))?;
        }
        Ok(())
    }
}

fn verify(reader: &JournalReader, progress: &(dyn Fn(CopyProgress) + Sync)) -> Verification {
    reader.verify(&|now| {
        progress(CopyProgress {
            bytes: now.bytes,
            bytes_of: now.bytes_of,
        });
    })
}

/// What is lost by a cut, in numbers.
fn reckon(
    plan: &mut RepairPlan,
    storage: &Arc<dyn Storage>,
    chain: &Chain,
    known: &LogEnd,
    has_marker: bool,
) -> Result<(), MaintenanceError> {
    let (whole, last) = chain.behind(storage)?;
    let mut sequence: LogSequence = last.sequence.max(known.sequence);
    let mut position: GlobalPosition = last.position.max(known.position);
    for segment in &chain.rest {
        let ends = segment.header.ok().map(|header| header.end_before());
        for end in ends
            .into_iter()
            .chain(segment.trailer.map(|trailer| trailer.end))
        {
            sequence = sequence.max(end.sequence);
            position = position.max(end.position);
        }
    }
    plan.whole_set_aside = whole;
    plan.lost_commits = sequence.get().saturating_sub(chain.end.sequence.get());
    plan.lost_events = position.get().saturating_sub(chain.end.position.get());
    plan.lost_at_least = !has_marker;
    plan.reasons.extend(chain.stop.clone());
    let within = chain.kept.last().filter(|_| chain.ends_within);
    let within = within.map(|(segment, header)| {
        let at = SEGMENT_HEADER_BYTES + chain.end.offset.saturating_sub(header.base_offset);
        (segment.path.clone(), at)
    });
    let behind = chain.rest.first().map(|segment| (segment.path.clone(), 0));
    plan.cut = within.or(behind);
    Ok(())
}

/// The store's id as the headers of the segments tell it or, if none can be read, the head marker.
fn store_id_of(storage: &dyn Storage, folder: &Path) -> Result<Uuid, MaintenanceError> {
    let mut ids = Vec::new();
    for segment in find_segments(storage, folder, Uuid::nil())? {
        let failed = |error| open_failed("reading", &segment.path, error);
        let file = storage
            .open(&segment.path, OpenMode::Read)
            .map_err(failed)?;
        let mut block = vec![0; SEGMENT_HEADER_BYTES as usize];
        file.read_at(&mut block, 0).map_err(failed)?;
        ids.extend(SegmentHeader::read(&block).map(|header| header.store_id));
    }
    if ids.is_empty() {
        let found = MarkerFile::read(storage, folder)
            .map_err(io_failed("reading the head marker in", folder))?;
        let marker = found.and_then(|found| found.marker);
        ids.extend(marker.map(|marker| marker.store_id));
    }
    ids.dedup();
    match ids.as_slice() {
        [id] => Ok(*id),
        _ => {
            let reason = "the `format` file cannot be read, and the segments do not tell whose they are: restore it from a backup";
            Err(MaintenanceError::damaged(folder, reason))
        }
    }
}

/// Copies a file, if it is there, and syncs the copy.
fn keep_copy(file: &Path, into: &Path) -> Result<(), MaintenanceError> {
    let Some(name) = file.file_name().filter(|_| file.is_file()) else {
        return Ok(());
    };
    let to = into.join(name);
    let copied = || -> io::Result<()> {
        fs::copy(file, &to)?;
        File::open(&to)?.sync_all()
    };
    copied().map_err(io_failed("copying to", &to))
}
