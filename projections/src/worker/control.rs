//! What others ask of a running worker: to rebuild, or not to after all.

use std::sync::Arc;

use chronicler_domain::GlobalPosition;
use chronicler_runtime::Selection;
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc, oneshot};

use crate::error::{ParkedError, RebuildError};

/// Verbs about what is set aside that wait for the worker; more wait for room.
const ORDERS_MAX: usize = 16;

/// What a finished rebuild says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RebuildReport {
    /// Where the rebuilt view took the place of the old one.
    pub position: GlobalPosition,
}

type Answer = Result<RebuildReport, RebuildError>;

struct Request {
    answer: oneshot::Sender<Answer>,
    is_cancelled: bool,
}

/// A verb about what is set aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Retry,
    Drop,
}

/// What is asked about what is set aside, and who waits for the answer.
pub(crate) struct Order {
    pub(crate) verb: Verb,
    pub(crate) selection: Selection,
    pub(crate) answer: oneshot::Sender<Result<usize, ParkedError>>,
}

/// What is asked of a worker at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    Nothing,
    /// To look whether the view is still in the store.
    Look,
    Rebuild,
    CancelRebuild,
}

/// The requests to one worker. What was asked stays asked until it is answered, across restarts.
pub(crate) struct Control {
    name: Arc<str>,
    state: Mutex<State>,
    changed: Notify,
    orders: mpsc::Sender<Order>,
    ordered: Mutex<mpsc::Receiver<Order>>,
}

#[derive(Default)]
struct State {
    request: Option<Request>,
    is_closed: bool,
    is_doubted: bool,
}

impl Control {
    pub(crate) fn new(name: Arc<str>) -> Self {
        let (orders, ordered) = mpsc::channel(ORDERS_MAX);
        Self {
            name,
            state: Mutex::default(),
            changed: Notify::new(),
            orders,
            ordered: Mutex::new(ordered),
        }
    }

    /// Asks for something about what is set aside, and waits for it.
    pub(crate) async fn order(
        &self,
        verb: Verb,
        selection: Selection,
    ) -> Result<usize, ParkedError> {
        let not_running = || ParkedError::NotRunning {
            name: self.name.clone(),
        };
        if self.state.lock().is_closed {
            return Err(not_running());
        }
        let (answer, answered) = oneshot::channel();
        let order = Order {
            verb,
            selection,
            answer,
        };
        self.orders.send(order).await.map_err(|_| not_running())?;
        self.changed.notify_one();
        answered.await.unwrap_or_else(|_| Err(not_running()))
    }

    /// The next order, if there is one.
    pub(crate) fn ordered(&self) -> Option<Order> {
        self.ordered.lock().try_recv().ok()
    }

    /// Asks for a rebuild and waits for it.
    pub(crate) async fn rebuild(&self) -> Answer {
        let name = || self.name.clone();
        let (answer, answered) = oneshot::channel();
        {
            let mut state = self.state.lock();
            if state.is_closed {
                return Err(RebuildError::NotRunning { name: name() });
            }
            if state.request.is_some() {
                return Err(RebuildError::AlreadyRunning { name: name() });
            }
            state.request = Some(Request {
                answer,
                is_cancelled: false,
            });
        }
        self.changed.notify_one();
        let answer = answered.await;
        answer.unwrap_or_else(|_| Err(RebuildError::NotRunning { name: name() }))
    }

    /// Asks for the end of a rebuild; `false` if none is asked for.
    pub(crate) fn cancel_rebuild(&self) -> bool {
        let mut state = self.state.lock();
        let Some(request) = state.request.as_mut() else {
            return false;
        };
        request.is_cancelled = true;
        self.changed.notify_one();
        true
    }

    /// Asks to look whether the view is still in the store, since a reader could not read it.
    pub(crate) fn doubt(&self) {
        self.state.lock().is_doubted = true;
        self.changed.notify_one();
    }

    pub(crate) fn asked(&self) -> Asked {
        let mut state = self.state.lock();
        if std::mem::take(&mut state.is_doubted) {
            return Asked::Look;
        }
        match &state.request {
            None => Asked::Nothing,
            Some(request) if request.is_cancelled => Asked::CancelRebuild,
            Some(_) => Asked::Rebuild,
        }
    }

    /// Waits until something else may be asked.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Answers whoever asked, if someone did.
    pub(crate) fn answer(&self, answer: Answer) {
        if let Some(request) = self.state.lock().request.take() {
            // Who asked may have gone; the rebuild is done all the same.
            drop(request.answer.send(answer));
        }
    }

    /// Answers whoever asked, now and from now on, that the projection is not running.
    pub(crate) fn close(&self) {
        self.state.lock().is_closed = true;
        let mut ordered = self.ordered.lock();
        ordered.close();
        // Whoever waits for one of these is told that nobody carries it out.
        while ordered.try_recv().is_ok() {}
        drop(ordered);
        let name = self.name.clone();
        self.answer(Err(RebuildError::NotRunning { name }));
    }
}
