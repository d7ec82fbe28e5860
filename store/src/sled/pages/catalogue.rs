//! Which files there are, kept in memory; and what a crash left behind of those that are not.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

use parking_lot::Mutex;

use super::file::FileState;
use super::name_row::{self, NameRow};
use super::page;
use crate::index::IndexError;
use crate::sled::database::Database;

/// The files by name.
#[derive(Debug, Default)]
pub(super) struct Catalogue {
    pub(super) files: BTreeMap<String, KnownFile>,
    /// The number of the next file, and the next moment at which a name is given.
    next_number: u64,
    next_named: u64,
}

#[derive(Clone, Debug)]
pub(super) struct KnownFile {
    pub(super) number: u64,
    pub(super) state: Arc<Mutex<FileState>>,
}

/// The files of a database, and the numbers of those whose rows and pages are nobody's.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) catalogue: Catalogue,
    pub(super) left_behind: Vec<u64>,
}

impl Catalogue {
    /// Reads the rows of all files, and looks for pages of others.
    pub(super) fn load(db: &Database) -> Result<Loaded, IndexError> {
        let mut catalogue = Self::default();
        let mut left_behind = Vec::new();
        for (number, row) in rows(db)? {
            catalogue.next_number = catalogue.next_number.max(number + 1);
            catalogue.next_named = catalogue.next_named.max(row.named + 1);
            let written_to = page::at_or_before(db, number, u64::MAX)?;
            let file = KnownFile {
                number,
                state: Arc::new(Mutex::new(FileState {
                    written_to: written_to.map_or(0, |last| last.end()),
                    is_gone: false,
                    row: row.clone(),
                })),
            };
            let other = catalogue.files.get(&row.name);
            let is_older = |other: &KnownFile| other.state.lock().row.named > row.named;
            if other.is_some_and(is_older) {
                left_behind.push(number);
            } else {
                let replaced = catalogue.files.insert(row.name, file);
                left_behind.extend(replaced.map(|file| file.number));
            }
        }
        let mut seek = 0;
        while let Some(number) = page::next_file(db, seek)? {
            if !catalogue.files.values().any(|file| file.number == number) {
                left_behind.push(number);
            }
            catalogue.next_number = catalogue.next_number.max(number + 1);
            seek = number + 1;
        }
        left_behind.sort_unstable();
        left_behind.dedup();
        Ok(Loaded {
            catalogue,
            left_behind,
        })
    }

    /// An empty file under a name that it does not have yet.
    pub(super) fn new_file(&mut self, name: &str) -> KnownFile {
        let number = self.next_number;
        self.next_number += 1;
        let row = NameRow {
            named: self.name_now(),
            length: 0,
            name: name.to_owned(),
        };
        KnownFile {
            number,
            state: Arc::new(Mutex::new(FileState {
                row,
                written_to: 0,
                is_gone: false,
            })),
        }
    }

    /// The next moment at which a name is given.
    pub(super) fn name_now(&mut self) -> u64 {
        self.next_named += 1;
        self.next_named
    }
}

fn rows(db: &Database) -> Result<Vec<(u64, NameRow)>, IndexError> {
    let mut rows = Vec::new();
    let all = (Bound::Unbounded, Bound::Unbounded);
    db.scan(name_row::TREE, all.0, all.1, &mut |key, stored| {
        rows.push(NameRow::read(key, stored));
        ControlFlow::Continue(())
    })?;
    rows.into_iter().collect()
}
