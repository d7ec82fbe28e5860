//! K2: the power goes at any moment, during recovery too, and nothing acknowledged is lost.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use super::session::{LARGE_SEGMENT_BYTES, Session};
use super::support::MapIndex;
use crate::error::OpenError;
use crate::journal::log::JournalLog;
use crate::journal::open::OpenReport;
use crate::journal::options::Durability;
use crate::log::EventLog;

const SEEDS: u64 = 1_000;
/// How often the log of one seed is lost.
const LIVES: u64 = 3;

#[test]
fn k2_a_power_cut_at_any_moment_loses_nothing_acknowledged() {
    for_seeds(0..SEEDS / 2, |session| Box::pin(lives(session, true)));
}

/// The same with the follower sealing whenever it likes: more orders, and no seed gives the same twice.
#[test]
fn k2_a_power_cut_beside_the_follower_loses_nothing_acknowledged() {
    for_seeds(SEEDS / 2..SEEDS, |session| Box::pin(lives(session, false)));
}

/// At `Os` a tail may be lost, and never anything in front of what the marker names; and the log opens.
#[test]
fn w3_a_power_cut_at_os_loses_a_tail_and_damages_nothing() {
    for_seeds(0..SEEDS / 10, |session| {
        session.durability = Durability::Os;
        Box::pin(lives(session, true))
    });
}

#[test]
fn w3_a_power_cut_at_os_beside_the_follower_loses_a_tail_and_damages_nothing() {
    for_seeds(0..SEEDS / 10, |session| {
        session.durability = Durability::Os;
        Box::pin(lives(session, false))
    });
}

/// The marker moves all the time, and the log rolls on before the follower has sealed what was full.
#[test]
fn w3_a_power_cut_at_os_while_the_log_rolls_damages_nothing() {
    for_seeds(0..SEEDS / 10, |session| {
        session.durability = Durability::Os;
        Box::pin(roll_and_lose_power(session))
    });
}

#[test]
fn w4_a_directory_begun_deep_down_is_there_after_a_power_cut() {
    for_seeds(0..SEEDS / 10, |session| {
        Box::pin(async move {
            let data = session.data.join("a/b/c");
            // Only the lock lies there.
            std::fs::create_dir_all(&data).unwrap();
            let deep = &mut Session::new(&data, session.random.next());
            for _ in 0..2 {
                let (log, _) = open(deep);
                deep.expected.check(&log).await;
                assert!(deep.write(&log).await);
                drop(log);
                deep.cut_power();
            }
            let (log, _) = open(deep);
            deep.expected.check(&log).await;
        })
    });
}

async fn roll_and_lose_power(session: &mut Session<'_>) {
    for _ in 0..LIVES {
        let (log, _) = open(session);
        session.expected.check(&log).await;
        for _ in 0..session.random.below(30) {
            assert!(session.write(&log).await);
        }
        session.disk.power_off_after(0);
        session.marked = log.shared().marked();
        drop(log);
        session.cut_power();
    }
    let (log, _) = open(session);
    session.expected.check(&log).await;
}

type Run<'a> = std::pin::Pin<Box<dyn Future<Output = ()> + 'a>>;

/// Runs every seed in a fresh folder, and names the one that fails.
fn for_seeds(
    seeds: std::ops::Range<u64>,
    run: impl for<'a, 'b> Fn(&'a mut Session<'b>) -> Run<'a>,
) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    for seed in seeds {
        let mut session = Session::new(folder.path(), seed);
        if seed % 8 == 7 {
            session.segment_bytes = LARGE_SEGMENT_BYTES;
        }
        let run = AssertUnwindSafe(|| runtime.block_on(run(&mut session)));
        if let Err(panic) = catch_unwind(run) {
            eprintln!(
                "seed {seed} failed; the last operations:\n{}\n{}",
                session.disk.last_operations(),
                session.disk.listing(),
            );
            resume_unwind(panic);
        }
    }
}

async fn lives(session: &mut Session<'_>, in_step: bool) {
    for life in 0..LIVES {
        live(session, in_step).await;
        lose_power(session, life).await;
    }
    let (log, _) = open(session);
    session.expected.check(&log).await;
}

/// Opens, writes for a while, and has the power go at some operation.
async fn live(session: &mut Session<'_>, in_step: bool) {
    let (mut log, _) = open(session);
    session.expected.check(&log).await;
    let steps = session.random.below(8);
    let mut step = 0;
    loop {
        if step == steps {
            let left = session.random.below(8);
            session.disk.power_off_after(left);
        }
        if session.random.one_in(10) {
            log.close().await;
            if session.disk.is_off() {
                return;
            }
            drop(log);
            log = match session.open() {
                Ok((log, _)) => log,
                Err(error) if session.disk.is_off() => return not_damaged(&error),
                Err(error) => panic!("{error}"),
            };
        } else if !session.write(&log).await {
            assert!(session.disk.is_off());
            break;
        }
        if in_step {
            session.wait_for_seals(&log);
        }
        step += 1;
    }
    session.expected.check(&log).await;
}

/// The power goes, and goes again while the log is opened.
async fn lose_power(session: &mut Session<'_>, life: u64) {
    for _ in 0..4 {
        if life == 1 && session.random.one_in(2) {
            // Only the process ends.
            session.disk = session.disk.copy();
        } else {
            session.cut_power();
        }
        if session.random.one_in(4) {
            session.index = MapIndex::default();
        }
        if session.random.one_in(2) {
            return;
        }
        let left = session.random.below(24);
        session.disk.power_off_after(left);
        match session.open() {
            Ok((log, _)) => session.expected.check(&log).await,
            Err(error) => not_damaged(&error),
        }
    }
    session.cut_power();
}

fn open(session: &mut Session<'_>) -> (JournalLog, OpenReport) {
    session.open().unwrap_or_else(|error| panic!("{error}"))
}

fn not_damaged(error: &OpenError) {
    assert!(matches!(error, OpenError::Io { .. }), "{error}");
}
