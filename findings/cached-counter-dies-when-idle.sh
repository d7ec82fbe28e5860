#!/usr/bin/env bash
# Version: metrics 0.24.6, metrics-exporter-prometheus 0.18.3, metrics-util 0.20.4 (Rust)
# Behaviour: with `idle_timeout` set, a series that was idle is dropped when the page is rendered. A `Counter` that the
#   program took before and keeps stays usable and says nothing, but what it counts from then on is never shown again, not
#   even after the same name has been registered anew: only the new handle counts, from zero.
# Output seen:
#=counted 3 by a kept handle: events 3
#=idle, then 4 more by the kept handle: nothing
#=then 1 more by name: events 1
#=then 5 more by the kept handle: events 1
# Why it matters to us: a handle per actor or per projection is the quick way to count. Beside an idle time-out (wanted, so
#   that series of tenants that left go away) it loses counts for good: count by name, or set no time-out for counters.
set -euo pipefail
self=$(realpath "$0"); work=$(mktemp -d); trap 'rm -rf "$work"' EXIT; cd "$work"; export CARGO_TARGET_DIR=$work/target
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
metrics = "=0.24.6"
metrics-exporter-prometheus = { version = "=0.18.3", default-features = false }
metrics-util = { version = "=0.20.4", default-features = false }
END
cat > src/main.rs <<'END'
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use metrics_util::MetricKindMask;
use std::{thread::sleep, time::Duration};

fn page(handle: &PrometheusHandle) -> String {
    let page = handle.render();
    let line = page.lines().find(|line| line.starts_with("events"));
    line.unwrap_or("nothing").to_string()
}

fn main() {
    let idle = Some(Duration::from_secs(2));
    let recorder = PrometheusBuilder::new().idle_timeout(MetricKindMask::COUNTER, idle).build_recorder();
    let handle = recorder.handle();
    metrics::with_local_recorder(&recorder, || {
        let kept = metrics::counter!("events");
        kept.increment(3);
        println!("counted 3 by a kept handle: {}", page(&handle));
        sleep(Duration::from_secs(4));
        page(&handle);
        kept.increment(4);
        println!("idle, then 4 more by the kept handle: {}", page(&handle));
        metrics::counter!("events").increment(1);
        println!("then 1 more by name: {}", page(&handle));
        kept.increment(5);
        println!("then 5 more by the kept handle: {}", page(&handle));
    });
}
END
cargo run -q > seen
diff <(sed -n '1,14s/^#=//p' "$self") seen && echo "as described"
