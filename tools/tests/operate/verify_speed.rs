//! How fast `verify` is beside plain reading. Not a test of time: run it by hand, on a quiet machine.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::Instant;

use bytes::Bytes;
use chronicler_domain::{StreamId, Timestamp};
use chronicler_store::codec::CodecId;
use chronicler_store::{Append, EventLog, Expected};
use futures::future::join_all;
use uuid::Uuid;

use crate::directory::{Directory, event, open_large};
use crate::tool::json;

const EVENTS: u64 = 1_000_000;
const AT_ONCE: u64 = 10_000;
const PAYLOAD: Bytes = Bytes::from_static(&[b'x'; 100]);
const ROUNDS: usize = 5;
const BLOCK_BYTES: usize = 1 << 20;

/// `cargo test --release -p chronicler-tools --test operate -- --ignored --nocapture verify_beside`
#[tokio::test]
#[ignore = "measures, and needs a quiet machine"]
async fn verify_beside_plain_reading_and_crc32c() {
    let directory = Directory::none();
    let store = open_large(&directory.path);
    for batch in 0..EVENTS / AT_ONCE {
        let appends = (0..AT_ONCE).map(|n| {
            let number = batch * AT_ONCE + n + 1;
            let stream = StreamId::of("account", &format!("a{}", number % 10_000)).unwrap();
            let at = Timestamp::from_micros(number);
            let event = event("Deposited", CodecId::RAW, PAYLOAD);
            store.append(Append::new(Uuid::from_u128(u128::from(number)), at).stream(
                stream,
                Expected::Any,
                vec![event],
            ))
        });
        for appended in join_all(appends).await {
            appended.unwrap();
        }
    }
    store.close().await;
    drop(store);
    let (mut plain_best, mut verify_best) = (f64::MAX, f64::MAX);
    let mut bytes = 0;
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        bytes = read_plainly(&directory);
        plain_best = plain_best.min(begun.elapsed().as_secs_f64());
        let (exit, lines) = json("verify", &directory.path, &[]);
        assert_eq!((exit, &lines[0]["events"]), (0, &EVENTS.into()));
        assert_eq!(lines[0]["bytes"], bytes);
        verify_best = verify_best.min(lines[0]["seconds"].as_f64().unwrap());
    }
    let megabytes = bytes as f64 / 1e6;
    println!(
        "{EVENTS} events, {megabytes:.0} MB: plain {:.0} MB/s, verify {:.0} MB/s, ratio {:.2}",
        megabytes / plain_best,
        megabytes / verify_best,
        plain_best / verify_best
    );
}

/// Reads every segment on one thread and computes its CRC32C.
fn read_plainly(directory: &Directory) -> u64 {
    let mut block = vec![0; BLOCK_BYTES];
    let mut bytes = 0;
    for number in 1.. {
        let Ok(file) = File::open(directory.segment(number)) else {
            break;
        };
        let (mut at, mut checksum) = (0, 0);
        loop {
            let read = file.read_at(&mut block, at).unwrap();
            if read == 0 {
                break;
            }
            checksum = crc32c::crc32c_append(checksum, &block[..read]);
            at += read as u64;
        }
        std::hint::black_box(checksum);
        bytes += at;
    }
    bytes
}
