//! Who follows the end of the log is woken by the writer while they are few, and by a thread of their own once they are many.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tokio::sync::watch;

use crate::log::Head;
use crate::threads;

/// How many followers the writer wakes itself: about 10 µs. Beyond it a batch costs the writer the same, however many there
/// are, and those who follow hear of it when the thread comes to it: of several batches at once, if it is behind.
const WOKEN_BY_WRITER_MAX: usize = 64;
/// How long the thread waits for the next batch before it ends.
const THREAD_IDLE: Duration = Duration::from_secs(1);

/// The end of the log, to be followed.
#[derive(Debug)]
pub(crate) struct HeadWatch {
    shown: Arc<watch::Sender<Head>>,
    relay: Arc<Relay>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct Relay {
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// What is to be shown next.
    next: Option<Head>,
    /// Whether a thread is there, and will look again.
    has_thread: bool,
    is_closed: bool,
}

impl HeadWatch {
    pub(crate) fn new(head: Head) -> Self {
        Self {
            shown: Arc::new(watch::Sender::new(head)),
            relay: Arc::default(),
            thread: Mutex::default(),
        }
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<Head> {
        self.shown.subscribe()
    }

    /// Shows this to all who follow, now or soon.
    pub(crate) fn show(&self, head: Head) {
        if self.shown.receiver_count() <= WOKEN_BY_WRITER_MAX {
            return show(&self.shown, head);
        }
        let mut state = self.relay.state.lock();
        state.next = Some(head);
        if state.is_closed {
            drop(state);
            return show(&self.shown, head);
        }
        if std::mem::replace(&mut state.has_thread, true) {
            self.relay.wake.notify_one();
            return;
        }
        drop(state);
        self.start(head);
    }

    /// Shows what is still to be shown, and ends the thread.
    pub(crate) fn close(&self) {
        let mut state = self.relay.state.lock();
        state.is_closed = true;
        self.relay.wake.notify_one();
        drop(state);
        self.join();
    }

    fn start(&self, head: Head) {
        // The one before has waited long enough, and is on its way out.
        self.join();
        let (shown, relay) = (self.shown.clone(), self.relay.clone());
        match threads::start("chronicler-heads", move || relay.run(&shown)) {
            Ok(thread) => *self.thread.lock() = Some(thread),
            Err(error) => {
                tracing::warn!(%error, "no thread to wake followers with; the writer does it");
                self.relay.state.lock().has_thread = false;
                show(&self.shown, head);
            }
        }
    }

    fn join(&self) {
        if let Some(thread) = self.thread.lock().take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that wakes followers ended in a panic");
        }
    }
}

impl Relay {
    fn run(&self, shown: &watch::Sender<Head>) {
        loop {
            let head = {
                let mut state = self.state.lock();
                if state.next.is_none() && !state.is_closed {
                    self.wake.wait_for(&mut state, THREAD_IDLE);
                }
                let Some(head) = state.next.take() else {
                    state.has_thread = false;
                    return;
                };
                head
            };
            show(shown, head);
        }
    }
}

/// The head only goes forward, whoever shows it.
fn show(shown: &watch::Sender<Head>, head: Head) {
    shown.send_if_modified(|before| {
        let is_newer = head.sequence > before.sequence;
        if is_newer {
            *before = head;
        }
        is_newer
    });
}

#[cfg(test)]
mod tests {
    use chronicler_domain::{GlobalPosition, LogSequence, Timestamp};

    use super::*;

    fn head(n: u64) -> Head {
        Head {
            sequence: LogSequence::new(n),
            position: GlobalPosition::new(n),
            timestamp: Timestamp::EPOCH,
        }
    }

    #[tokio::test]
    async fn w8_many_followers_hear_of_the_end_and_the_writer_wakes_none_of_them() {
        let watch = HeadWatch::new(Head::default());
        let mut few = watch.subscribe();
        watch.show(head(1));
        // Few are woken at once, by whoever shows it.
        assert!(few.has_changed().unwrap());
        assert_eq!(few.borrow_and_update().sequence.get(), 1);
        let many: Vec<_> = (0..WOKEN_BY_WRITER_MAX)
            .map(|_| watch.subscribe())
            .collect();
        for n in 2..1_000 {
            watch.show(head(n));
        }
        for mut follower in many {
            let seen = follower.wait_for(|head| head.sequence.get() == 999).await;
            assert_eq!(seen.unwrap().position.get(), 999);
        }
        assert!(
            watch.thread.lock().is_some(),
            "a thread of their own woke them"
        );
        // The end is shown before it ends, and it never goes back.
        let many: Vec<_> = (0..=WOKEN_BY_WRITER_MAX)
            .map(|_| watch.subscribe())
            .collect();
        watch.show(head(1_000));
        watch.close();
        watch.show(head(500));
        assert!(
            many.iter()
                .all(|follower| follower.borrow().sequence.get() == 1_000)
        );
    }
}
