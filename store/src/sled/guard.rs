//! The one place where sled is entered: a panic in it becomes an error, and a hang becomes one in time.
//!
//! sled panics on damaged files, in the calling thread or in a thread of its own pool; in the second case
//! the caller may wait for ever. So everything goes through [`guarded`], and everything that can wait for
//! sled's threads (open, write, close) also through [`within`], on a thread of ours. A thread that is still
//! in sled when its time is up is left behind, with what it holds: that is the price of a hang.
//!
//! A program built with `panic = "abort"` has no such guard: damage to sled's files ends it.
//!
//! The panic hook is process-wide, and what it prints about a caught panic would look like a failure. So the
//! first call here puts a hook before the present one that is silent on a thread while it is inside
//! [`guarded`], and passes everything else on.

use std::any::Any;
use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use crate::index::IndexError;

thread_local! {
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Runs something that may panic inside sled.
pub(super) fn guarded<T>(
    operation: &'static str,
    enter: impl FnOnce() -> Result<T, IndexError>,
) -> Result<T, IndexError> {
    silence_inside();
    let outer = INSIDE.replace(true);
    let result = panic::catch_unwind(AssertUnwindSafe(enter));
    INSIDE.set(outer);
    result.unwrap_or_else(|payload| {
        Err(IndexError {
            operation,
            reason: format!("sled panicked: {}", text_of(payload.as_ref())),
        })
    })
}

/// Runs something that may panic or hang inside sled, on a thread of its own, for at most `limit`.
pub(super) fn within<T: Send + 'static>(
    operation: &'static str,
    limit: Duration,
    enter: impl FnOnce() -> Result<T, IndexError> + Send + 'static,
) -> Result<T, IndexError> {
    let (answer, answered) = sync_channel(1);
    let thread = std::thread::Builder::new()
        .name("chronicler-sled".to_owned())
        .spawn(move || {
            let result = guarded(operation, enter);
            // Nobody waits any more: what came too late is closed here, and that may panic, too.
            if let Err(unwanted) = answer.send(result) {
                drop(guarded(operation, move || {
                    drop(unwanted);
                    Ok(())
                }));
            }
        })
        .map_err(|error| IndexError {
            operation,
            reason: format!("no thread could be started: {error}"),
        })?;
    match answered.recv_timeout(limit) {
        Ok(result) => {
            // It has answered, so it ends at once; its own panics were caught.
            drop(thread.join());
            result
        }
        Err(RecvTimeoutError::Timeout) => Err(IndexError {
            operation,
            reason: format!("sled did not answer within {} s", limit.as_secs()),
        }),
        Err(RecvTimeoutError::Disconnected) => Err(IndexError {
            operation,
            reason: "its thread ended without an answer".to_owned(),
        }),
    }
}

fn silence_inside() {
    static ONCE: Once = Once::new();
    // Hooks cannot be changed by a thread that is panicking.
    if std::thread::panicking() {
        return;
    }
    ONCE.call_once(|| {
        let next = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !INSIDE.try_with(Cell::get).unwrap_or(false) {
                next(info);
            }
        }));
    });
}

fn text_of(payload: &(dyn Any + Send)) -> &str {
    payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_an_error_with_its_message() {
        let error = guarded::<()>("probe", || panic!("page {} is gone", 7)).unwrap_err();
        assert_eq!(error.operation, "probe");
        assert_eq!(error.reason, "sled panicked: page 7 is gone");
        let error = within::<()>("probe", Duration::from_secs(60), || panic!("gone")).unwrap_err();
        assert_eq!(error.reason, "sled panicked: gone");
    }

    #[test]
    fn what_hangs_is_left_behind() {
        let (release, released) = sync_channel::<()>(1);
        let (ended, end) = sync_channel(1);
        let error = within("probe", Duration::from_millis(1), move || {
            released.recv().unwrap_err();
            ended.send(()).unwrap();
            Ok(())
        })
        .unwrap_err();
        assert!(error.reason.contains("did not answer"), "{error}");
        drop(release);
        end.recv().unwrap();
    }
}
