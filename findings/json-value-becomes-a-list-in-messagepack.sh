#!/usr/bin/env bash
# Version: serde_json 1.0.154, rmp-serde 1.3.1, ciborium 0.2.2 (Rust)
# Behaviour: a `serde_json::Value` written by rmp-serde comes back as it was, until any other crate of the build turns on
#   serde_json's feature `arbitrary_precision`. Then every number is written as a list of one text, and reading it gives
#   that list, without an error. ciborium writes a map with a private key of serde_json instead.
# Output seen:
#=alone: MessagePack 81a16e05 read {"n":5}; CBOR a1616e05
#=beside a crate with arbitrary_precision: MessagePack 81a16e91a135 read {"n":["5"]}; CBOR a1616ea1781c2473657264655f6a736f6e3a3a707269766174653a3a4e756d6265726135
# Why it matters to us: features are united over a whole build, so a dependency of an application can change what its events
#   become in the log, from one build to the next. A `Value` belongs into a payload only as its JSON text.
set -euo pipefail
self=$(realpath "$0"); work=$(mktemp -d); trap 'rm -rf "$work"' EXIT; cd "$work"; export CARGO_TARGET_DIR=$work/target
mkdir -p src neighbour/src
cat > Cargo.toml <<'END'
[package]
name = "finding"
version = "0.0.0"
edition = "2021"
[workspace]
[profile.dev]
debug = false
[dependencies]
serde_json = "=1.0.154"
rmp-serde = "=1.3.1"
ciborium = "=0.2.2"
neighbour = { path = "neighbour", optional = true }
END
cat > neighbour/Cargo.toml <<'END'
[package]
name = "neighbour"
version = "0.0.0"
edition = "2021"
[dependencies]
serde_json = { version = "=1.0.154", features = ["arbitrary_precision"] }
END
touch neighbour/src/lib.rs
cat > src/main.rs <<'END'
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn main() {
    let value: serde_json::Value = serde_json::from_str(r#"{"n":5}"#).unwrap();
    let pack = rmp_serde::to_vec(&value).unwrap();
    let back: serde_json::Value = rmp_serde::from_slice(&pack).unwrap();
    let mut cbor = Vec::new();
    ciborium::into_writer(&value, &mut cbor).unwrap();
    println!("MessagePack {} read {back}; CBOR {}", hex(&pack), hex(&cbor));
}
END
{ echo "alone: $(cargo run -q)"
  echo "beside a crate with arbitrary_precision: $(cargo run -q --features neighbour)"; } > seen
diff <(sed -n '1,14s/^#=//p' "$self") seen && echo "as described"
