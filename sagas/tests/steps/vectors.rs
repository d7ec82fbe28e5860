//! The scripts that other projects hold their sagas to, read from their file, over step sagas of the same shape.

pub(crate) mod booking;
pub(crate) mod credit;
mod definitions;
mod nodes;
mod scripted;

use std::path::PathBuf;

use serde_json::Value;

/// The cases of the file by their names; `None`, said visibly, where it is not there.
fn cases() -> Option<Vec<(String, Value)>> {
    let shared = std::env::var_os("CHRONICLER_SHARED").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared")),
        PathBuf::from,
    );
    let file = shared.join("vectors/saga_scripts.json");
    let Ok(text) = std::fs::read_to_string(&file) else {
        println!("skipped: there is no {}", file.display());
        return None;
    };
    let file: Value = serde_json::from_str(&text).unwrap();
    let cases = file["cases"].as_array().unwrap().iter();
    let cases = cases.map(|case| (case["name"].as_str().unwrap().to_owned(), case.clone()));
    Some(cases.collect())
}

#[tokio::test]
async fn m12_m13_m14_m17_all_25_scripts_of_other_projects_end_as_they_say() {
    let Some(cases) = cases() else {
        return;
    };
    assert_eq!(cases.len(), 25);
    for (name, case) in cases {
        let (project, rest) = name.split_once('.').unwrap();
        match (project, rest) {
            ("eventuate", rest) if rest.starts_with("e2e.") => credit::hold(&name, &case).await,
            ("ftgo" | "eventuate", _) => scripted::hold(&name, &case).await,
            ("servicecomb", _) => booking::hold(&name, &case).await,
            ("steno", _) => nodes::hold(&name, &case).await,
            _ => panic!("nobody plays {name}"),
        }
    }
}
