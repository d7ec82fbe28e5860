//! `verify` finds nothing in a whole directory and everything in a damaged one.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use serde_json::Value;

use crate::directory::Directory;
use crate::tool::{json, run};

const COMMITS: u64 = 600;

fn flip(file: &Path, at: u64) {
    let open = OpenOptions::new()
        .read(true)
        .write(true)
        .open(file)
        .unwrap();
    let mut byte = [0];
    open.read_exact_at(&mut byte, at).unwrap();
    open.write_all_at(&[byte[0] ^ 4], at).unwrap();
}

fn verify(directory: &Directory) -> (i32, Value) {
    let (exit, mut lines) = json("verify", &directory.path, &[]);
    assert_eq!(lines.len(), 1);
    (exit, lines.remove(0))
}

#[tokio::test]
async fn a_whole_directory_is_whole() {
    let directory = Directory::with(COMMITS).await;
    let (exit, report) = verify(&directory);
    assert_eq!(exit, 0, "{report}");
    assert_eq!(report["whole"], true);
    assert_eq!(report["closed"], true);
    assert_eq!(report["commits"], COMMITS);
    assert_eq!(report["events"], COMMITS + COMMITS / 3);
    assert_eq!(report["position"], report["events"]);
    let files = fs::read_dir(directory.path.join("journal")).unwrap();
    let segments: Vec<_> = files
        .map(|file| file.unwrap())
        .filter(|file| file.file_name().to_string_lossy().ends_with(".seg"))
        .collect();
    assert!(segments.len() > 4);
    assert_eq!(report["segments"], segments.len());
    let bytes: u64 = segments
        .iter()
        .map(|file| file.metadata().unwrap().len())
        .sum();
    assert_eq!(report["bytes"], bytes, "every byte is read");
    let text = run(["verify".as_ref(), directory.path.as_os_str()]);
    assert!(
        text.out.contains("whole") && text.out.contains("MB/s"),
        "{text:?}"
    );
}

#[tokio::test]
async fn an_empty_directory_is_whole() {
    let directory = Directory::with(0).await;
    let (exit, report) = verify(&directory);
    assert_eq!((exit, &report["commits"]), (0, &Value::from(0)), "{report}");
}

#[tokio::test]
async fn k3_a_flipped_bit_anywhere_in_the_journal_is_named() {
    let directory = Directory::with(COMMITS).await;
    let last = 2;
    for file in [
        directory.segment(1),
        directory.segment(last),
        directory.head(),
    ] {
        let length = fs::metadata(&file).unwrap().len();
        let whole = fs::read(&file).unwrap();
        let places = (0..length).step_by(997).chain(length - 300..length);
        for at in places {
            flip(&file, at);
            let ran = chronicler_verify(&directory.path);
            // The second half of a slot of the head marker holds nothing.
            let unused = file == directory.head() && at % 4_096 >= 100;
            assert_eq!(
                ran.0 == 0,
                unused,
                "byte {at} of {}: {}",
                file.display(),
                ran.1
            );
            if !unused {
                assert!(ran.1.contains(file.file_name().unwrap().to_str().unwrap()));
                assert!(ran.1.contains("what to do"), "{}", ran.1);
            }
            fs::write(&file, &whole).unwrap();
        }
    }
}

/// The same through the library: a process for each flipped bit would take long.
fn chronicler_verify(path: &Path) -> (u8, String) {
    let mut out = Vec::new();
    let arguments = ["chronicler".into(), "verify".into(), path.into()];
    let exit = chronicler_tools::run(arguments, &mut out, &chronicler_tools::SelfDescribing);
    (exit as u8, String::from_utf8(out).unwrap())
}

#[tokio::test]
async fn a_damaged_byte_is_named_by_segment_offset_and_position() {
    let directory = Directory::with(COMMITS).await;
    flip(&directory.segment(3), 30_000);
    let (exit, report) = verify(&directory);
    assert_eq!(exit, 1);
    let damage = report["damage"].as_array().unwrap();
    assert_eq!(damage.len(), 1, "{report}");
    let file = damage[0]["file"].as_str().unwrap();
    assert!(file.ends_with("00000000000000000003.seg"), "{file}");
    let offset = damage[0]["offset"].as_u64().unwrap();
    assert!(
        (28_000..=30_000).contains(&offset),
        "the frame that holds it: {offset}"
    );
    assert!(damage[0]["after_position"].as_u64().unwrap() > 100);
    assert_eq!(damage[0]["remedy"], "restore");
    assert!(report["commits"].as_u64().unwrap() < COMMITS);
    assert!(
        report["commits"].as_u64().unwrap() > COMMITS / 2,
        "the other segments are read"
    );
}

#[tokio::test]
async fn a_missing_segment_and_swapped_segments_are_named() {
    let directory = Directory::with(COMMITS).await;
    let aside = directory.path.join("aside");
    fs::rename(directory.segment(2), &aside).unwrap();
    let (exit, report) = verify(&directory);
    assert_eq!(exit, 1);
    let reason = report["damage"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("missing"), "{report}");
    assert_eq!(report["damage"].as_array().unwrap().len(), 1, "{report}");

    fs::rename(directory.segment(3), directory.segment(2)).unwrap();
    fs::rename(&aside, directory.segment(3)).unwrap();
    let (exit, report) = verify(&directory);
    assert_eq!(exit, 1);
    assert_eq!(report["damage"].as_array().unwrap().len(), 2, "{report}");
}

#[tokio::test]
async fn the_last_segment_missing_or_cut_short_is_named() {
    let directory = Directory::with(COMMITS).await;
    let (_, whole) = verify(&directory);
    let last = directory.segment(whole["segments"].as_u64().unwrap());
    let bytes = fs::read(&last).unwrap();
    for keep in [0, 100, 4_096, 6_000, bytes.len() - 1] {
        fs::write(&last, &bytes[..keep]).unwrap();
        let (exit, report) = verify(&directory);
        assert_eq!(exit, 1, "cut at {keep}: {report}");
    }
    fs::remove_file(&last).unwrap();
    let (exit, report) = verify(&directory);
    assert_eq!(exit, 1, "{report}");
}

#[tokio::test]
async fn a_footer_and_a_marker_that_opening_mends_are_said_to_be() {
    let directory = Directory::with(COMMITS).await;
    let length = fs::metadata(directory.segment(1)).unwrap().len();
    flip(&directory.segment(1), length - 5);
    fs::remove_file(directory.head()).unwrap();
    let (exit, report) = verify(&directory);
    assert_eq!(exit, 1);
    let damage = report["damage"].as_array().unwrap();
    assert_eq!(damage.len(), 2, "{report}");
    assert!(
        damage.iter().all(|damage| damage["remedy"] == "open"),
        "{report}"
    );
    // And so it is.
    directory.open();
    let (exit, report) = verify(&directory);
    assert_eq!((exit, &report["commits"]), (0, &COMMITS.into()), "{report}");
}

#[test]
fn what_cannot_be_opened_ends_with_2_and_wrong_arguments_with_64() {
    let directory = Directory::none();
    let missing = run(["verify".as_ref(), directory.path.as_os_str()]);
    assert_eq!(missing.exit, 2);
    assert!(
        missing.err.contains("not a Chronicler data directory"),
        "{missing:?}"
    );
    let missing = run([
        "--json".as_ref(),
        "verify".as_ref(),
        directory.path.as_os_str(),
    ]);
    let error: Value = serde_json::from_str(&missing.err).unwrap();
    assert_eq!(error["exit"], 2);

    fs::create_dir(&directory.path).unwrap();
    File::create(directory.path.join("format")).unwrap();
    assert_eq!(run(["verify".as_ref(), directory.path.as_os_str()]).exit, 2);

    for wrong in [
        &["verify"][..],
        &["frobnicate"],
        &["events", "x", "--stream", "alice"],
    ] {
        let ran = run(wrong);
        assert_eq!(ran.exit, 64, "{ran:?}");
        assert!(ran.err.contains("error"), "{ran:?}");
    }
    assert_eq!(run(["--help"]).exit, 0);
}

#[test]
fn completions_are_printed_for_each_shell() {
    for shell in ["bash", "zsh", "fish"] {
        let ran = run(["completions", shell]);
        assert_eq!(ran.exit, 0);
        assert!(ran.out.contains("verify"), "{shell}");
    }
}

#[tokio::test]
async fn a_segment_behind_the_end_and_behind_a_gap_is_named() {
    let directory = Directory::with(200).await;
    let journal = directory.path.join("journal");
    let stray = journal.join("00000000000000000999.seg");
    std::fs::copy(journal.join("00000000000000000001.seg"), &stray).unwrap();
    let (exit, lines) = json("verify", &directory.path, &[]);
    assert_eq!(exit, 1);
    let damage = &lines[0]["damage"].to_string();
    assert!(damage.contains("00000000000000000999.seg"), "{damage}");
}
