//! What is no whole data directory is refused by name, and says what to do.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::fs;
use std::path::Path;
use std::sync::Mutex;

use bytes::Bytes;
use chronicler_domain::{
    GlobalPosition, LogSequence, SchemaVersion, StreamId, StreamVersion, Timestamp,
};
use chronicler_store::codec::CodecId;
use chronicler_store::journal::{
    ImportedCommit, JournalImport, JournalOptions, JournalReader, MaintenanceError, Repair,
    RepairAction, rebuild_index, restore,
};
use chronicler_store::{
    Append, EventLog, Expected, JournalStore, NewEvent, OpenError, SledOptions, SledStore,
};
use uuid::Uuid;

#[test]
fn l5_an_import_that_was_cut_short_anywhere_is_refused_by_name_and_no_repair_makes_it_whole() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let options = JournalOptions::default().segment_bytes(64 << 10);
    let mut import = JournalImport::begin(&data, &options).unwrap();
    // Enough for several segments; what a process that is killed leaves is what lies there at that moment.
    for number in 0..=2_000 {
        if [0, 1, 100, 1_999, 2_000].contains(&number) {
            let left = folder.path().join(number.to_string());
            copy(&data, &left);
            is_refused(&left, "import", "import into it again");
        }
        if number < 2_000 {
            import.push(&commit(number + 1)).unwrap();
        }
    }
    import.finish().unwrap();
    let store = JournalStore::open(&data, options).unwrap();
    assert_eq!(store.head().sequence.get(), 2_000);
}

#[test]
fn l5_a_restore_that_was_cut_short_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let (data, backup) = (folder.path().join("data"), folder.path().join("backup"));
    let mut import = JournalImport::begin(&data, &JournalOptions::default()).unwrap();
    (1..=500).for_each(|number| import.push(&commit(number)).unwrap());
    import.finish().unwrap();
    drop(JournalStore::open(&data, JournalOptions::default()).unwrap());
    let reader = JournalReader::open(&data).unwrap();
    reader.back_up(&backup, &|_| {}).unwrap();
    let (restored, left) = (folder.path().join("restored"), folder.path().join("left"));
    let copied = Mutex::new(false);
    restore(&backup, &restored, &|_| {
        let mut copied = copied.lock().unwrap();
        if !std::mem::replace(&mut *copied, true) {
            copy(&restored, &left);
        }
    })
    .unwrap();
    assert!(*copied.lock().unwrap());
    is_refused(&left, "restore", "restore into it again");
    let store = JournalStore::open(&restored, JournalOptions::default()).unwrap();
    assert_eq!(store.head().sequence.get(), 500);
}

#[test]
fn l5_a_repair_that_was_cut_short_is_refused_by_name_and_gone_on_with() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    drop(JournalStore::open(data, JournalOptions::default()).unwrap());
    let mark = "chronicler unfinished work\nrepair\n";
    fs::write(data.join("unfinished"), mark).unwrap();
    let open = JournalStore::open(data, JournalOptions::default());
    let error = open.unwrap_err().to_string();
    assert!(
        error.contains("run `chronicler repair` on it again"),
        "{error}"
    );
    // And one that comes upon nothing, since all but the last step was done.
    let repair = Repair::plan(data, &|_| {}).unwrap();
    assert_eq!(repair.what().action, RepairAction::Nothing);
    repair.perform(JournalOptions::default()).unwrap();
    JournalStore::open(data, JournalOptions::default()).unwrap();
}

#[test]
fn l5_a_repair_marks_the_directory_until_the_log_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    drop(JournalStore::open(data, JournalOptions::default()).unwrap());
    fs::remove_file(data.join("format")).unwrap();
    // Nothing can be set aside: the repair ends in the middle, as one that is killed there.
    fs::write(data.join("set-aside"), "in the way").unwrap();
    let repair = Repair::plan(data, &|_| {}).unwrap();
    repair.perform(JournalOptions::default()).unwrap_err();
    let open = JournalStore::open(data, JournalOptions::default());
    assert!(matches!(
        open.unwrap_err(),
        OpenError::Unfinished { work: "repair", .. }
    ));
    fs::remove_file(data.join("set-aside")).unwrap();
    let repair = Repair::plan(data, &|_| {}).unwrap();
    repair.perform(JournalOptions::default()).unwrap();
    JournalStore::open(data, JournalOptions::default()).unwrap();
}

#[test]
fn l5_a_repair_that_cuts_the_log_sets_the_index_aside_before_that() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    let mut import = JournalImport::begin(data, &JournalOptions::default()).unwrap();
    (1..=50).for_each(|number| import.push(&commit(number)).unwrap());
    import.finish().unwrap();
    drop(JournalStore::open(data, JournalOptions::default()).unwrap());
    assert!(data.join("sled/index").exists());
    let segment = data.join("journal/00000000000000000001.seg");
    let mut bytes = fs::read(&segment).unwrap();
    // After the header and some frames.
    bytes[4_096 + 4_000] ^= 0xff;
    fs::write(&segment, bytes).unwrap();
    // Nothing can be set aside of the log: the repair ends in the middle, as one that is killed there.
    fs::write(data.join("set-aside"), "in the way").unwrap();
    let repair = Repair::plan(data, &|_| {}).unwrap();
    assert_eq!(repair.what().action, RepairAction::Cut);
    repair.perform(JournalOptions::default()).unwrap_err();
    assert!(!data.join("sled/index").exists(), "it may know what is cut");
    fs::remove_file(data.join("set-aside")).unwrap();
    let repair = Repair::plan(data, &|_| {}).unwrap();
    repair.perform(JournalOptions::default()).unwrap();
    let store = JournalStore::open(data, JournalOptions::default()).unwrap();
    let head = store.head().sequence.get();
    assert!(0 < head && head < 50, "{head}");
}

#[test]
fn l4_no_store_is_begun_among_other_files_and_nothing_is_left_there() {
    for name in ["accounts.xlsx", "src", "manifest.json"] {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path();
        fs::create_dir(data.join(name)).unwrap();
        let errors = [
            JournalStore::open(data, JournalOptions::default())
                .map(drop)
                .unwrap_err(),
            SledStore::open(data, SledOptions::default())
                .map(drop)
                .unwrap_err(),
        ];
        for error in errors {
            assert!(matches!(error, OpenError::NotADirectory { .. }));
            let error = error.to_string();
            assert!(error.contains(&format!("`{name}`")), "{error}");
            assert!(error.contains("name a folder that is empty"), "{error}");
        }
        let error = JournalImport::begin(data, &JournalOptions::default()).unwrap_err();
        assert!(matches!(error, MaintenanceError::Refused { .. }), "{error}");
        assert_eq!(
            fs::read_dir(data).unwrap().count(),
            1,
            "{name}: nothing was made there"
        );
    }
}

#[test]
fn l4_a_folder_of_others_that_is_called_as_one_of_ours_is_let_be() {
    for (inside, text) in [
        ("journal/2024.md", "a day"),
        ("journal/head", "of a family"),
        ("log/app.log", "started"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(inside);
        fs::create_dir(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        let journal = JournalStore::open(folder.path(), JournalOptions::default()).map(drop);
        let sled = SledStore::open(folder.path(), SledOptions::default()).map(drop);
        for error in [journal, sled].map(Result::unwrap_err) {
            assert!(
                error.to_string().contains(&format!("`{inside}`")),
                "{error}"
            );
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}

#[test]
fn l4_nobody_writes_in_a_backup() {
    let folder = tempfile::tempdir().unwrap();
    let (data, backup) = (folder.path().join("data"), folder.path().join("backup"));
    drop(JournalStore::open(&data, JournalOptions::default()).unwrap());
    // On a file system of its own.
    fs::create_dir_all(backup.join("lost+found")).unwrap();
    let reader = JournalReader::open(&data).unwrap();
    reader.back_up(&backup, &|_| {}).unwrap();
    let error = JournalStore::open(&backup, JournalOptions::default()).unwrap_err();
    assert!(error.to_string().contains("chronicler restore"), "{error}");
    reader.back_up(&backup, &|_| {}).unwrap();
    JournalReader::open(&backup).unwrap();
}

#[test]
fn l4_what_every_folder_may_hold_is_in_nobodys_way() {
    let folder = tempfile::tempdir().unwrap();
    for kind in ["journal", "sled", "import"] {
        let data = folder.path().join(kind);
        fs::create_dir_all(data.join("lost+found")).unwrap();
        fs::write(data.join(".gitkeep"), "").unwrap();
        match kind {
            "journal" => drop(JournalStore::open(&data, JournalOptions::default()).unwrap()),
            "sled" => drop(SledStore::open(&data, SledOptions::default()).unwrap()),
            _ => {
                // One that is given up leaves what it found, and nothing else.
                drop(JournalImport::begin(&data, &JournalOptions::default()).unwrap());
                assert_eq!(fs::read_dir(&data).unwrap().count(), 2);
                let import = JournalImport::begin(&data, &JournalOptions::default()).unwrap();
                import.finish().unwrap();
                drop(JournalStore::open(&data, JournalOptions::default()).unwrap());
            }
        }
        assert!(data.join(".gitkeep").exists());
    }
}

#[test]
fn l4_what_others_made_in_a_data_directory_later_is_none_of_ours() {
    let folder = tempfile::tempdir().unwrap();
    drop(JournalStore::open(folder.path(), JournalOptions::default()).unwrap());
    fs::write(folder.path().join("README"), "whose this is").unwrap();
    JournalStore::open(folder.path(), JournalOptions::default()).unwrap();
}

/// Whoever wants to use it is told the work and what to do, and it stays as it is.
fn is_refused(data: &Path, work: &str, to_do: &str) {
    let journal = JournalStore::open(data, JournalOptions::default()).map(drop);
    let sled = SledStore::open(data, SledOptions::default()).map(drop);
    let reader = JournalReader::open(data).map(drop);
    for error in [journal, sled, reader].map(Result::unwrap_err) {
        assert!(matches!(error, OpenError::Unfinished { .. }), "{error}");
        let error = error.to_string();
        assert!(error.contains(work) && error.contains(to_do), "{error}");
    }
    let again = JournalImport::begin(data, &JournalOptions::default()).map(drop);
    let repair = Repair::plan(data, &|_| {}).map(drop);
    for error in [again, repair].map(Result::unwrap_err) {
        assert!(
            matches!(error, MaintenanceError::Open(OpenError::Unfinished { .. })),
            "{error}"
        );
    }
    rebuild_index(data, JournalOptions::default()).unwrap_err();
}

fn commit(number: u64) -> ImportedCommit {
    let event = NewEvent {
        id: None,
        event_type: "Deposited".into(),
        schema_version: SchemaVersion::FIRST,
        codec: CodecId::RAW,
        payload: Bytes::from(vec![7; 100]),
        metadata: Bytes::new(),
    };
    let (id, at) = (
        Uuid::from_u128(number.into()),
        Timestamp::from_micros(number),
    );
    let stream = StreamId::of("account", "alice").unwrap();
    ImportedCommit {
        sequence: LogSequence::new(number),
        first_position: GlobalPosition::new(number),
        first_versions: vec![StreamVersion::new(number)],
        append: Append::new(id, at).stream(stream, Expected::Any, vec![event]),
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}
