//! What the neutral format takes, and how it complains.

use std::io::Write;

use super::*;

fn read(text: &str) -> Vec<Result<Message, String>> {
    let mut file = tempfile::Builder::new()
        .suffix(".jsonl")
        .tempfile()
        .unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let name = file.path().display().to_string();
    NeutralReader::open(file.path())
        .unwrap()
        .map(|message| message.map_err(|error| error.to_string().replace(&name, "FILE")))
        .collect()
}

fn complaint(line: &str) -> String {
    read(line).pop().unwrap().unwrap_err()
}

#[test]
fn an_order_without_payments_is_paid_in_full() {
    let order = r#"{"kind":"order","order":"o-1","at":"2020-01-01T00:00:00Z","customer":null,
        "lines":[{"sku":"a","quantity":2,"unit_price":150},
        {"sku":"post","quantity":1,"unit_price":40,"stocked":false},{"sku":"a","quantity":1,"unit_price":150}]}"#
        .replace('\n', "");
    let message = read(&order).pop().unwrap().unwrap();
    assert_eq!((message.position, message.key.as_str()), (1, "o-1"));
    assert_eq!(message.skus, ["a"]);
    let Sent::Order(OrderCommand::Place(placement)) = message.sent else {
        panic!("no order");
    };
    assert_eq!(placement.gross(), 490);
    let amounts: Vec<_> = placement
        .payments
        .iter()
        .map(|payment| payment.amount)
        .collect();
    assert_eq!(amounts, [490]);
}

#[test]
fn identical_returns_are_two_messages() {
    let line =
        r#"{"kind":"return","return":"r","order":null,"at":"2020-01-01T00:00:00Z","lines":[]}"#;
    let keys: Vec<_> = read(&format!("{line}\n\n{line}\n"))
        .into_iter()
        .map(|message| message.unwrap())
        .map(|message| {
            (
                message.position,
                message.key.rsplit(':').next().unwrap().to_owned(),
            )
        })
        .collect();
    assert_eq!(keys, [(1, "1".to_owned()), (3, "3".to_owned())]);
}

#[test]
fn a_complaint_names_file_line_and_field() {
    let start = r#"{"kind":"order","order":"o-1","at":"2020-01-01T00:00:00Z""#;
    let with = |lines: &str| complaint(&format!("{start},\"lines\":{lines}}}"));
    assert_eq!(
        complaint("\n{"),
        "FILE:2: field `the whole line`: no JSON: EOF while parsing an object at column 1"
    );
    assert_eq!(
        complaint(&format!("{start}}}")),
        "FILE:1: field `lines`: it is missing"
    );
    assert_eq!(
        with(
            r#"[{"sku":"a","quantity":1,"unit_price":1},{"sku":"a","quantity":0,"unit_price":1}]"#
        ),
        "FILE:1: field `lines[1].quantity`: 0 is not between 1 and 4294967295"
    );
    assert_eq!(
        with(r#"[{"sku":"a","quantity":1,"unit_price":1.5}]"#),
        "FILE:1: field `lines[0].unit_price`: expected a whole number, found 1.5"
    );
    assert!(with(r#"[{"quantity":1,"unit_price":1}]"#).contains("`lines[0].sku`: it is missing"));
    assert!(complaint(r#"{"kind":"gift"}"#).contains("`kind`: \"gift\" is not order"));
    assert!(complaint("[1]").contains("`the whole line`: expected an object"));
    assert!(complaint(r#"{"kind":"adjust","sku":"a","quantity":1,"at":"never"}"#).contains("`at`"));
}

#[test]
fn what_stands_before_the_fault_is_read_and_nothing_after_it() {
    let good =
        r#"{"kind":"adjust","at":"2020-01-01T00:00:00Z","sku":"a","quantity":-3,"reason":"x"}"#;
    let read = read(&format!("{good}\n{{}}\n{good}\n"));
    assert_eq!(read.len(), 2);
    assert!(read[0].is_ok());
    assert!(read[1].is_err());
}
