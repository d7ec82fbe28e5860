//! The neutral format: the report equals a model's, wherever it was killed, and complaints name their place.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::program::{by_chance, run, run_until, run_well};

const OPENING: i64 = 40;

#[test]
fn line_by_line_the_report_equals_the_models_though_killed() {
    let folder = tempfile::tempdir().unwrap();
    let (lines, expected) = made_up(7, 300);
    let file = folder.path().join("orders.jsonl");
    std::fs::write(&file, lines).unwrap();
    for kills in [0, 4] {
        let data = folder.path().join(format!("killed {kills} times"));
        let arguments = replay(&file, &data, &["--stock", "40", "--sequential"]);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let moments: Vec<u64> = (0..kills)
            .map(|n| 200 + n * 1_500 + by_chance(1_500))
            .collect();
        for moment in &moments {
            assert!(run_until(&arguments, &data, *moment), "{moments:?}");
        }
        let report: Value = serde_json::from_str(&run_well(&arguments)).unwrap();
        assert_eq!(report, expected, "killed at {moments:?}");
    }
}

#[test]
fn many_at_a_time_nothing_is_lost_or_made_up() {
    let folder = tempfile::tempdir().unwrap();
    let (lines, expected) = made_up(8, 300);
    let file = folder.path().join("orders.jsonl");
    std::fs::write(&file, lines).unwrap();
    // Where nothing is counted nothing is refused, so the order of arrival does not matter.
    let data = folder.path().join("uncounted");
    let report = report_of(&file, &data, &[]);
    assert_eq!(report["rejected"], 0);
    assert_eq!(report["confirmed"], 300);
    assert_eq!(report["refunded"], expected["refunded"]);
    assert_eq!(report["skus_touched"], expected["skus_touched"]);
    assert_eq!(report["compensated_units_released"], 0);
    // Counted, the sum of both is what came.
    let data = folder.path().join("counted");
    let report = report_of(&file, &data, &["--stock", "40"]);
    let both = report["rejected"].as_i64().unwrap() + report["confirmed"].as_i64().unwrap();
    assert_eq!(both, 300);
    let status = run_well(&["status", "--data", data.to_str().unwrap()]);
    let reserved = status
        .lines()
        .find(|line| line.contains("reserved"))
        .unwrap();
    assert_eq!(reserved.split_whitespace().last(), Some("0"), "{status}");
    // A second start has nothing to do, and says the same.
    assert_eq!(report_of(&file, &data, &["--stock", "40"]), report);
}

#[test]
fn an_order_of_700_lines_is_worked_off() {
    let folder = tempfile::tempdir().unwrap();
    let line = |sku: usize| json!({"sku": format!("sku-{sku}"), "quantity": 1, "unit_price": 3});
    let lines: Vec<Value> = (0..700).map(|number| line(number % 650)).collect();
    let order = json!({"kind": "order", "order": "long", "at": "2026-01-01T00:00:00Z", "customer": null,
        "lines": lines, "payments": []});
    let file = folder.path().join("long.jsonl");
    std::fs::write(&file, format!("{order}\n")).unwrap();
    let report = report_of(&file, &folder.path().join("data"), &["--stock", "2"]);
    assert_eq!(report["confirmed_gross"], 2_100);
    assert_eq!(report["skus_touched"], 650);
    assert_eq!(report["final_stock_total"], 600);
}

#[test]
fn a_complaint_names_file_line_and_field_and_nothing_before_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("broken.jsonl");
    let order = |id: &str| {
        format!(
            r#"{{"kind":"order","order":"{id}","at":"2026-01-01T00:00:00Z","customer":null,"lines":[{{"sku":"a","quantity":1,"unit_price":5}}],"payments":[]}}"#
        )
    };
    let data = folder.path().join("data");
    let arguments = replay(&file, &data, &[]);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    for (broken, complaint) in [
        (
            order("two").replace("\"quantity\":1", "\"quantity\":0"),
            "broken.jsonl:2: field `lines[0].quantity`",
        ),
        (
            "{\"kind\":".to_owned(),
            "broken.jsonl:2: field `the whole line`",
        ),
        (
            order("one"),
            "broken.jsonl:2: field `order`: this order id was placed before",
        ),
    ] {
        std::fs::write(
            &file,
            format!("{}\n{broken}\n{}\n", order("one"), order("three")),
        )
        .unwrap();
        let output = run(&arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(complaint), "{said}");
    }
    // Mended, it goes on behind what was taken in.
    std::fs::write(
        &file,
        format!("{}\n{}\n{}\n", order("one"), order("two"), order("three")),
    )
    .unwrap();
    let report: Value = serde_json::from_str(&run_well(&arguments)).unwrap();
    assert_eq!(
        (&report["confirmed"], &report["confirmed_gross"]),
        (&json!(3), &json!(15))
    );
    // Other data is not mixed in.
    let other = replay(&file, &data, &["--stock", "9"]);
    let other: Vec<&str> = other.iter().map(String::as_str).collect();
    let said = String::from_utf8(run(&other).stderr).unwrap();
    assert!(
        said.contains("made by another replay") && said.contains("start afresh"),
        "{said}"
    );
}

fn replay(file: &Path, data: &Path, more: &[&str]) -> Vec<String> {
    let (file, data) = (file.to_str().unwrap(), data.to_str().unwrap());
    let arguments = ["replay", "--orders", file, "--data", data];
    arguments
        .iter()
        .chain(more)
        .map(|argument| (*argument).to_owned())
        .collect()
}

fn report_of(file: &Path, data: &Path, more: &[&str]) -> Value {
    let arguments = replay(file, data, more);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    serde_json::from_str(&run_well(&arguments)).unwrap()
}

/// A file with so many orders among returns and adjustments, and what a model of it comes to.
fn made_up(seed: u64, orders: u64) -> (String, Value) {
    let mut state = seed;
    let mut draw = move |below: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let (mut text, mut stock) = (String::new(), BTreeMap::<String, i64>::new());
    let (mut confirmed, mut gross, mut refunded, mut released) = (0, 0, 0, 0);
    let mut rejections = Vec::new();
    for number in 0..orders {
        let lines: Vec<(String, i64, i64, bool)> = (0..=draw(6))
            .map(|_| {
                let sku = format!("sku-{}", draw(60));
                (
                    sku,
                    1 + draw(5) as i64,
                    100 + draw(900) as i64,
                    draw(12) != 0,
                )
            })
            .collect();
        let id = format!("order-{number}");
        line(
            &mut text,
            json!({"kind": "order", "order": id, "at": "2026-01-01T00:00:00Z",
            "customer": null, "lines": as_json(&lines), "payments": []}),
        );
        let mut taken = Vec::new();
        let stocked = || lines.iter().filter(|(_, _, _, stocked)| *stocked);
        for (sku, ..) in stocked() {
            stock.entry(sku.clone()).or_insert(OPENING);
        }
        let short = stocked().find(|(sku, quantity, ..)| {
            let left = stock.get_mut(sku).unwrap();
            let is_short = *quantity > *left;
            if !is_short {
                *left -= quantity;
                taken.push((sku.clone(), *quantity));
            }
            is_short
        });
        match short {
            Some((short, ..)) => {
                rejections.push(json!([id, short]));
                for (sku, quantity) in taken {
                    *stock.get_mut(&sku).unwrap() += quantity;
                    released += quantity;
                }
            }
            None => {
                confirmed += 1;
                gross += lines
                    .iter()
                    .map(|(_, quantity, price, _)| quantity * price)
                    .sum::<i64>();
            }
        }
        if draw(5) == 0 {
            // The same id again and again: each line counts.
            let back: Vec<_> = lines.iter().take(2).cloned().collect();
            line(
                &mut text,
                json!({"kind": "return", "return": "r", "order": null,
                "at": "2026-01-02T00:00:00Z", "lines": as_json(&back)}),
            );
            for (sku, quantity, price, stocked) in back {
                refunded += quantity * price;
                if stocked {
                    *stock.entry(sku).or_insert(OPENING) += quantity;
                }
            }
        }
        if draw(9) == 0 {
            let (sku, quantity) = (format!("sku-{}", draw(60)), draw(40) as i64 - 25);
            line(
                &mut text,
                json!({"kind": "adjust", "at": "2026-01-02T00:00:00Z", "sku": sku,
                "quantity": quantity, "reason": "count"}),
            );
            *stock.entry(sku).or_insert(OPENING) += quantity;
        }
    }
    assert!(rejections.len() > 20, "the model is to see shortages");
    let digest = stock
        .iter()
        .map(|(sku, units)| format!("{sku}\t{units}"))
        .collect::<Vec<_>>();
    let report = json!({
        "confirmed": confirmed,
        "rejected": rejections.len(),
        "confirmed_gross": gross,
        "refunded": refunded,
        "compensated_units_released": released,
        "first_rejections": rejections.iter().take(5).collect::<Vec<_>>(),
        "skus_touched": stock.len(),
        "final_stock_total": stock.values().sum::<i64>(),
        "final_stock_digest": format!("{:x}", Sha256::digest(digest.join("\n"))),
    });
    (text, report)
}

fn line(text: &mut String, value: Value) {
    writeln!(text, "{value}").unwrap();
}

fn as_json(lines: &[(String, i64, i64, bool)]) -> Vec<Value> {
    let lines = lines.iter();
    lines
        .map(|(sku, quantity, price, stocked)| {
            json!({"sku": sku, "quantity": quantity, "unit_price": price, "stocked": stocked})
        })
        .collect()
}
