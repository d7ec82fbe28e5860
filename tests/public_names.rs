//! The public names of each crate, against the lists in docs/api: what becomes public, or is no longer, is seen in a diff.
//!
//! `cargo test --test public_names -- --ignored as_listed` checks the lists, and `… -- --ignored renew_the_lists` writes them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "tests fail by panicking"
)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The front door, and the crates that it and users reach.
const CRATES: [&str; 8] = [
    "chronicler",
    "chronicler-domain",
    "chronicler-store",
    "chronicler-runtime",
    "chronicler-projections",
    "chronicler-sagas",
    "chronicler-testkit",
    "chronicler-tools",
];

#[test]
#[ignore = "documents all crates: a step of its own in CI"]
fn public_names_are_as_listed() {
    let mut differences = Vec::new();
    for (name, found) in public_names() {
        let listed = std::fs::read_to_string(list_of(name)).unwrap_or_default();
        let listed: BTreeSet<String> = listed.lines().map(str::to_owned).collect();
        let (more, less) = (found.difference(&listed), listed.difference(&found));
        differences.extend(more.map(|line| format!("{name}: + {line}")));
        differences.extend(less.map(|line| format!("{name}: - {line}")));
    }
    assert!(
        differences.is_empty(),
        "what is public is not what docs/api says. If it is meant: \
         cargo test --test public_names -- --ignored renew_the_lists\n{}",
        differences.join("\n")
    );
}

#[test]
#[ignore = "writes the lists"]
fn renew_the_lists() {
    for (name, found) in public_names() {
        let lines: Vec<String> = found.into_iter().collect();
        std::fs::write(list_of(name), lines.join("\n") + "\n").unwrap();
        println!("{name}: {} names", lines.len());
    }
}

#[test]
fn a_name_is_cut_out_of_its_item() {
    let names = [
        (
            "pub fn a::Of<T>::at<F: Fn(u8) -> u8>(&self, f: F) -> core::option::Option<T>",
            "fn a::Of::at",
        ),
        ("pub async fn a::go()", "fn a::go"),
        ("pub const fn a::One::new() -> Self", "fn a::One::new"),
        (
            "#[non_exhaustive] pub struct a::Options",
            "struct a::Options",
        ),
        ("pub a::Options::limit: usize", "a::Options::limit"),
        ("pub a::Kind::Two(u8)", "a::Kind::Two"),
        (
            "pub trait a::Store: a::Log + core::marker::Send",
            "trait a::Store",
        ),
        ("pub const a::LIMIT: usize", "const a::LIMIT"),
        (
            "pub type a::Saga::Start: serde::Serialize",
            "type a::Saga::Start",
        ),
        ("pub macro a::step_keys!", "macro a::step_keys!"),
        (
            "pub use a::domain::<<chronicler_domain::*>>",
            "use a::domain",
        ),
    ];
    for (item, name) in names {
        assert_eq!(name_of(item).as_deref(), Some(name), "{item}");
    }
    assert_eq!(name_of("impl core::fmt::Debug for a::Of"), None);
}

/// The names of each crate, from what rustdoc says of it.
fn public_names() -> Vec<(&'static str, BTreeSet<String>)> {
    let root = root();
    let mut document = Command::new(env!("CARGO"));
    document.args(["doc", "--no-deps", "--lib", "--quiet"]);
    for name in CRATES {
        document.args(["--package", name]);
    }
    let documented = document
        .current_dir(&root)
        .env("RUSTDOC", root.join(".ci/rustdoc"))
        .env("RUSTDOCFLAGS", "-Z unstable-options --output-format json")
        .status();
    assert!(documented.expect("cargo runs").success());
    let this = std::env::current_exe().unwrap();
    let target = this.ancestors().nth(3).expect("target/debug/deps/…");
    let read = |name: &'static str| {
        let file = format!("doc/{}.json", name.replace('-', "_"));
        let api = public_api::Builder::from_rustdoc_json(target.join(file))
            .omit_blanket_impls(true)
            .omit_auto_trait_impls(true)
            .omit_auto_derived_impls(true)
            .build()
            .expect("a rustdoc whose JSON the crate public-api of Cargo.toml reads");
        let items = api.items().map(ToString::to_string);
        (name, items.filter_map(|item| name_of(&item)).collect())
    };
    CRATES.map(read).into()
}

/// Kind and path of an item, without what it takes, gives and is bound by. Implementations have no name.
fn name_of(item: &str) -> Option<String> {
    let (_, item) = item.split_once("pub ")?;
    let mut words: Vec<&str> = item.split_inclusive(' ').collect();
    words.retain(|word| !["async ", "unsafe "].contains(word));
    let is_const_fn = words.first() == Some(&"const ") && words.get(1) == Some(&"fn ");
    let item = words[usize::from(is_const_fn)..].concat();
    let (mut name, mut depth) = (String::new(), 0_u32);
    let mut rest = item.chars().peekable();
    let mut before = ' ';
    while let Some(letter) = rest.next() {
        match letter {
            '<' => depth += 1,
            // Not that of an arrow.
            '>' if before != '-' => depth -= 1,
            _ if depth > 0 => {}
            ':' if before != ':' && rest.peek() != Some(&':') => break,
            '(' | '=' => break,
            _ => name.push(letter),
        }
        before = letter;
    }
    let name = name.split(" where ").next().unwrap_or_default();
    Some(name.trim_end_matches([':', ' ']).to_owned())
}

fn list_of(name: &str) -> PathBuf {
    root().join("docs/api").join(format!("{name}.txt"))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}
