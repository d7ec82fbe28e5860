//! `repair` makes a log that opens and is whole, says what it costs, and keeps the originals.

use std::fs;
use std::path::Path;

use serde_json::Value;

use chronicler_store::RecordedEvent;

use crate::directory::{Directory, append, damage, events, open};
use crate::tool::{json, run};

const COMMITS: u64 = 600;
const EVENTS: usize = 800;

/// Repairs: the plan and the report.
fn repair(directory: &Directory) -> (Value, Value) {
    let refused = run([
        "--json".as_ref(),
        "repair".as_ref(),
        directory.path.as_os_str(),
    ]);
    let (exit, mut lines) = json("repair", &directory.path, &["--yes"]);
    assert_eq!(exit, 0, "{lines:?}");
    assert_eq!(lines.len(), 2);
    let plan = lines.remove(0);
    if plan["action"] != "nothing" {
        assert_eq!(
            refused.exit, 3,
            "without --yes nothing is done: {refused:?}"
        );
        let first: Value = serde_json::from_str(refused.out.lines().next().unwrap()).unwrap();
        assert_eq!(first["action"], plan["action"]);
    }
    let (exit, verified) = json("verify", &directory.path, &[]);
    assert_eq!(exit, 0, "{verified:?}");
    (plan, lines.remove(0))
}

/// What is left is the beginning of what was, and can be written on.
async fn is_beginning(directory: &Directory, all: &[RecordedEvent], plan: &Value) {
    let left = events(&directory.path).await;
    assert_eq!(left, all[..left.len()]);
    assert_eq!(plan["position_after"], left.len());
    assert_eq!(plan["lost_events"], all.len() - left.len());
    let store = open(&directory.path);
    append(&store, 10_000..10_003).await;
    drop(store);
    let (exit, verified) = json("verify", &directory.path, &[]);
    assert_eq!(exit, 0, "{verified:?}");
}

fn aside(report: &Value, name: &str) -> Vec<u8> {
    fs::read(Path::new(report["set_aside"].as_str().unwrap()).join(name)).unwrap()
}

#[tokio::test]
async fn damage_in_the_middle_cuts_before_it_and_says_what_is_lost() {
    let directory = Directory::with(COMMITS).await;
    let all = events(&directory.path).await;
    assert_eq!(all.len(), EVENTS);
    damage(&directory.segment(2), 30_000);
    let original = fs::read(directory.segment(2)).unwrap();
    let later = fs::read(directory.segment(3)).unwrap();
    let (plan, report) = repair(&directory);
    assert_eq!(plan["action"], "cut");
    assert!(
        plan["cut_file"]
            .as_str()
            .unwrap()
            .ends_with("00000000000000000002.seg")
    );
    let after = plan["commit_after"].as_u64().unwrap();
    let lost = plan["lost_commits"].as_u64().unwrap();
    assert_eq!(after + lost, COMMITS);
    assert_eq!(
        plan["whole_commits_set_aside"],
        lost - 1,
        "all but the damaged one"
    );
    assert_eq!(plan["lost_at_least"], false);
    assert!(aside(&report, "00000000000000000002.seg") == original);
    assert!(aside(&report, "00000000000000000003.seg") == later);
    is_beginning(&directory, &all, &plan).await;
}

#[tokio::test]
async fn a_repaired_log_is_repaired_again_into_another_folder() {
    let directory = Directory::with(COMMITS).await;
    damage(&directory.segment(2), 30_000);
    let (_, first) = repair(&directory);
    damage(&directory.segment(1), 30_000);
    let (plan, second) = repair(&directory);
    assert_eq!(plan["action"], "cut");
    assert_ne!(first["set_aside"], second["set_aside"]);
    let (plan, _) = repair(&directory);
    assert_eq!(plan["action"], "nothing");
}

#[tokio::test]
async fn every_kind_of_damage_ends_in_a_whole_log_that_is_a_beginning_of_the_one_before() {
    let whole = Directory::with(COMMITS).await;
    let all = events(&whole.path).await;
    // As the store of the test leaves it.
    let segments = json("stat", &whole.path, &[]).1[0]["segments"]
        .as_array()
        .unwrap()
        .len() as u64;
    type Harm = Box<dyn Fn(&Directory)>;
    let remove = |number: u64| -> Harm {
        Box::new(move |d: &Directory| fs::remove_file(d.segment(number)).unwrap())
    };
    let flip =
        |number: u64, at: usize| -> Harm { Box::new(move |d| damage(&d.segment(number), at)) };
    let cut = |number: u64, keep: u64| -> Harm {
        Box::new(move |d| {
            let file = fs::OpenOptions::new()
                .write(true)
                .open(d.segment(number))
                .unwrap();
            file.set_len(keep).unwrap();
        })
    };
    let harms: Vec<(&str, Harm, bool)> = vec![
        ("header of the first", flip(1, 30), true),
        ("header of another", flip(3, 30), true),
        ("frame of the first", flip(1, 4_100), true),
        ("frame of the last", flip(segments, 6_000), true),
        ("first is gone", remove(1), true),
        ("one is gone", remove(2), true),
        ("last is gone", remove(segments), true),
        ("one is cut", cut(2, 20_000), true),
        ("one is empty", cut(2, 0), true),
        ("last is cut", cut(segments, 5_000), true),
        (
            "two are swapped",
            Box::new(|d: &Directory| {
                let (a, b) = (
                    fs::read(d.segment(2)).unwrap(),
                    fs::read(d.segment(3)).unwrap(),
                );
                fs::write(d.segment(2), b).unwrap();
                fs::write(d.segment(3), a).unwrap();
            }),
            true,
        ),
        (
            "marker and frame",
            Box::new(|d: &Directory| {
                damage(&d.segment(2), 30_000);
                fs::remove_file(d.head()).unwrap();
            }),
            true,
        ),
        (
            "marker is gone",
            Box::new(|d: &Directory| fs::remove_file(d.head()).unwrap()),
            false,
        ),
        (
            "a slot",
            Box::new(|d: &Directory| damage(&d.head(), 20)),
            false,
        ),
        (
            "both slots",
            Box::new(|d: &Directory| {
                damage(&d.head(), 20);
                damage(&d.head(), 4_120);
            }),
            false,
        ),
        (
            "a footer",
            Box::new(|d: &Directory| {
                let bytes = fs::metadata(d.segment(1)).unwrap().len();
                damage(&d.segment(1), bytes as usize - 5);
            }),
            false,
        ),
        (
            "format is gone",
            Box::new(|d: &Directory| fs::remove_file(d.path.join("format")).unwrap()),
            false,
        ),
        (
            "format is damaged",
            Box::new(|d: &Directory| damage(&d.path.join("format"), 40)),
            false,
        ),
        (
            "format and every header",
            Box::new(move |d: &Directory| {
                fs::remove_file(d.path.join("format")).unwrap();
                (1..=segments).for_each(|number| damage(&d.segment(number), 30));
            }),
            true,
        ),
        (
            "sled",
            Box::new(|d: &Directory| {
                for file in fs::read_dir(d.path.join("sled/index")).unwrap() {
                    let path = file.unwrap().path();
                    if path.is_file() {
                        fs::write(path, "garbage").unwrap();
                    }
                }
            }),
            false,
        ),
        (
            "lock",
            Box::new(|d: &Directory| fs::write(d.path.join("lock"), [0xff; 99]).unwrap()),
            false,
        ),
    ];
    for (name, harm, loses) in harms {
        println!("{name}");
        let directory = Directory::none();
        copy_tree(&whole.path, &directory.path);
        harm(&directory);
        let (plan, _) = repair(&directory);
        if !loses {
            assert_eq!(plan["lost_commits"], 0, "{name}: {plan}");
            assert_eq!(events(&directory.path).await, all, "{name}");
        }
        if name == "header of another" {
            let whole = &plan["whole_commits_set_aside"];
            assert_eq!(whole, &plan["lost_commits"], "no commit is damaged: {plan}");
        }
        if name == "marker and frame" {
            assert_eq!(plan["lost_at_least"], true, "{plan}");
        }
        is_beginning(&directory, &all, &plan).await;
    }
}

#[tokio::test]
async fn what_an_application_has_open_is_not_repaired() {
    let directory = Directory::with(10).await;
    let store = directory.open();
    for verb in ["repair", "rebuild-index"] {
        let ran = run([verb.as_ref(), directory.path.as_os_str()]);
        assert_eq!(ran.exit, 3, "{ran:?}");
        assert!(ran.err.contains("in use by process"), "{ran:?}");
    }
    drop(store);
    let missing = Directory::none();
    assert_eq!(run(["repair".as_ref(), missing.path.as_os_str()]).exit, 2);
    assert!(!missing.path.exists());
}

#[tokio::test]
async fn the_index_is_built_again_and_the_old_one_kept() {
    let directory = Directory::with(COMMITS).await;
    let all = events(&directory.path).await;
    let (exit, report) = json("rebuild-index", &directory.path, &[]);
    assert_eq!(
        (exit, &report[0]["commits"]),
        (0, &COMMITS.into()),
        "{report:?}"
    );
    let aside = report[0]["set_aside"].as_array().unwrap();
    assert_eq!(aside.len(), 2);
    assert!(
        aside
            .iter()
            .all(|path| Path::new(path.as_str().unwrap()).is_dir())
    );
    assert_eq!(events(&directory.path).await, all);
    let store = directory.open();
    append(&store, [COMMITS + 1]).await;
    assert_eq!(store.open_report().replayed, 0, "the new index is used");
}

fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let to = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_tree(&path, &to);
        } else {
            fs::copy(&path, to).unwrap();
        }
    }
}
