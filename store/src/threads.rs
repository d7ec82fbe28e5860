//! The store's own threads: started by name, and told apart from all others.
//!
//! Somebody else's code runs on them: completions, and what a waker sets free. It may drop the last handle of a store,
//! and closing one waits for its threads, which no thread can do for itself, nor two stores for each other.

use std::cell::Cell;
use std::io;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use tokio::sync::oneshot;

thread_local! {
    static IS_OWN: Cell<bool> = const { Cell::new(false) };
}

#[cfg(test)]
thread_local! {
    /// Whether this thread gets no others, as where the operating system has none left.
    pub(crate) static GETS_NONE: Cell<bool> = const { Cell::new(false) };
}

/// Starts a thread of a store.
pub(crate) fn start<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    #[cfg(test)]
    if GETS_NONE.get() {
        return Err(io::ErrorKind::WouldBlock.into());
    }
    Builder::new().name(name.to_owned()).spawn(move || {
        IS_OWN.set(true);
        work()
    })
}

/// Closes a store: here or, where a thread of a store drops it, on another thread that nobody waits for. Whoever opens
/// the directory next waits for it there, since its lock says that it is being closed.
pub(crate) fn close(close: impl FnOnce() + Send + 'static) {
    if !is_own() {
        return close();
    }
    let handed_over = Builder::new()
        .name("chronicler-close".to_owned())
        .spawn(close);
    if let Err(error) = handed_over {
        tracing::error!(%error, "a store that its own thread has dropped could not be closed: its directory is free when the process ends");
    }
}

/// Closes a store on a thread that is neither one of a store nor one of tokio's, which may all be taken; here where there is
/// none. A close that has begun goes on if nobody waits for it any more.
pub(crate) async fn close_apart(close: impl Fn() + Send + Sync + 'static) {
    let close = Arc::new(close);
    let there = Arc::clone(&close);
    let (done, ended) = oneshot::channel();
    let started = Builder::new()
        .name("chronicler-close".to_owned())
        .spawn(move || {
            there();
            done.send(()).unwrap_or_default();
        });
    match started {
        Ok(_) if ended.await.is_ok() => {}
        Ok(_) => tracing::error!("a store was not closed to its end: a panic"),
        Err(_) => close(),
    }
}

/// Whether this is a thread of a store. While a thread ends, nothing of ours runs on it any more.
pub(crate) fn is_own() -> bool {
    IS_OWN.try_with(Cell::get).unwrap_or(false)
}
