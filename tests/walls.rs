//! The walls between the crates, and the house rules that a compiler does not check.
#![allow(clippy::expect_used, reason = "tests fail by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

#[path = "walls/circles.rs"]
mod circles;

const CRATES: [&str; 7] = [
    "domain",
    "store",
    "runtime",
    "projections",
    "sagas",
    "testkit",
    "tools",
];

/// Packages beside these and the front door: the shop of the example `order_payment`.
const PACKAGES_OF_EXAMPLES: usize = 1;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Normal dependencies of each workspace package, as cargo sees them.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--no-deps",
            "--offline",
        ])
        .current_dir(root())
        .output()
        .expect("cargo metadata runs");
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let normal = |package: &serde_json::Value| {
        let all = package["dependencies"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        all.iter()
            .filter(|d| d["kind"].is_null())
            .map(|d| text(&d["name"]))
            .collect()
    };
    metadata["packages"]
        .as_array()
        .expect("packages")
        .iter()
        .map(|package| (text(&package["name"]), normal(package)))
        .collect()
}

#[test]
fn dependencies_point_one_way() {
    let (domain, store, runtime) = (
        "chronicler-domain",
        "chronicler-store",
        "chronicler-runtime",
    );
    let (projections, sagas) = ("chronicler-projections", "chronicler-sagas");
    let allowed: &[(&str, &[&str])] = &[
        (domain, &[]),
        (store, &[domain]),
        (runtime, &[domain, store]),
        (projections, &[domain, store, runtime]),
        (sagas, &[domain, store, runtime]),
        ("chronicler", &[domain, store, runtime, projections, sagas]),
    ];
    let found = dependencies();
    for (name, allowed) in allowed {
        let ours = found[*name]
            .iter()
            .filter(|dependency| dependency.starts_with("chronicler"));
        let wrong: Vec<_> = ours
            .filter(|dependency| !allowed.contains(&dependency.as_str()))
            .collect();
        assert!(wrong.is_empty(), "{name} may not depend on {wrong:?}");
    }
}

#[test]
fn each_foreign_engine_has_one_home() {
    let found = dependencies();
    let users = |engine: &str| -> Vec<&str> {
        let all = found.iter().filter(|(_, all)| all.contains(engine));
        all.map(|(name, _)| name.as_str()).collect()
    };
    assert_eq!(users("ractor"), ["chronicler-runtime"]);
    assert_eq!(users("sled"), ["chronicler-store"]);
    assert_eq!(users("bincode"), ["chronicler-store"]);
    for forbidden in ["tokio", "ractor", "futures", "bincode", "bytes", "sled"] {
        assert!(
            !found["chronicler-domain"].contains(forbidden),
            "domain knows {forbidden}"
        );
    }
    let outside = |home: &str, engine: &str| -> Vec<PathBuf> {
        let named = format!("{engine}::");
        sources(&root().join("store/src"))
            .into_iter()
            .filter(|file| !file.starts_with(root().join(home)))
            .filter(|file| code(file).iter().any(|line| names(line, &named)))
            .collect()
    };
    assert_eq!(outside("store/src/sled", "sled"), Vec::<PathBuf>::new());
    assert_eq!(outside("store/src/codec", "bincode"), Vec::<PathBuf>::new());
}

/// Whether a line uses a path of a foreign crate, and not a module of ours with the same name.
fn names(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        let before = &line[..at];
        !before.ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':')
    })
}

#[test]
fn every_file_says_what_it_is_for() {
    let folders = CRATES
        .iter()
        .chain(&["src", "examples", "tests", "benches"]);
    let silent: Vec<_> = folders
        .flat_map(|folder| sources(&root().join(folder)))
        .filter(|file| {
            !std::fs::read_to_string(file)
                .expect("readable")
                .starts_with("//! ")
        })
        .collect();
    assert!(
        silent.is_empty(),
        "these do not begin with `//! `: {silent:?}"
    );
}

#[test]
fn no_file_is_named_after_nothing() {
    let vague = ["util", "utils", "helpers", "common", "misc", "manager"];
    let stem = |file: &PathBuf| {
        file.file_stem()
            .and_then(|stem| stem.to_str())
            .map(str::to_owned)
    };
    let found: Vec<_> = CRATES
        .iter()
        .flat_map(|name| sources(&root().join(name)))
        .filter(|file| stem(file).is_some_and(|stem| vague.contains(&stem.as_str())))
        .collect();
    assert!(
        found.is_empty(),
        "name these after what they hold: {found:?}"
    );
}

/// An error that nobody thought of would be given somebody else's answer.
#[test]
fn d1_no_error_says_what_became_of_a_request_by_a_wildcard() {
    let asked = [
        "fn outcome(&self) -> Outcome",
        "fn is_retryable(&self) -> bool",
    ];
    let (mut found, mut looked_at) = (Vec::new(), 0);
    for file in CRATES
        .iter()
        .chain(&["src"])
        .flat_map(|name| sources(&root().join(name)))
    {
        let lines = code(&file);
        let starts = lines.iter().enumerate();
        let starts = starts.filter(|(_, line)| asked.iter().any(|asked| line.contains(asked)));
        for (start, _) in starts {
            looked_at += 1;
            let ends = |line: &&String| !line.contains("fn ") || line.contains(asked[0]);
            let body = lines.iter().skip(start + 1).take_while(ends);
            let guesses = |line: &String| line.starts_with("_ =>") || line.contains("!(self,");
            if body.clone().any(guesses) {
                found.push((file.clone(), start));
            }
        }
    }
    assert!(looked_at >= 7, "only {looked_at} were found");
    assert!(found.is_empty(), "these have a wildcard: {found:?}");
}

/// A dependency that turned it on would arm every example and bench that is built beside the tests.
#[test]
fn t8_nothing_turns_the_test_points_on() {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--no-deps",
            "--offline",
        ])
        .current_dir(root())
        .output()
        .expect("cargo metadata runs");
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    assert_eq!(packages.len(), CRATES.len() + 1 + PACKAGES_OF_EXAMPLES);
    let names = |list: &serde_json::Value| -> Vec<String> {
        let list = list.as_array().cloned().unwrap_or_default();
        let texts = list
            .iter()
            .filter_map(|name| name.as_str().map(str::to_owned));
        texts.collect()
    };
    for package in packages {
        let features = package["features"].as_object().expect("features");
        for (feature, turns_on) in features {
            let is_ours = names(turns_on)
                .iter()
                .any(|name| name.contains("test-points"));
            assert!(!is_ours, "{}: {feature}", package["name"]);
        }
        for dependency in package["dependencies"].as_array().expect("dependencies") {
            let features = names(&dependency["features"]);
            assert!(
                !features.iter().any(|name| name == "test-points"),
                "{} turns it on in {}",
                package["name"],
                dependency["name"]
            );
        }
    }
}

/// Every other wait is for a while and goes by the monotonic clock: one that is a date would take as long as somebody
/// sets the wall clock back.
#[test]
fn only_timers_wait_for_a_date() {
    let library = ["store", "runtime", "projections", "sagas", "."];
    let wait: Vec<_> = library
        .iter()
        .flat_map(|name| sources(&root().join(name).join("src")))
        .filter(|file| code(file).iter().any(|line| line.contains("sleep_until(")))
        .filter(|file| !file.ends_with("runtime/src/clock.rs"))
        .collect();
    assert_eq!(wait, [root().join("runtime/src/timers/worker.rs")]);
}

fn code(file: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(file).expect("readable");
    let lines = text
        .lines()
        .map(str::trim_start)
        .filter(|line| !line.starts_with("//"));
    lines.map(str::to_owned).collect()
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// Whoever creates a folder makes its name durable, and one function does both.
#[test]
fn w4_folders_are_created_in_one_place() {
    let mut found = Vec::new();
    for name in CRATES {
        for file in sources(&root().join(name).join("src")) {
            let text = std::fs::read_to_string(&file).expect("readable");
            // What tests prepare is theirs.
            let shipped = text.split("#[cfg(test)]").next().unwrap_or_default();
            let is_test = file.to_string_lossy().contains("tests");
            if !is_test && shipped.contains("create_dir") {
                found.push(file);
            }
        }
    }
    assert_eq!(found, [root().join("store/src/journal/disk/real.rs")]);
}
