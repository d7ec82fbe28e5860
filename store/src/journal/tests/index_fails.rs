//! The index fails while the log goes on: it is built again, and until then nobody is told less than there is.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use chronicler_domain::Timestamp;
use uuid::Uuid;

use super::support::{MapIndex, commit, open_with, stream};
use crate::append::{Append, Expected};
use crate::error::ReadError;
use crate::frame::{FactKind, SideRecord};
use crate::journal::RealStorage;
use crate::journal::log::JournalLog;
use crate::journal::options::JournalOptions;
use crate::log::EventLog;
use crate::query::FactQuery;

/// Streams, and facts.
const STREAMS: u128 = 20;
/// How long anything may take at most.
const PATIENCE: Duration = Duration::from_secs(60);

fn fact(n: u128) -> Append {
    let at = Timestamp::from_micros(n as u64);
    Append::new(Uuid::from_u128(n), at).record(SideRecord::Fact {
        kind: FactKind::CURSOR,
        key: Bytes::from(format!("f{n:04}")),
        value: Some(Bytes::from(n.to_string())),
    })
}

/// Tries until it succeeds; the last error if it does not.
async fn again<T>(mut read: impl AsyncFnMut() -> Result<T, ReadError>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        match read().await {
            Ok(found) => return found,
            Err(error) => {
                assert!(matches!(error, ReadError::Index { .. }), "{error}");
                assert!(error.is_retryable(), "{error}");
                assert!(Instant::now() < until, "{error}");
                tokio::task::yield_now().await;
            }
        }
    }
}

/// Whoever may be told less than there is would be told that a stream begins: each head and fact, or an error.
async fn check(log: &JournalLog) {
    for n in 0..STREAMS {
        let head = again(async || log.stream_head(&stream(&n.to_string())).await).await;
        assert_eq!(head.map(|head| head.version.get()), Some(2), "{n}");
    }
    let facts = again(async || log.facts(FactQuery::all(FactKind::CURSOR)).await).await;
    assert_eq!(facts.len() as u128, STREAMS);
}

#[tokio::test]
async fn x2_an_index_that_fails_is_built_again_while_the_log_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let index = MapIndex::default();
    let options = JournalOptions {
        // As soon as something was written.
        index_idle: Duration::ZERO,
        ..JournalOptions::default()
    };
    let storage = Arc::new(RealStorage);
    let open = || open_with(folder.path(), options.clone(), storage.clone(), &index);
    let (log, _) = open().unwrap();
    for n in 0..STREAMS {
        let appended = commit(n + 1, &n.to_string(), Expected::NoStream, 100);
        log.append(appended).await.unwrap();
        log.append(fact(1_000 + n)).await.unwrap();
    }
    log.ending().close_blocking();
    // Opened again, nothing is in memory: each answer is the index's.
    let (log, _) = open().unwrap();
    index.fails.store(3, Ordering::SeqCst);
    // That it fails the writer is an answer that can be tried again, and nothing is written.
    for n in 0..STREAMS {
        let appended = commit(100 + n, &n.to_string(), Expected::Version(1.into()), 100);
        while let Err(error) = log.append(appended.clone()).await {
            assert!(error.is_retryable(), "{error}");
            tokio::task::yield_now().await;
        }
    }
    check(&log).await;
    // Broken for good, as sled is that was refused a write: nothing but another one helps.
    index.fails.store(u64::MAX, Ordering::SeqCst);
    check(&log).await;
    assert!(index.rebuilt.load(Ordering::SeqCst) > 0);
    log.ending().close_blocking();
    let (log, report) = open().unwrap();
    assert_eq!(report.replayed, 0, "it has followed to the end");
    check(&log).await;
    log.ending().close_blocking();
}
