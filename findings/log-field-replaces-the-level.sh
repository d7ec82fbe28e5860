#!/usr/bin/env bash
# Version: tracing 0.1.44, tracing-subscriber 0.3.23, serde_json 1.0.154 (Rust)
# Behaviour: the JSON formatter with `flatten_event(true)` puts an event's fields beside its own keys and renames none. Fields
#   called `level`, `timestamp` or `target` are written as second keys of one object. A reader that keeps the last one gets
#   the field instead of the level and of the time, and the module instead of the field `target`.
# Output seen:
#=keys "level": 2, "timestamp": 2, "target": 2
#=tracing::error!(level = "gold", timestamp = 5, target = "disk", ...) is read as level "gold", timestamp 5, target "app"
# Why it matters to us: an application on Chronicler logs fields of its domain, where these three are ordinary names.
#   An alert on `level` then misses an error. Leave `flatten_event` off, or give such fields a prefix.
set -euo pipefail
self=$(realpath "$0"); work=$(mktemp -d); trap 'rm -rf "$work"' EXIT; cd "$work"; export CARGO_TARGET_DIR=$work/target
mkdir src
cat > Cargo.toml <<'END'
[package]
name = "app"
version = "0.0.0"
edition = "2021"
[workspace]
[profile.dev]
debug = false
[dependencies]
serde_json = "=1.0.154"
tracing = "=0.1.44"
tracing-subscriber = { version = "=0.3.23", default-features = false, features = ["fmt", "json", "registry"] }
END
cat > src/main.rs <<'END'
fn main() {
    let path = "log";
    let file = std::fs::File::create(path).unwrap();
    let subscriber = tracing_subscriber::fmt().json().flatten_event(true).with_writer(file).finish();
    tracing::subscriber::with_default(subscriber, || {
        tracing::error!(level = "gold", timestamp = 5, target = "disk", "moved");
    });
    let line = std::fs::read_to_string(path).unwrap();
    let count = |key: &str| line.matches(&format!("\"{key}\":")).count();
    println!("keys \"level\": {}, \"timestamp\": {}, \"target\": {}", count("level"), count("timestamp"), count("target"));
    let read: serde_json::Value = serde_json::from_str(&line).unwrap();
    println!(
        "tracing::error!(level = \"gold\", timestamp = 5, target = \"disk\", ...) is read as level {}, timestamp {}, target {}",
        read["level"], read["timestamp"], read["target"]
    );
}
END
cargo run -q > seen
diff <(sed -n '1,14s/^#=//p' "$self") seen && echo "as described"
