#!/usr/bin/env bash
# Version: msgpackr 2.1.4, cbor-x 1.6.9, sql.js 1.17.0 (npm); rmp-serde 1.3.1, ciborium 0.2.2, serde_json 1.0.154 (Rust)
# Behaviour: these three write a whole number of JavaScript as an integer while it is small, and as a 64-bit float from
#   2^32 on (sql.js, for a parameter put into JSON by SQL: from 2^31 on): any time in milliseconds. serde takes no float as u64.
# Output seen:
#=2000000000 msgpackr to rmp-serde: read 2000000000; cbor-x to ciborium: read 2000000000; sql.js to serde_json: read 2000000000
#=msgpackr to rmp-serde: invalid type: floating point `1700000000000.0`, expected u64
#=cbor-x to ciborium: Semantic(None, "invalid type: floating point `1700000000000.0`, expected integer")
#=sql.js to serde_json: invalid type: floating point `1700000000000.0`, expected u64 at line 1 column 21
# Why it matters to us: a test with small numbers passes, and each real time or long position from such a writer is a poison
#   message for a typed event in Rust. Take f64 and check it at the border, or have the writer send a BigInt.
set -euo pipefail
self=$(realpath "$0"); work=$(mktemp -d); trap 'rm -rf "$work"' EXIT; cd "$work"; export CARGO_TARGET_DIR=$work/target
echo '{"private":true}' > package.json
npm install --silent --no-audit --no-fund --ignore-scripts --omit=optional msgpackr@2.1.4 cbor-x@1.6.9 sql.js@1.17.0 > npm.log
cat > write.mjs <<'END'
import { writeFileSync } from 'node:fs';
import { pack } from 'msgpackr';
import { encode } from 'cbor-x';
import initSqlJs from 'sql.js';

const at = Number(process.argv[2]);
writeFileSync('msgpackr', pack({ at }));
writeFileSync('cbor-x', encode({ at }));
const database = new (await initSqlJs()).Database();
writeFileSync('sql.js', database.exec("SELECT json_object('at', ?)", [at])[0].values[0][0]);
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
serde = { version = "=1.0.229", features = ["derive"] }
serde_json = "=1.0.154"
rmp-serde = "=1.3.1"
ciborium = "=0.2.2"
END
cat > src/main.rs <<'END'
#[derive(serde::Deserialize)]
struct Event {
    at: u64,
}

fn show<E: std::fmt::Display>(name: &str, read: Result<Event, E>) {
    match read {
        Ok(event) => println!("{name}: read {}", event.at),
        Err(error) => println!("{name}: {error}"),
    }
}

fn main() {
    let read = |name| std::fs::read(name).unwrap();
    show("msgpackr to rmp-serde", rmp_serde::from_slice(&read("msgpackr")));
    show("cbor-x to ciborium", ciborium::from_reader(&read("cbor-x")[..]));
    show("sql.js to serde_json", serde_json::from_slice(&read("sql.js")));
}
END
cargo build -q
{ node write.mjs 2000000000; echo "2000000000 $(target/debug/finding | paste -sd ';' - | sed 's/;/; /g')"
  node write.mjs 1700000000000; target/debug/finding; } > seen
diff <(sed -n '1,14s/^#=//p' "$self") seen && echo "as described"
