//! Runs the example as its users do, and kills it as nobody should.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;

/// Names another build of the example than the one beside this test.
const ANOTHER: &str = "CHRONICLER_ORDER_PAYMENT";

/// Whether the example is one that runs at full speed.
pub(crate) fn is_quick() -> bool {
    !cfg!(debug_assertions) || std::env::var_os(ANOTHER).is_some()
}

/// The example, built as this test was unless another is named.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        if let Some(another) = std::env::var_os(ANOTHER) {
            return another.into();
        }
        let this = std::env::current_exe().unwrap();
        let profile = this.parent().unwrap().parent().unwrap();
        // A test that is run alone is not accompanied by the examples.
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--example", "order_payment"]);
        if profile.ends_with("release") {
            build.arg("--release");
        }
        let built = build.current_dir(env!("CARGO_MANIFEST_DIR")).status();
        assert!(built.unwrap().success(), "the example does not build");
        profile.join("examples/order_payment")
    })
}

/// Runs it to its end.
pub(crate) fn run(arguments: &[&str]) -> Output {
    Command::new(program()).args(arguments).output().unwrap()
}

/// Runs it to its end, which must be a good one; what it printed.
pub(crate) fn run_well(arguments: &[&str]) -> String {
    let output = run(arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

/// Runs it until its log holds so many commits, then kills it. False if it ended before.
pub(crate) fn run_until(arguments: &[&str], data: &Path, commits: u64) -> bool {
    let mut child = Command::new(program())
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let marker = data.join("chronicler/journal/head");
    while child.try_wait().unwrap().is_none() {
        if commits_in(&marker) >= commits {
            return kill(&mut child);
        }
        std::thread::park_timeout(std::time::Duration::from_millis(1));
    }
    false
}

/// SIGKILL: nothing of the process has a say in it.
fn kill(child: &mut Child) -> bool {
    child.kill().unwrap();
    !child.wait().unwrap().success()
}

/// How far the head marker says that the log goes; docs/FORMAT.md has its layout. Read while it is written, so
/// it may be torn: good enough to choose a moment.
fn commits_in(marker: &Path) -> u64 {
    const SEQUENCE_AT: usize = 8 + 8 + 16 + 8;
    let Ok(bytes) = std::fs::read(marker) else {
        return 0;
    };
    let slot = |slot: usize| {
        let at = slot * 4_096 + SEQUENCE_AT;
        let bytes = bytes.get(at..at + 8)?;
        Some(u64::from_le_bytes(bytes.try_into().ok()?))
    };
    slot(0).max(slot(1)).unwrap_or_default()
}

/// The folder with real input; `None`, visibly, where there is none.
pub(crate) fn shared(what: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("CHRONICLER_SHARED").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared"),
        PathBuf::from,
    );
    let found = folder.join(what);
    if found.exists() {
        return Some(found);
    }
    println!("skipped: there is no {}", found.display());
    None
}

/// A number by chance, below `below`. What it was is said by the test that fails.
pub(crate) fn by_chance(below: u64) -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0) % below.max(1)
}
