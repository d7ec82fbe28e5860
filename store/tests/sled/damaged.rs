//! Damage to the files of the log: everything is there, or an error says that it is not.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use chronicler_store::{EventLog, JournalStore};

use crate::commits::{commit, numbers, open};

/// Damaged copies of each kind in plain `cargo test`.
const ROUNDS: usize = 15;
const COMMITS: u64 = 1_500;

/// Positions that are the same in each run.
struct Positions(u64);

impl Positions {
    fn below(&mut self, limit: u64) -> u64 {
        let next = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = next.wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit.max(1)
    }
}

async fn history() -> tempfile::TempDir {
    let data = tempfile::tempdir().unwrap();
    // The second time sled finds something, and writes its own snapshot of where its pages are.
    for half in 0..2 {
        let store = open(data.path()).unwrap();
        let half = half * COMMITS / 2;
        let appends =
            (half + 1..=half + COMMITS / 2).map(|number| store.append(commit(number, 60)));
        for appended in futures::future::join_all(appends).await {
            appended.unwrap();
        }
        store.close().await;
    }
    data
}

/// How many of the damaged copies opened with everything there; the others are errors.
async fn tried(name: &str, damage: impl Fn(&File, &mut Positions) -> String) -> usize {
    let rounds = std::env::var("CHRONICLER_DAMAGE_ROUNDS");
    let rounds = rounds.map_or(ROUNDS, |rounds| rounds.parse().unwrap());
    let original = history().await;
    let mut positions = Positions(20_261_121);
    let mut whole = 0;
    for _ in 0..rounds {
        let data = tempfile::tempdir().unwrap();
        copy(original.path(), data.path());
        let path = data.path().join("log").join(name);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .unwrap();
        let what = damage(&file, &mut positions);
        let read = match open(data.path()) {
            Ok(store) => {
                let read = numbers(&store).await.map_err(|error| error.to_string());
                store.close().await;
                read
            }
            Err(error) => Err(error.to_string()),
        };
        match read {
            Ok(found) => {
                assert_eq!(found, (1..=COMMITS).collect::<Vec<_>>(), "{name}: {what}");
                whole += 1;
            }
            Err(error) => assert!(
                error.contains("restore"),
                "{name}: {what}: an error says what to do: {error}"
            ),
        }
    }
    println!("{name}: {whole} of {rounds} damaged copies are whole, the others are errors");
    whole
}

fn flip(file: &File, positions: &mut Positions) -> String {
    let at = positions.below(file.metadata().unwrap().len());
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    byte[0] ^= 1 << positions.below(8);
    file.write_all_at(&byte, at).unwrap();
    format!("bit flipped in byte {at}")
}

fn cut(file: &File, positions: &mut Positions) -> String {
    let at = positions.below(file.metadata().unwrap().len());
    file.set_len(at).unwrap();
    format!("cut at {at}")
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            fs::create_dir(&to).unwrap();
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

#[tokio::test]
async fn k3_a_flipped_bit_in_a_log_in_sled_is_an_error_or_harmless() {
    tried("db", flip).await;
}

#[tokio::test]
async fn k3_a_flipped_bit_in_the_head_marker_beside_sled_is_harmless() {
    // Each slot is a block of 4 KiB with 100 bytes in use, and one is enough.
    assert!(tried("head", flip).await > 0);
}

#[tokio::test]
async fn k4_a_log_in_sled_that_is_cut_anywhere_is_never_shorter_in_silence() {
    tried("db", cut).await;
}

#[tokio::test]
async fn k4_a_log_in_sled_whose_database_is_gone_is_an_error() {
    let data = history().await;
    for file in fs::read_dir(data.path().join("log")).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_file() && name != "head" {
            fs::remove_file(path).unwrap();
        }
    }
    let error = open(data.path()).unwrap_err().to_string();
    assert!(error.contains("restore"), "{error}");
}

#[tokio::test]
async fn a_directory_without_its_format_file_is_begun_anew_by_neither_store() {
    let data = history().await;
    fs::remove_file(data.path().join("format")).unwrap();
    for error in [
        open(data.path()).unwrap_err().to_string(),
        JournalStore::open(data.path(), Default::default())
            .unwrap_err()
            .to_string(),
    ] {
        assert!(error.contains("its `format` file is missing"), "{error}");
    }
    let data = tempfile::tempdir().unwrap();
    drop(JournalStore::open(data.path(), Default::default()).unwrap());
    fs::remove_file(data.path().join("format")).unwrap();
    let error = open(data.path()).unwrap_err().to_string();
    assert!(error.contains("holds the log of a JournalStore"), "{error}");
    // Nor where all that is left is what was made of the log.
    let data = tempfile::tempdir().unwrap();
    drop(JournalStore::open(data.path(), Default::default()).unwrap());
    fs::remove_file(data.path().join("format")).unwrap();
    fs::remove_dir_all(data.path().join("journal")).unwrap();
    for error in [
        open(data.path()).unwrap_err().to_string(),
        JournalStore::open(data.path(), Default::default())
            .unwrap_err()
            .to_string(),
    ] {
        assert!(error.contains("it has a `sled` folder"), "{error}");
    }
}
