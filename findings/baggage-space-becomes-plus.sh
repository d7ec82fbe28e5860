#!/usr/bin/env bash
# Version: opentelemetry-api 1.45.2 (Python), opentelemetry_sdk 0.33.1 (Rust)
# Behaviour: both speak W3C baggage, and each reads back what it wrote. Between them a value changes without an error: Python
#   writes a space as `+` and reads `+` as a space, Rust writes and reads `+` as itself.
# Output seen:
#=Python writes "north east" as tenant=north+east, Rust reads "north+east"
#=Rust writes "a+b" as tenant=a+b, Python reads "a b"
# Why it matters to us: baggage looks like the place to carry a tenant or a correlation id from a service into the context
#   of a command. A value of letters, digits, `-` and `_` survives it; anything else is not what was sent, and an id that
#   looks valid may be another tenant's. So ids are encoded before they become baggage, or travel in a header of their own.
set -euo pipefail
self=$(realpath "$0"); work=$(mktemp -d); trap 'rm -rf "$work"' EXIT; cd "$work"; export CARGO_TARGET_DIR=$work/target
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check opentelemetry-api==1.45.2
cat > speak.py <<'END'
import sys
from opentelemetry import baggage
from opentelemetry.baggage.propagation import W3CBaggagePropagator

verb, text = sys.argv[1:]
if verb == "write":
    headers = {}
    W3CBaggagePropagator().inject(headers, baggage.set_baggage("tenant", text))
    print(headers["baggage"])
else:
    print(baggage.get_baggage("tenant", W3CBaggagePropagator().extract({"baggage": text})))
END
mkdir src
cat > Cargo.toml <<'END'
[package]
name = "finding"
version = "0.0.0"
edition = "2021"
[workspace]
[profile.dev]
debug = false
[dependencies]
opentelemetry = { version = "=0.33.1", default-features = false, features = ["trace"] }
opentelemetry_sdk = { version = "=0.33.1", default-features = false, features = ["trace"] }
END
cat > src/main.rs <<'END'
use opentelemetry::{baggage::BaggageExt, propagation::TextMapPropagator, Context, KeyValue};
use opentelemetry_sdk::propagation::BaggagePropagator;
use std::collections::HashMap;

fn main() {
    let words: Vec<String> = std::env::args().collect();
    let mut headers = HashMap::new();
    if words[1] == "write" {
        let context = Context::new().with_baggage([KeyValue::new("tenant", words[2].clone())]);
        BaggagePropagator::new().inject_context(&context, &mut headers);
        println!("{}", headers["baggage"]);
    } else {
        headers.insert("baggage".to_string(), words[2].clone());
        let context = BaggagePropagator::new().extract_with_context(&Context::new(), &headers);
        println!("{}", context.baggage().get("tenant").unwrap());
    }
}
END
cargo build -q
python() { venv/bin/python speak.py "$@"; }
rust() { target/debug/finding "$@"; }
for value in "north east" "a+b"; do
  [ "$(python read "$(python write "$value")")" = "$value" ] && [ "$(rust read "$(rust write "$value")")" = "$value" ]
done
{ wrote=$(python write "north east"); echo "Python writes \"north east\" as $wrote, Rust reads \"$(rust read "$wrote")\""
  wrote=$(rust write "a+b"); echo "Rust writes \"a+b\" as $wrote, Python reads \"$(python read "$wrote")\""; } > seen
diff <(sed -n '1,14s/^#=//p' "$self") seen && echo "as described"
