//! What anybody builds has no crash points and keeps its promises, whatever the environment says.
#![allow(clippy::expect_used, reason = "tests fail by panicking")]

use std::path::PathBuf;
use std::process::Command;

use chronicler::store::test_points::CrashPlace;

/// An example as anybody builds it, in the way this test was built.
fn example(name: &str) -> PathBuf {
    let this = std::env::current_exe().expect("this test");
    let profile = this
        .ancestors()
        .nth(2)
        .expect("target/debug or target/release");
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--quiet", "--example", name]);
    if profile.ends_with("release") {
        build.arg("--release");
    }
    let built = build.current_dir(env!("CARGO_MANIFEST_DIR")).status();
    assert!(
        built.expect("cargo runs").success(),
        "{name} does not build"
    );
    profile.join("examples").join(name)
}

#[test]
fn t8_an_example_neither_dies_nor_breaks_a_promise_because_a_variable_says_so() {
    let program = example("bank_account");
    // Places that every command comes by.
    for place in ["write", "synced", "answered", "reply", "replied"] {
        assert!(CrashPlace::ALL.iter().any(|(_, name)| *name == place));
        let folder = tempfile::tempdir().expect("a folder");
        let ran = Command::new(&program)
            .current_dir(folder.path())
            .env("CHRONICLER_DIE_AT", format!("{place}:1"))
            .env("CHRONICLER_BREAK", "sync-first")
            .output()
            .expect("it runs");
        assert!(ran.status.success(), "it died at {place}: {ran:?}");
    }
}
