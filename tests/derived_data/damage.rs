//! Every way in which the folder of sled can be wrong.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use chronicler::store::journal::OpenReport;

use crate::files::{Files, write};
use crate::history::{History, Left};
use crate::observe::{self, assert_same};

/// Made once: each test has a copy.
static HISTORY: LazyLock<History> = LazyLock::new(|| {
    // On a thread of its own, since a test that gets here first is already within a runtime.
    let making = std::thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = { runtime }.worker_threads(2).enable_all().build();
        runtime.unwrap().block_on(History::make())
    });
    making.join().unwrap()
});

/// What is damaged: what is remembered about the log, snapshots and views, or both.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Part {
    Index,
    Derived,
    Both,
}

const PARTS: [Part; 3] = [Part::Index, Part::Derived, Part::Both];

impl Part {
    fn path(self) -> PathBuf {
        match self {
            Self::Index => "sled/index".into(),
            Self::Derived => "sled/derived".into(),
            Self::Both => "sled".into(),
        }
    }

    fn has_index(self) -> bool {
        self != Self::Derived
    }

    fn has_derived(self) -> bool {
        self != Self::Index
    }

    fn of(self, files: &Files) -> Files {
        let path = self.path();
        let inner = files.iter().filter(|(name, _)| name.starts_with(&path));
        let inner: Files = inner
            .map(|(name, bytes)| (name.clone(), bytes.clone()))
            .collect();
        assert!(inner.len() >= 2, "{self:?} has {:?}", inner.keys());
        inner
    }
}

/// Puts other files in the place of a part, and holds everything against what was there before.
async fn damaged(
    part: Part,
    damage: impl Fn(Files) -> Files,
    is_noticed: impl Fn(&OpenReport) -> bool,
) {
    let data = HISTORY.stopped.restore();
    replace(data.path(), part, &damage(part.of(&HISTORY.stopped.files)));
    let report = answers_as_before(data.path(), &format!("{part:?}")).await;
    assert!(is_noticed(&report), "{part:?} was not noticed: {report:?}");
    // It is whole again: the next start has nothing to mend.
    assert_whole(&HISTORY.stopped, data.path()).await;
}

fn replace(data: &Path, part: Part, files: &Files) {
    std::fs::remove_dir_all(data.join(part.path())).unwrap();
    write(data, files);
}

async fn answers_as_before(data: &Path, what: &str) -> OpenReport {
    let life = HISTORY.stopped.open(data).await;
    let report = life.app.open_report().unwrap().clone();
    let answers = observe::places(&life.app, &life.gateway).await;
    assert_same(&HISTORY.at_once, &answers, &format!("{what}, at once"));
    let later = HISTORY.go_on(&life).await;
    assert_same(&HISTORY.later, &later, &format!("{what}, later"));
    life.app.stop().await;
    report
}

async fn assert_whole(left: &Left, data: &Path) {
    let life = left.open(data).await;
    let report = life.app.open_report().unwrap();
    assert_eq!(report, &OpenReport::default());
    life.app.stop().await;
}

fn each(files: Files, damage: impl Fn(&Path, Vec<u8>) -> Vec<u8>) -> Files {
    let damaged = files.into_iter().map(|(name, bytes)| {
        let bytes = damage(&name, bytes);
        (name, bytes)
    });
    damaged.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k5_what_was_left_behind_is_answered_without_mending() {
    let data = HISTORY.stopped.restore();
    let report = answers_as_before(data.path(), "untouched").await;
    assert_eq!(report, OpenReport::default());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k5_a_deleted_sled_folder_is_built_again_and_everything_answered_as_before() {
    for part in PARTS {
        let noticed = |report: &OpenReport| !part.has_index() || report.replayed > 0;
        damaged(part, |_| Files::new(), noticed).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k5_a_sled_folder_cut_to_half_is_built_again_and_everything_answered_as_before() {
    for part in PARTS {
        let half = |_: &Path, bytes: Vec<u8>| bytes[..bytes.len() / 2].to_vec();
        damaged(
            part,
            |files| each(files, half),
            |report| set_aside(part, report),
        )
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k5_a_sled_folder_of_garbage_is_built_again_and_everything_answered_as_before() {
    for part in PARTS {
        let garbage = |name: &Path, bytes: Vec<u8>| garbage(name, bytes.len());
        damaged(
            part,
            |files| each(files, garbage),
            |report| set_aside(part, report),
        )
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k5_an_older_sled_folder_is_brought_up_to_date_and_everything_answered_as_before() {
    for part in PARTS {
        let noticed = |report: &OpenReport| !part.has_index() || report.replayed > 0;
        damaged(part, |_| part.of(&HISTORY.midway.files), noticed).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k5_the_sled_folder_of_another_store_is_not_used_and_everything_answered_as_before() {
    for part in PARTS {
        damaged(
            part,
            |_| part.of(&HISTORY.another.files),
            |report| set_aside(part, report),
        )
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k5_one_damaged_file_of_sled_costs_time_and_nothing_else() {
    let files = Part::Both.of(&HISTORY.stopped.files);
    for (name, bytes) in files.iter().filter(|(_, bytes)| !bytes.is_empty()) {
        let half = bytes[..bytes.len() / 2].to_vec();
        let damages = [("cut", half), ("garbage", garbage(name, bytes.len()))];
        for (damage, bytes) in damages {
            let data = HISTORY.stopped.restore();
            std::fs::write(data.path().join(name), bytes).unwrap();
            answers_as_before(data.path(), &format!("{}: {damage}", name.display())).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k5_killed_and_damaged_everything_is_answered_as_before_and_nothing_done_twice() {
    type Damage = fn(Part) -> Files;
    let damages: [(&str, Damage); 4] = [
        ("untouched", |part| part.of(&HISTORY.killed.files)),
        ("deleted", |_| Files::new()),
        ("older", |part| part.of(&HISTORY.midway.files)),
        ("garbage", |part| {
            let garbage = |name: &Path, bytes: Vec<u8>| garbage(name, bytes.len());
            each(part.of(&HISTORY.killed.files), garbage)
        }),
    ];
    for (damage, files) in damages {
        for part in PARTS {
            let what = format!("killed, {part:?} {damage}");
            let data = HISTORY.killed.restore();
            replace(data.path(), part, &files(part));
            let life = HISTORY.killed.open(data.path()).await;
            let answers = observe::answers(&life.app, &life.gateway).await;
            assert_same(&HISTORY.answers_at_once(), &answers, &what);
            let later = HISTORY.go_on(&life).await;
            assert_same(&HISTORY.later, &later, &format!("{what}, later"));
            life.app.stop().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k5_a_sled_folder_that_is_ahead_of_the_log_or_of_another_history_is_not_used() {
    for (what, left) in [("midway", &HISTORY.midway), ("forked", &HISTORY.forked)] {
        let whole = left.restore();
        let life = left.open(whole.path()).await;
        let expected = observe::places(&life.app, &life.gateway).await;
        life.app.stop().await;
        for part in PARTS {
            let data = left.restore();
            replace(data.path(), part, &part.of(&HISTORY.stopped.files));
            let life = left.open(data.path()).await;
            let report = life.app.open_report().unwrap().clone();
            let answers = observe::places(&life.app, &life.gateway).await;
            assert_same(&expected, &answers, &format!("{part:?}, {what}"));
            assert!(set_aside(part, &report), "{part:?}, {what}: {report:?}");
            life.app.stop().await;
            assert_whole(left, data.path()).await;
        }
    }
}

/// Whether the part was found to be what it must not be.
fn set_aside(part: Part, report: &OpenReport) -> bool {
    report.index_set_aside.is_some() == part.has_index()
        && report.derived_set_aside.is_some() == part.has_derived()
}

/// Bytes that mean nothing, the same each time.
fn garbage(name: &Path, length: usize) -> Vec<u8> {
    let seed = name.as_os_str().len() as u64 + 1;
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    std::iter::repeat_with(next).take(length).collect()
}
