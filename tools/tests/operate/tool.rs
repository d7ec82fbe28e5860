//! The binary, run to its end.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

/// What a run left.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) exit: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// The binary with arguments, not started yet.
pub(crate) fn command<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chronicler"));
    command.args(arguments).stdin(Stdio::null());
    command
}

/// Runs the binary.
pub(crate) fn run<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Ran {
    let output = command(arguments).output().unwrap();
    Ran {
        exit: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Runs a command on a directory with `--json`: the exit code, and the objects that it printed.
pub(crate) fn json(verb: &str, dir: &Path, more: &[&str]) -> (i32, Vec<Value>) {
    let mut arguments = vec![OsStr::new("--json"), OsStr::new(verb), dir.as_os_str()];
    arguments.extend(more.iter().map(OsStr::new));
    let ran = run(arguments);
    let lines = ran
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    (ran.exit, lines.collect())
}
