//! The append matrix of the field, through the driver.

use serde_json::{Value, json};

use crate::client::Client;

#[test]
fn j25_the_append_matrix_of_the_field_through_the_driver() {
    let shared = std::env::var_os("CHRONICLER_SHARED").map_or_else(
        || std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared"),
        std::path::PathBuf::from,
    );
    let file = shared.join("vectors/append_matrix.json");
    let Ok(text) = std::fs::read_to_string(&file) else {
        println!("skipped: there is no {}", file.display());
        return;
    };
    let matrix: Value = serde_json::from_str(&text).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut driver = Client::open(folder.path());
    let cases = matrix["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 14);
    for case in cases {
        let name = case["name"].as_str().unwrap();
        let mut last = Ok(Value::Null);
        for step in case["steps"].as_array().unwrap() {
            // The table counts the last event from 0, and the driver from 1.
            let expected = match &step[2] {
                Value::Number(number) => json!(number.as_u64().unwrap() + 1),
                word => word.clone(),
            };
            let event =
                |id: &Value| json!({ "id": format!("{name} {id}"), "type": "T", "data": "" });
            let events: Vec<Value> = step[1].as_array().unwrap().iter().map(event).collect();
            last = driver.call(
                "append",
                json!({ "stream": name, "expected": expected, "events": events }),
            );
        }
        if case["expect"]["error"].is_string() {
            assert_eq!(last.unwrap_err()["kind"], "conflict", "{name}");
        } else {
            assert!(last.is_ok(), "{name}: {last:?}");
            let read = driver.call("read", json!({ "stream": name, "limit": 0 }));
            assert_eq!(read.unwrap()["version"], case["expect"]["count"], "{name}");
        }
    }
    driver.end();
}
