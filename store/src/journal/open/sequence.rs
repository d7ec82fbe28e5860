//! Opening in the right order: lock, identity, log, index, replay.

use std::path::Path;
use std::sync::Arc;

use chronicler_domain::LogSequence;
use uuid::Uuid;

use super::begin::begin;
use super::foreign::{refuse_foreign, refuse_foreign_if_there};
use super::found::io_failed;
use super::recover::recover;
use super::replay::{Replay, holds};
use super::report::OpenReport;
use crate::error::OpenError;
use crate::index::{Index, Watermark};
use crate::journal::disk::{Storage, create_folders};
use crate::journal::identity::{self, StoreKind};
use crate::journal::lock::DirectoryLock;
use crate::journal::marker::MarkerFile;
use crate::journal::memory::{FactTable, HeadTable};
use crate::journal::options::JournalOptions;
use crate::journal::read::LogView;
use crate::journal::segment::Catalogue;
use crate::journal::shared::{Beginning, Shared};
use crate::journal::unfinished;
use crate::journal::write::ActiveSegment;

/// Opens the index of a store, given its id, the journal's last commit, and whether the journal holds the
/// frame of a watermark. Tells in the report what it set aside.
pub(crate) type OpenIndex<'a> = dyn Fn(
        Uuid,
        LogSequence,
        &dyn Fn(&Watermark) -> Result<(), String>,
        &mut OpenReport,
    ) -> Result<Arc<dyn Index>, OpenError>
    + 'a;

/// An open journal, before its threads are started.
pub(crate) struct Opened {
    pub shared: Arc<Shared>,
    pub active: ActiveSegment,
    pub marker: MarkerFile,
    pub lock: DirectoryLock,
    pub report: OpenReport,
}

/// Opens the journal of a data directory; begins one where there is none.
pub(crate) fn open(
    kind: StoreKind,
    data: &Path,
    options: JournalOptions,
    storage: Arc<dyn Storage>,
    open_index: &OpenIndex<'_>,
    held: Option<DirectoryLock>,
) -> Result<Opened, OpenError> {
    // Looked at twice: before anything is made in it, and when nobody else can make anything.
    refuse_foreign_if_there(storage.as_ref(), data)?;
    create_folders(storage.as_ref(), data).map_err(|error| io_failed("creating", data, error))?;
    let lock = match held {
        Some(lock) => lock,
        None => DirectoryLock::take(data)?,
    };
    unfinished::refuse(storage.as_ref(), data, None)?;
    refuse_foreign(storage.as_ref(), data)?;
    let store_id = match identity::read(storage.as_ref(), kind, data)? {
        Some(store_id) => store_id,
        None => begin(storage.as_ref(), kind, data, options.segment_bytes)?,
    };
    let folder = data.join(kind.folder());
    let mut report = OpenReport::default();
    let recovered = recover(
        &storage,
        &folder,
        store_id,
        options.segment_bytes,
        &mut report,
    )?;
    if recovered.end.sequence == LogSequence::ZERO {
        // Its name can be in memory only, if the sync that should have made it durable failed. Once anything
        // has been acknowledged, an opening with this has gone before.
        identity::create(storage.as_ref(), kind, data, store_id)?;
    }
    let catalogue = Catalogue::new(recovered.segments);
    let view = LogView {
        storage: storage.clone(),
        segments: catalogue.segments(),
        end: recovered.end,
    };
    let in_journal = |watermark: &Watermark| holds(&view, store_id, watermark);
    let index = open_index(store_id, view.end.sequence, &in_journal, &mut report)?;
    let (heads, facts) = (HeadTable::default(), FactTable::default());
    let replay = Replay {
        view: &view,
        store_id,
        index: index.as_ref(),
        heads: &heads,
        facts: &facts,
    };
    report.replayed = replay.run(options.replay.as_ref())?;
    let shared = Shared::new(Beginning {
        storage,
        folder,
        store_id,
        options,
        catalogue,
        heads,
        facts,
        end: recovered.end,
        index,
    });
    Ok(Opened {
        shared: Arc::new(shared),
        active: recovered.active,
        marker: recovered.marker,
        lock,
        report,
    })
}
