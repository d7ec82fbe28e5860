//! Programs that must not compile, and what the compiler says about each: it reads like help.
//!
//! `cargo test -p chronicler-sagas --test refused -- --ignored`, as CI does; with `TRYBUILD=overwrite` it writes down what
//! the compiler says now.

use std::process::Command;

/// The compiler whose words are in the files: another one may say the same in others.
const RUSTC: &str = "rustc 1.95";

#[test]
#[ignore = "checks all dependencies once more, which takes a minute; CI runs it"]
fn wrong_definitions_do_not_compile_and_are_told_why() {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = Command::new(rustc).arg("--version").output();
    let version = version.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    match version {
        Ok(version) if version.starts_with(RUSTC) => {
            trybuild::TestCases::new().compile_fail("tests/refused/*.rs");
        }
        other => println!("skipped: the words are those of {RUSTC}, and this is {other:?}"),
    }
}
