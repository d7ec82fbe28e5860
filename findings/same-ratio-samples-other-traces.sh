#!/usr/bin/env bash
# Version: opentelemetry_sdk 0.33.1 (Rust), opentelemetry-sdk 1.45.2 (Python), @opentelemetry/sdk-trace-base 2.12.1 (npm)
# Behaviour: `TraceIdRatioBased` decides from the trace id alone, so that all services keep the same traces. Rust and Python
#   look at the low half of the id and agree on every trace; the npm package folds the four quarters of the id together,
#   and what it keeps has nothing to do with what they keep.
# Output seen:
#=of 10000 trace ids at 0.1: Rust keeps 956, Python 956, JavaScript 991
#=kept by Rust and Python 956, by Rust and JavaScript 102
# Why it matters to us: a service that samples at its own root (links, a message read from a broker, a second sampler) beside
#   a JavaScript one at the same ratio of 10 % gets one trace in a hundred whole, not one in ten: let the decision travel.
set -euo pipefail
self=$(realpath "$0"); work=$(mktemp -d); trap 'rm -rf "$work"' EXIT; cd "$work"; export CARGO_TARGET_DIR=$work/target
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check opentelemetry-sdk==1.45.2
echo '{"private":true}' > package.json
npm install --silent --no-audit --no-fund --ignore-scripts @opentelemetry/sdk-trace-base@2.12.1 @opentelemetry/api@1.9.1 > npm.log
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
use opentelemetry::trace::{SpanKind, TraceId};
use opentelemetry_sdk::trace::{Sampler, SamplingDecision, ShouldSample};

fn main() {
    let sampler = Sampler::TraceIdRatioBased(0.1);
    for line in std::io::stdin().lines() {
        let id = TraceId::from_hex(&line.unwrap()).unwrap();
        let result = sampler.should_sample(None, id, "span", &SpanKind::Internal, &[], &[]);
        if result.decision == SamplingDecision::RecordAndSample {
            println!("{id}");
        }
    }
}
END
cat > keep.py <<'END'
import sys
from opentelemetry.sdk.trace.sampling import TraceIdRatioBased

sampler = TraceIdRatioBased(0.1)
for line in sys.stdin:
    if sampler.should_sample(None, int(line, 16), "span").decision.is_sampled():
        print(line.strip())
END
cat > keep.mjs <<'END'
import { readFileSync } from 'node:fs';
import { ROOT_CONTEXT } from '@opentelemetry/api';
import { SamplingDecision, TraceIdRatioBasedSampler } from '@opentelemetry/sdk-trace-base';

const sampler = new TraceIdRatioBasedSampler(0.1);
for (const id of readFileSync(0, 'utf8').trim().split('\n')) {
  if (sampler.shouldSample(ROOT_CONTEXT, id).decision === SamplingDecision.RECORD_AND_SAMPLED) console.log(id);
}
END
python3 -c '
import random
numbers = random.Random(1)
for _ in range(10000): print(f"{numbers.getrandbits(128):032x}")' > ids
cargo run -q < ids | sort > rust
venv/bin/python keep.py < ids | sort > python
node keep.mjs < ids | sort > javascript
count() { wc -l < "$1" | tr -d ' '; }
both() { comm -12 "$1" "$2" | wc -l | tr -d ' '; }
{ echo "of $(count ids) trace ids at 0.1: Rust keeps $(count rust), Python $(count python), JavaScript $(count javascript)"
  echo "kept by Rust and Python $(both rust python), by Rust and JavaScript $(both rust javascript)"; } > seen
diff <(sed -n '1,14s/^#=//p' "$self") seen && echo "as described"
