//! The names in one simulated folder: as seen, and as they lie on the medium.

use std::collections::BTreeMap;

use super::random::Random;

/// Which file a name means.
pub(super) type FileNumber = usize;

/// The names in one folder.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    pub now: BTreeMap<String, FileNumber>,
    synced: BTreeMap<String, FileNumber>,
    unsynced: Vec<Change>,
}

#[derive(Clone, Debug)]
enum Change {
    Create(String, FileNumber),
    Rename(String, String, FileNumber),
    Remove(String),
}

impl Names {
    pub(super) fn create(&mut self, name: &str, file: FileNumber) {
        self.change(Change::Create(name.to_owned(), file));
    }

    pub(super) fn rename(&mut self, from: &str, to: &str, file: FileNumber) {
        self.change(Change::Rename(from.to_owned(), to.to_owned(), file));
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.change(Change::Remove(name.to_owned()));
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.now);
        self.unsynced.push(change);
    }

    pub(super) fn sync(&mut self) {
        for change in self.unsynced.drain(..) {
            change.apply(&mut self.synced);
        }
    }

    /// A sync that failed: what reached the medium is left to chance, and no later sync writes it.
    pub(super) fn sync_failed(&mut self, random: &mut Random) {
        self.synced = self.after_cut(random);
        self.unsynced.clear();
    }

    /// What is left after a power cut.
    pub(super) fn cut(&self, random: &mut Random) -> Self {
        let left = self.after_cut(random);
        Self {
            now: left.clone(),
            synced: left,
            unsynced: Vec::new(),
        }
    }

    /// Each change comes through or does not; half of the times in order, as on a file system with a journal.
    fn after_cut(&self, random: &mut Random) -> BTreeMap<String, FileNumber> {
        let mut left = self.synced.clone();
        let in_order = random.one_in(2);
        let until = random.below(self.unsynced.len() as u64 + 1) as usize;
        for (number, change) in self.unsynced.iter().enumerate() {
            let comes_through = if in_order {
                number < until
            } else {
                random.one_in(2)
            };
            if comes_through {
                change.apply(&mut left);
            }
        }
        left
    }
}

impl Change {
    fn apply(&self, names: &mut BTreeMap<String, FileNumber>) {
        match self {
            Self::Create(name, file) => {
                names.insert(name.clone(), *file);
            }
            Self::Rename(from, to, file) => {
                if names.get(from) == Some(file) {
                    names.remove(from);
                }
                names.insert(to.clone(), *file);
            }
            Self::Remove(name) => {
                names.remove(name);
            }
        }
    }
}
