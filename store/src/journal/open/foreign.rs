//! What may lie in a folder in which a store is to be begun.

use std::io;
use std::path::Path;

use super::cut::CUT;
use super::found::io_failed;
use super::mend::NEW_TAIL;
use crate::error::OpenError;
use crate::journal::disk::Storage;
use crate::journal::identity::{self, StoreKind};
use crate::journal::maintain::MANIFEST;
use crate::journal::segment::number_of;
use crate::journal::{lock, marker, unfinished};

/// What every folder may hold: of file systems, and (names that begin with a dot) of tools that keep something of their
/// own in it, or keep it from being empty.
const OF_ANY_FOLDER: &str = "lost+found";
/// What a beginning that was cut short leaves, or a listener that was killed.
const OF_A_BEGINNING: [&str; 4] = [lock::FILE, "format.new", unfinished::FILE, "operator.sock"];
/// What the names in a folder of sled begin with, the file that is ours beside sled's included.
const OF_SLED: [&str; 5] = ["conf", "db", "blobs", "snap.", "intent"];
/// How many names are told.
const TOLD_MAX: usize = 3;

/// Whether a name says nothing about whose folder it is in.
pub(crate) fn is_of_any_folder(name: &str) -> bool {
    name.starts_with('.') || name == OF_ANY_FOLDER
}

/// The names of what makes a folder somebody else's, ascending; none if a store may be begun in it.
pub(crate) fn foreign(names: Vec<String>) -> Vec<String> {
    let is_ours = |name: &String| {
        is_of_any_folder(name)
            || OF_A_BEGINNING.contains(&name.as_str())
            || StoreKind::ALL.iter().any(|kind| name == kind.folder())
    };
    let mut foreign: Vec<String> = names.into_iter().filter(|name| !is_ours(name)).collect();
    foreign.sort();
    foreign
}

/// The names of what lies in the folder that the log of a store would be in, and cannot be of one.
fn foreign_in_log(
    storage: &dyn Storage,
    kind: StoreKind,
    data: &Path,
) -> Result<Vec<String>, OpenError> {
    let folder = data.join(kind.folder());
    let names = match storage.list(&folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        names => names.map_err(|error| io_failed("listing", &folder, error))?,
    };
    let mut foreign = Vec::new();
    for name in names {
        // The files of a log that lies in sled are listed beside sled's own.
        let is_of_log = number_of(&name).is_some() || name == NEW_TAIL || name.starts_with(CUT);
        let is_ours = is_of_any_folder(&name)
            || is_of_log
            || match kind {
                _ if name == marker::FILE => marker::can_be_one(storage, &folder)
                    .map_err(|error| io_failed("reading", &folder.join(&name), error))?,
                StoreKind::Journal => false,
                StoreKind::Pages => OF_SLED.iter().any(|ours| name.starts_with(ours)),
            };
        if !is_ours {
            foreign.push(format!("{}/{name}", kind.folder()));
        }
    }
    foreign.sort();
    Ok(foreign)
}

/// Names what was found, and what to do.
pub(crate) fn told(foreign: &[String]) -> String {
    let first: Vec<String> = foreign
        .iter()
        .take(TOLD_MAX)
        .map(|name| format!("`{name}`"))
        .collect();
    let more = foreign.len().saturating_sub(TOLD_MAX);
    let more = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    format!(
        "it holds {}{more}: name a folder that is empty, or that is not there yet",
        first.join(", ")
    )
}

/// Refuses a folder that is no data directory and holds something else.
pub(super) fn refuse_foreign(storage: &dyn Storage, data: &Path) -> Result<(), OpenError> {
    let mut names = storage
        .list(data)
        .map_err(|error| io_failed("listing", data, error))?;
    if names.iter().any(|name| name == identity::FILE) {
        return match names.iter().any(|name| name == MANIFEST) {
            true => Err(OpenError::NotADirectory {
                path: data.to_path_buf(),
                reason: format!(
                    "it is a backup (it has `{MANIFEST}`), and what is written in one is gone with the next backup: let \
                     `chronicler restore` make a directory of it; to keep what an earlier release wrote in it, remove \
                     that file instead"
                ),
            }),
            false => Ok(()),
        };
    }
    // Of a directory that was one: that is told more exactly later.
    let was_one = names
        .iter()
        .any(|name| StoreKind::ALL.iter().any(|kind| name == kind.folder()));
    let of_one = |name: &str| name == "set-aside" || name.starts_with("sled.set-aside-");
    names.retain(|name| name != "sled" && !(was_one && of_one(name)));
    let mut foreign = foreign(names);
    for kind in StoreKind::ALL {
        foreign.extend(foreign_in_log(storage, kind, data)?);
    }
    if foreign.is_empty() {
        return Ok(());
    }
    Err(OpenError::NotADirectory {
        path: data.to_path_buf(),
        reason: format!("it has no `format` file, and {}", told(&foreign)),
    })
}

/// The same of a folder that may not be there yet.
pub(super) fn refuse_foreign_if_there(storage: &dyn Storage, data: &Path) -> Result<(), OpenError> {
    match storage.list(data) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        _ => refuse_foreign(storage, data),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_every_folder_may_hold_is_let_be_and_the_rest_is_named() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let harmless = [
            ".gitkeep",
            ".DS_Store",
            "lost+found",
            "lock",
            "journal",
            "format.new",
        ];
        assert!(foreign(names(&harmless)).is_empty());
        let found = foreign(names(&["z.txt", ".keep", "a", "b", "c"]));
        assert_eq!(found, ["a", "b", "c", "z.txt"]);
        let told = told(&found);
        assert!(told.contains("`a`, `b`, `c` and 1 more"), "{told}");
    }
}
