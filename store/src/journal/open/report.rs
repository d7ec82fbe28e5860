//! What opening a journal found and did.

use std::path::PathBuf;

use chronicler_domain::{GlobalPosition, LogSequence};

/// What opening a journal found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct OpenReport {
    /// Commits that were read from the journal to bring the index up to date.
    pub replayed: u64,
    /// Commits beyond the head marker that were found whole, and kept.
    pub kept_beyond_marker: u64,
    /// What was cut off behind the last whole commit.
    pub cut: Vec<CutTail>,
    /// Segments whose footer was missing or damaged and was written again.
    pub sealed_again: u64,
    /// Slots of the head marker that could not be read; with both gone the end was found by reading on.
    pub marker_slots_damaged: usize,
    /// Whether the head marker was missing altogether.
    pub marker_missing: bool,
    /// Why the index that was there is not used; it was rebuilt from the journal.
    pub index_set_aside: Option<String>,
    /// Why the snapshots and views that were there are not used; they are made again.
    pub derived_set_aside: Option<String>,
}

/// Bytes that were cut off behind the last whole commit, and kept aside.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CutTail {
    /// Where they are kept.
    pub path: PathBuf,
    /// How many.
    pub bytes: u64,
    /// The last commit before them.
    pub sequence: LogSequence,
    /// The last event before them.
    pub position: GlobalPosition,
    /// Why they are not a commit.
    pub reason: String,
}
