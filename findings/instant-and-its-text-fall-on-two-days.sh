#!/usr/bin/env bash
# Version: postgres 0.19.14 with chrono 0.4.45 (Rust); PostgreSQL 18 as @electric-sql/pglite 0.5.14, pglite-socket 0.2.17 (npm)
# Behaviour: PostgreSQL keeps microseconds and rounds a text to them; the Rust driver cuts a typed time, and cuts it towards
#   the year 2000. So one instant with nanoseconds, once bound and once sent as text, is two instants, which may be on two
#   days; and a time before 2000 moves forward when bound: 0.6 us before that year is stored as its first moment.
# Output seen:
#=2024-12-31T23:59:59.9999996Z: bound 2024-12-31 23:59:59.999999+00, as text 2025-01-01 00:00:00+00
#=1999-12-31T23:59:59.9999994Z: bound 2000-01-01 00:00:00+00, as text 1999-12-31 23:59:59.999999+00
# Why it matters to us: a view filled with bound values and then asked, compared or loaded by text (JSON, COPY, a filter typed
#   by hand) misses rows at a border. Cut a time to microseconds, downwards, before it becomes part of an event.
set -euo pipefail
self=$(realpath "$0"); work=$(mktemp -d); server=
trap 'if [ -n "$server" ]; then kill "$server" || true; wait "$server" || true; fi; rm -rf "$work"' EXIT
cd "$work"; export CARGO_TARGET_DIR=$work/target
echo '{"private":true}' > package.json
npm install --silent --no-audit --no-fund --ignore-scripts --omit=peer \
  @electric-sql/pglite@0.5.14 @electric-sql/pglite-socket@0.2.17 > npm.log
cat > server.mjs <<'END'
import { PGlite } from '@electric-sql/pglite';
import { PGLiteSocketServer } from '@electric-sql/pglite-socket';

const server = new PGLiteSocketServer({ db: await PGlite.create('./data'), host: '127.0.0.1', port: 0 });
await server.start();
console.log(server.getServerConn());
setTimeout(() => process.exit(1), 300000);
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
postgres = { version = "=0.19.14", features = ["with-chrono-0_4"] }
chrono = { version = "=0.4.45", default-features = false, features = ["std"] }
END
cat > src/main.rs <<'END'
use chrono::{DateTime, Utc};

fn main() {
    let port = std::env::args().nth(1).unwrap();
    let how = format!("host=127.0.0.1 port={port} user=postgres dbname=postgres");
    let mut client = postgres::Client::connect(&how, postgres::NoTls).unwrap();
    for text in ["2024-12-31T23:59:59.9999996Z", "1999-12-31T23:59:59.9999994Z"] {
        let instant: DateTime<Utc> = text.parse().unwrap();
        let query = "SELECT $1::timestamptz::text, $2::text::timestamptz::text";
        let row = client.query_one(query, &[&instant, &text]).unwrap();
        println!("{text}: bound {}, as text {}", row.get::<_, String>(0), row.get::<_, String>(1));
    }
}
END
cargo build -q
PGTZ=UTC TZ=UTC node server.mjs > port & server=$!
for _ in $(seq 600); do [ ! -s port ] || break; sleep 0.5; done
target/debug/finding "$(sed 's/.*://' port)" > seen
diff <(sed -n '1,14s/^#=//p' "$self") seen && echo "as described"
