//! K6: every operation of the disk fails in turn, and the log says so and loses nothing.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::Duration;

use super::session::{SMALL_SEGMENT_BYTES, Session};
use super::support::{MapIndex, commit, open_with};
use crate::append::Expected;
use crate::error::{AppendError, OpenError};
use crate::journal::disk::simulated::{Fault, FaultKind, SimulatedDisk};
use crate::journal::log::JournalLog;
use crate::journal::options::JournalOptions;
use crate::log::{EventLog, Health};

/// Each draws its own commits and options.
const SEEDS: u64 = 4;
/// How many batches are written while an operation fails.
const BATCHES: u64 = 10;

#[test]
fn k6_an_error_of_the_device_at_any_operation_stops_writes_and_loses_nothing() {
    every_operation(FaultKind::Io, 1);
}

#[test]
fn k6_a_device_that_is_gone_from_any_operation_on_stops_writes_and_loses_nothing() {
    every_operation(FaultKind::Io, u64::MAX);
}

#[test]
fn k6_a_full_disk_at_any_operation_stops_writes_and_loses_nothing() {
    every_operation(FaultKind::NoRoom, u64::MAX);
}

#[test]
fn k6_a_disk_that_is_full_for_a_moment_stops_writes_only_where_something_may_be_written() {
    let refused: u64 = (1..4)
        .map(|count| every_operation(FaultKind::NoRoom, count))
        .sum();
    assert!(refused > 20, "the log was never kept from growing");
}

#[test]
fn k6_half_a_write_at_any_operation_stops_writes_and_loses_nothing() {
    every_operation(FaultKind::Half, 1);
}

#[tokio::test]
async fn k6_while_the_log_cannot_grow_not_every_append_has_that_tried() {
    let folder = tempfile::tempdir().unwrap();
    let disk = SimulatedDisk::new(1);
    let mut options = JournalOptions::default().segment_bytes(SMALL_SEGMENT_BYTES);
    let never = Duration::from_secs(1 << 30);
    options.marker_sync_every = never;
    options.index_idle = never;
    options.layout_pause = never;
    let storage = Arc::new(disk.clone());
    let (log, _) = open_with(folder.path(), options, storage, &MapIndex::default()).unwrap();
    let next = |n, bytes| log.append(commit(n, "alice", Expected::Any, bytes));
    next(1, 10).await.unwrap();
    disk.set_fault(Some(Fault {
        from: disk.operations() + 1,
        count: u64::MAX,
        kind: FaultKind::NoRoom,
    }));
    let longer_than_a_segment = 100_000;
    let refused = next(2, longer_than_a_segment).await.unwrap_err();
    assert!(
        matches!(refused, AppendError::CannotGrow { .. }),
        "{refused}"
    );
    let asked = disk.operations();
    for n in 3..20 {
        let refused = next(n, 10).await.unwrap_err();
        assert!(
            matches!(refused, AppendError::CannotGrow { .. }),
            "{refused}"
        );
    }
    assert_eq!(disk.operations(), asked, "the disk was asked again");
    // A repetition needs no room.
    assert!(next(1, 10).await.unwrap().duplicate);
    assert_eq!(log.health(), Health::Healthy);
    log.close().await;
}

/// How often the log could not grow, and went on.
fn every_operation(kind: FaultKind, count: u64) -> u64 {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut grown = 0;
    for seed in 0..SEEDS {
        for from in 1.. {
            let fault = Fault { from, count, kind };
            let mut session = Session::new(folder.path(), seed);
            let run =
                AssertUnwindSafe(|| runtime.block_on(fail_at(&mut session, fault, &mut grown)));
            match catch_unwind(run) {
                Ok(true) => {}
                Ok(false) => break,
                Err(panic) => {
                    eprintln!(
                        "seed {seed} with {fault:?} failed; the last operations:\n{}\n{}",
                        session.disk.last_operations(),
                        session.disk.listing(),
                    );
                    resume_unwind(panic);
                }
            }
        }
    }
    grown
}

/// Whether the fault hit anything.
async fn fail_at(session: &mut Session<'_>, fault: Fault, grown: &mut u64) -> bool {
    session.disk.set_fault(Some(fault));
    let mut is_cut = false;
    match session.open() {
        Ok((log, _)) => {
            let cuts = fault.from.is_multiple_of(3);
            let went_on = write_until_it_fails(session, log, cuts).await;
            is_cut = cuts && went_on > 0;
            *grown += went_on;
        }
        Err(error) => assert!(matches!(error, OpenError::Io { .. }), "{error}"),
    }
    let is_hit = is_cut || session.disk.operations() >= fault.from;
    session.disk.set_fault(None);
    // The process ends, and the pages of the failed sync are still in memory.
    let log = open(session);
    session.expected.check(&log).await;
    assert!(session.write(&log).await);
    session.expected.check(&log).await;
    if fault.from.is_multiple_of(2) {
        log.close().await;
    }
    let cut = session.disk.cut(fault.from);
    drop(log);
    session.disk = cut;
    let log = open(session);
    session.expected.check(&log).await;
    is_hit
}

/// How often the log could not grow, and went on when it could; or, if it `cuts`, the power went at that moment.
async fn write_until_it_fails(session: &mut Session<'_>, log: JournalLog, cuts: bool) -> u64 {
    let mut grown = 0;
    for _ in 0..BATCHES {
        let whole = session.write(&log).await;
        session.wait_for_seals(&log);
        if log.health() != Health::Healthy {
            break;
        }
        if !whole {
            session.expected.check(&log).await;
            if cuts {
                session.disk.power_off_after(0);
                log.close().await;
                session.cut_power();
                return grown + 1;
            }
            session.disk.set_fault(None);
            assert!(session.write(&log).await, "it does not go on");
            grown += 1;
        }
    }
    session.expected.check(&log).await;
    if let Health::ReadOnly(reason) = log.health() {
        assert!(reason.contains("failed"), "{reason}");
        // Not even when the disk works again: what a failed sync has lost stays lost.
        session.disk.set_fault(None);
        assert!(!session.write(&log).await);
        session.expected.check(&log).await;
    }
    log.close().await;
    grown
}

fn open(session: &mut Session<'_>) -> JournalLog {
    match session.open() {
        Ok((log, _)) => log,
        Err(error) => panic!("{error}"),
    }
}
