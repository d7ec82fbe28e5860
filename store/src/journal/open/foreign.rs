//! What may lie in a folder in which a store is to be begun.

use std::io;
use std::path::Path;

use super::found::io_failed;
use crate::error::OpenError;
use crate::journal::disk::Storage;
use crate::journal::identity::{self, StoreKind};
use crate::journal::{lock, unfinished};

/// What every folder may hold: of file systems, and (names that begin with a dot) of tools that keep something of their
/// own in it, or keep it from being empty.
const OF_ANY_FOLDER: &str = "lost+found";
/// What a beginning that was cut short leaves, or a listener that was killed.
const OF_A_BEGINNING: [&str; 4] = [lock::FILE, "format.new", unfinished::FILE, "operator.sock"];
/// How many names are told.
const TOLD_MAX: usize = 3;

/// The names of what makes a folder somebody else's, ascending; none if a store may be begun in it.
pub(crate) fn foreign(names: Vec<String>) -> Vec<String> {
    let is_ours = |name: &String| {
        name.starts_with('.')
            || name == OF_ANY_FOLDER
            || OF_A_BEGINNING.contains(&name.as_str())
            || StoreKind::ALL.iter().any(|kind| name == kind.folder())
    };
    let mut foreign: Vec<String> = names.into_iter().filter(|name| !is_ours(name)).collect();
    foreign.sort();
    foreign
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
        return Ok(());
    }
    // Of a directory that was one: that is told more exactly later.
    let was_one = names
        .iter()
        .any(|name| StoreKind::ALL.iter().any(|kind| name == kind.folder()));
    let of_one = |name: &str| name == "set-aside" || name.starts_with("sled.set-aside-");
    names.retain(|name| name != "sled" && !(was_one && of_one(name)));
    let foreign = foreign(names);
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
