//! The pages against the tree: every file they name is there, every link leads somewhere.
#![allow(clippy::expect_used, reason = "tests fail by panicking")]

use std::path::{Path, PathBuf};

const PAGES: [&str; 5] = [
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "docs",
];

#[test]
fn every_source_file_that_a_page_names_is_there() {
    let root = root();
    let mut named = 0;
    for (page, text) in pages() {
        // Between backticks: a path from the root, down to a file.
        for name in text.split('`').skip(1).step_by(2) {
            let is_path = name.ends_with(".rs") && name.contains('/') && !name.contains(' ');
            if is_path {
                named += 1;
                assert!(root.join(name).is_file(), "{page} names {name}");
            }
        }
    }
    assert!(
        named > 20,
        "only {named} files were found: has the style changed?"
    );
}

#[test]
fn every_link_to_a_file_leads_somewhere() {
    let root = root();
    let mut links = 0;
    for (page, text) in pages() {
        let folder = root.join(&page);
        let folder = folder.parent().expect("a page lies in a folder");
        for target in text.split("](").skip(1) {
            let target = target.split([')', '#']).next().unwrap_or_default();
            if target.is_empty() || target.contains("://") {
                continue;
            }
            links += 1;
            assert!(folder.join(target).exists(), "{page} links to {target}");
        }
    }
    assert!(
        links > 15,
        "only {links} links were found: has the style changed?"
    );
}

/// All pages with their texts, by their path from the root.
fn pages() -> Vec<(String, String)> {
    let root = root();
    let mut found = Vec::new();
    for page in PAGES {
        collect(&root, &root.join(page), &mut found);
    }
    found
}

fn collect(root: &Path, path: &Path, found: &mut Vec<(String, String)>) {
    if path.is_dir() {
        for entry in std::fs::read_dir(path).expect("readable") {
            collect(root, &entry.expect("readable").path(), found);
        }
    } else if path.extension().is_some_and(|extension| extension == "md") {
        let name = path.strip_prefix(root).expect("below the root");
        let text = std::fs::read_to_string(path).expect("readable");
        found.push((name.to_string_lossy().into_owned(), text));
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
