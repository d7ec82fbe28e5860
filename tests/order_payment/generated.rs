//! The example without arguments: the books agree, and a second run goes on.

use crate::program::{run, run_until, run_well};

#[test]
fn the_books_agree_also_after_kills_and_another_run_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let arguments = ["--orders", "400", "--data", data.to_str().unwrap()];
    for moment in [500, 2_500] {
        assert!(run_until(&arguments, &data, moment));
    }
    let first = run_well(&arguments);
    assert!(first.contains("as the shop's own books say"), "{first}");
    assert_eq!(number(&first, "reserved"), 0, "{first}");
    assert!(number(&first, "declined") > 0, "{first}");
    assert!(number(&first, "out of stock") > 0, "{first}");
    assert!(number(&first, "timed out") > 0, "{first}");
    assert_eq!(orders(&first), 400, "{first}");
    let second = run_well(&arguments);
    assert!(second.contains("going on with number 401"), "{second}");
    assert!(second.contains("rm -r"), "{second}");
    assert!(second.contains("as the shop's own books say"), "{second}");
    assert_eq!(orders(&second), 800, "{second}");
    let status = run_well(&["status", "--data", data.to_str().unwrap()]);
    assert!(status.contains("none"), "{status}");
}

#[test]
fn a_wrong_argument_is_explained() {
    for (arguments, wanted) in [
        (vec!["replay"], "--olist"),
        (vec!["replay", "--olist", "x"], "--feed"),
        (
            vec!["status", "--data", "/nowhere"],
            "no data of this example",
        ),
        (vec!["--orders", "0"], "1..="),
    ] {
        let output = run(&arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{arguments:?}");
        assert!(said.contains(wanted), "{arguments:?}: {said}");
    }
}

fn number(text: &str, name: &str) -> u64 {
    let line = text
        .lines()
        .find(|line| line.contains(name))
        .unwrap_or_default();
    let digits = line.split_whitespace().find_map(|word| word.parse().ok());
    digits.unwrap_or_default()
}

/// How many orders have ended, as the table says.
fn orders(text: &str) -> u64 {
    ["delivered", "rejected", "canceled"]
        .map(|name| number(text, name))
        .iter()
        .sum()
}
