//! docs/GUARANTEES.md against the code: every promise names a test, and every named test exists.
#![allow(clippy::expect_used, reason = "tests fail by panicking")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

#[test]
fn every_promise_names_a_test_that_exists() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("docs/GUARANTEES.md")).expect("the page is there");
    let mut tests = BTreeSet::new();
    functions(&root, &mut tests);
    let mut promises = 0;
    for line in page
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| id "))
    {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [id, _promise, proof] = cells.as_slice() else {
            panic!("a row has three cells, id, promise and test: {line}");
        };
        promises += 1;
        let named: Vec<&str> = proof.split('`').skip(1).step_by(2).collect();
        let decided_otherwise = proof.starts_with("decided otherwise:");
        assert!(
            decided_otherwise || !named.is_empty(),
            "{id} names no test: {line}"
        );
        for name in named {
            let function = name.rsplit("::").next().unwrap_or(name);
            assert!(
                tests.contains(function),
                "{id} names the test `{name}`, and there is none"
            );
        }
    }
    assert!(
        promises > 40,
        "only {promises} promises were found: is the table still a table?"
    );
}

/// The names of all functions in the tree's sources.
fn functions(folder: &Path, names: &mut BTreeSet<String>) {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    for path in entries.flatten().map(|entry| entry.path()) {
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            functions(&path, names);
        } else if name.ends_with(".rs") {
            let text = std::fs::read_to_string(&path).expect("readable");
            let found = text.split("fn ").skip(1).filter_map(|rest| {
                rest.split(|c: char| !c.is_alphanumeric() && c != '_')
                    .next()
            });
            names.extend(found.map(str::to_owned));
        }
    }
}
