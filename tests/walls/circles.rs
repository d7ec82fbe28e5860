//! Files that name each other in a circle: whoever wants to read one of them has to read them all.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// How many files may name each other without a reason in ARCHITECTURE: a thing and what it is made of, seen from both
/// sides.
const FILES_MAX: usize = 3;

/// One file of each larger circle.
const WITH_A_REASON: [&str; 1] = ["sagas/src/definition/steps/saga.rs"];

#[test]
fn no_large_circle_of_files_is_without_a_reason() {
    let mut large = Vec::new();
    for name in super::CRATES.iter().copied().chain(["."]) {
        let found = circles_below(&super::root().join(name).join("src"));
        large.extend(found.into_iter().filter(|circle| circle.len() > FILES_MAX));
    }
    let known = WITH_A_REASON.map(|file| super::root().join(file));
    large.retain(|circle| !known.iter().any(|file| circle.contains(file)));
    assert!(large.is_empty(), "these name each other: {large:#?}");
}

#[test]
fn a_circle_is_found_through_what_is_handed_on() {
    let sources = [
        ("", "mod a; mod b; pub use b::Outer;"),
        ("a", "use crate::b::{Outer, other::Thing};"),
        (
            "b",
            "mod inner; mod other; pub(crate) use inner::{Inner, Outer};",
        ),
        ("b::inner", "pub struct Outer(super::other::Thing);"),
        (
            "b::other",
            "// use super::inner::Inner;\nfn f() { crate::a::g(); }",
        ),
        ("c", "use crate::{Outer, a::g};"),
    ];
    let modules = sources.map(|(path, text)| {
        let names = path.split("::").filter(|name| !name.is_empty());
        (names.map(str::to_owned).collect(), text.to_owned())
    });
    let found = circles(&modules.into());
    let names: Vec<Vec<_>> = found
        .iter()
        .map(|circle| circle.iter().map(|module| module.join("::")).collect())
        .collect();
    assert_eq!(names, [["a", "b::inner", "b::other"]]);
}

/// A path of names from the root of a crate: of a module, or of something in one.
type Names = Vec<String>;

/// The circles of the files below a crate's folder of sources.
fn circles_below(src: &Path) -> Vec<BTreeSet<PathBuf>> {
    let (mut files, mut texts) = (BTreeMap::new(), BTreeMap::new());
    for file in super::sources(src) {
        let inside = file.strip_prefix(src).expect("it is below");
        let inside = inside.with_extension("");
        let mut module: Names = inside
            .iter()
            .map(|name| name.to_string_lossy().into_owned())
            .collect();
        if module.iter().any(|name| name.ends_with("tests")) {
            continue;
        }
        if let Some("mod" | "lib" | "main") = module.last().map(String::as_str) {
            module.pop();
        }
        let text = std::fs::read_to_string(&file).expect("readable");
        texts.insert(module.clone(), text);
        files.insert(module, file);
    }
    let file = |module: &Names| files[module].clone();
    let circles = circles(&texts).into_iter();
    circles
        .map(|circle| circle.iter().map(file).collect())
        .collect()
}

/// The modules of a crate that name each other, given what each has in its file.
fn circles(texts: &BTreeMap<Names, String>) -> Vec<BTreeSet<Names>> {
    let mut handed_on = BTreeMap::new();
    let mut named = BTreeMap::new();
    for (module, text) in texts {
        let mut all = Vec::new();
        for found in paths(&shipped(text)) {
            let Some(path) = absolute(module, &found.names, texts) else {
                continue;
            };
            match (found.is_handed_on, path.last()) {
                (true, Some(name)) => drop(handed_on.insert((module, name.clone()), path)),
                _ => all.push(path),
            }
        }
        named.insert(module, all);
    }
    let defined_in = |path: &Names| {
        let mut path = path.clone();
        // What is handed on may be handed on by the next one, too.
        for _ in 0..8 {
            let is_module = |length: &usize| texts.contains_key(&path[..*length]);
            let length = (0..=path.len()).rev().find(is_module)?;
            let module = path[..length].to_vec();
            let Some(next) = path.get(length) else {
                return (length > 0).then_some(module);
            };
            match handed_on.get(&(&module, next.clone())) {
                Some(further) => {
                    path = further.iter().chain(&path[length + 1..]).cloned().collect()
                }
                None => return Some(module),
            }
        }
        None
    };
    let arrows: BTreeMap<&Names, BTreeSet<Names>> = named
        .iter()
        .map(|(module, paths)| (*module, paths.iter().filter_map(defined_in).collect()))
        .collect();
    let mut found: Vec<BTreeSet<Names>> = Vec::new();
    for module in arrows.keys().copied() {
        let ahead = reached(module, &arrows);
        let circle = ahead
            .into_iter()
            .filter(|other| reached(other, &arrows).contains(module));
        let circle: BTreeSet<_> = circle.collect();
        if circle.len() > 1 && !found.contains(&circle) {
            found.push(circle);
        }
    }
    found
}

/// The modules that one names, that these name, and so on.
fn reached(from: &Names, arrows: &BTreeMap<&Names, BTreeSet<Names>>) -> BTreeSet<Names> {
    let (mut reached, mut to_visit) = (BTreeSet::new(), vec![from.clone()]);
    while let Some(module) = to_visit.pop() {
        for next in arrows.get(&module).into_iter().flatten() {
            if reached.insert(next.clone()) {
                to_visit.push(next.clone());
            }
        }
    }
    reached
}

/// The code of a file without comments, tests, and what is for the documentation only.
fn shipped(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or("");
    let mut code = String::new();
    let mut is_for_docs = false;
    for line in text.lines() {
        let line = line.split("//").next().unwrap_or("");
        if !std::mem::replace(&mut is_for_docs, line.trim() == "#[cfg(doc)]") {
            code.push_str(line);
            code.push('\n');
        }
    }
    code
}

/// A path that a file has, as it stands there.
struct Found {
    names: Names,
    /// Others name it as if it were of this module.
    is_handed_on: bool,
}

/// The paths of a file that may lead to another one.
fn paths(code: &str) -> Vec<Found> {
    let mut found = Vec::new();
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let mut rest = code;
    let mut before = "";
    while let Some(at) = rest.find(is_name) {
        let whole = &code[..code.len() - rest.len() + at];
        rest = &rest[at..];
        let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        let is_path = matches!(word, "crate" | "super" | "self") && after.starts_with("::");
        if word == "use" {
            let (tree, after) = after.split_once(';').unwrap_or((after, ""));
            let is_handed_on = before == "pub" || whole.trim_end().ends_with(')');
            let trees = expand(tree);
            found.extend(trees.into_iter().map(|names| Found {
                names,
                is_handed_on,
            }));
            rest = after;
        } else if is_path {
            let end = rest.find(|c| !is_name(c) && c != ':').unwrap_or(rest.len());
            let (path, after) = rest.split_at(end);
            found.push(Found {
                names: expand(path).concat(),
                is_handed_on: false,
            });
            rest = after;
        } else {
            rest = after;
        }
        before = word;
    }
    found
}

/// The paths of a tree: `a::{b, c::d}` is `a::b` and `a::c::d`.
fn expand(tree: &str) -> Vec<Names> {
    let (path, inner) = match tree.split_once('{') {
        Some((path, inner)) => (path, inner.rsplit_once('}').map(|(inner, _)| inner)),
        None => (tree, None),
    };
    let path = path.split(" as ").next().unwrap_or("");
    let names = path
        .split("::")
        .map(str::trim)
        .filter(|name| !name.is_empty());
    let names: Names = names.map(str::to_owned).collect();
    let Some(inner) = inner else {
        return vec![names];
    };
    let mut depth = 0;
    let branches = inner.split(|c| {
        depth += i32::from(c == '{') - i32::from(c == '}');
        depth == 0 && c == ','
    });
    branches
        .filter(|branch| !branch.trim().is_empty())
        .flat_map(expand)
        .map(|branch| names.iter().chain(&branch).cloned().collect())
        .collect()
}

/// A path from the root of the crate; `None` if it leads to another crate.
fn absolute(module: &Names, path: &Names, texts: &BTreeMap<Names, String>) -> Option<Names> {
    let mut base = module.clone();
    let mut rest = path.iter().peekable();
    match rest.peek()?.as_str() {
        "crate" => {
            base.clear();
            rest.next();
        }
        "self" => drop(rest.next()),
        "super" => {
            while rest.next_if(|name| *name == "super").is_some() {
                base.pop();
            }
        }
        child => {
            let mut below = module.clone();
            below.push(child.to_owned());
            texts.get(&below)?;
        }
    }
    base.extend(rest.cloned());
    Some(base)
}
