#!/usr/bin/env bash
# Version: apache-avro 0.22.0 (Rust), avro 1.12.2 and fastavro 1.13.1 (Python)
# Behaviour: the 8 bytes that name a schema in a single-object message are a hash of its canonical form, made so that every
#   implementation finds the same. For a plain long all three agree. With a logical type fastavro writes the type as "long",
#   avro as {"type":"long"}; apache-avro does as avro, and for a decimal keeps precision and scale too: three names.
# Output seen:
#=long: apache-avro 1b6c4f1ec0ff2165, avro 1b6c4f1ec0ff2165, fastavro 1b6c4f1ec0ff2165
#=timestamp-micros: apache-avro 03017d455fe0d5c8, avro 03017d455fe0d5c8, fastavro 1b6c4f1ec0ff2165
#=decimal: apache-avro d1f5e9412c9c76a3, avro 8e1b7bc6af0f619d, fastavro d22cdd0525b9b063
# Why it matters to us: a relay that sends events in this encoding names a schema that a reader with another package looks
#   up in vain, first on the day an event gets a time or an amount. Name schemas by an id of one's own.
set -euo pipefail
self=$(realpath "$0"); work=$(mktemp -d); trap 'rm -rf "$work"' EXIT; cd "$work"; export CARGO_TARGET_DIR=$work/target
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check avro==1.12.2 fastavro==1.13.1
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
apache-avro = { version = "=0.22.0", default-features = false }
END
cat > src/main.rs <<'END'
use apache_avro::{types::Value, GenericSingleObjectWriter, Schema};

fn main() {
    let text = std::env::args().nth(1).unwrap();
    let schema = Schema::parse_str(&text).unwrap();
    let amount = match text.contains("decimal") {
        true => Value::Decimal(vec![1].into()),
        false if text.contains("timestamp") => Value::TimestampMicros(1),
        false => Value::Long(1),
    };
    let mut message = Vec::new();
    let mut writer = GenericSingleObjectWriter::new_with_capacity(&schema, 64).unwrap();
    writer.write_value(Value::Record(vec![("field".into(), amount)]), &mut message).unwrap();
    assert_eq!(message[..2], [0xc3, 0x01]);
    println!("{}", message[2..10].iter().map(|byte| format!("{byte:02x}")).collect::<String>());
}
END
cat > name.py <<'END'
import json, sys
import avro.schema, fastavro.schema

text = sys.argv[1]
ours = avro.schema.parse(text).fingerprint("CRC-64-AVRO")
canonical = fastavro.schema.to_parsing_canonical_form(json.loads(text))
print(f"avro {ours.hex()}, fastavro {fastavro.schema.fingerprint(canonical, 'CRC-64-AVRO')}")
END
cargo build -q
look() {
  local text='{"type":"record","name":"Event","fields":[{"name":"field","type":'$2'}]}'
  echo "$1: apache-avro $(target/debug/finding "$text"), $(venv/bin/python name.py "$text")"
}
{ look "long" '"long"'
  look "timestamp-micros" '{"type":"long","logicalType":"timestamp-micros"}'
  look "decimal" '{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}'; } > seen
diff <(sed -n '1,14s/^#=//p' "$self") seen && echo "as described"
