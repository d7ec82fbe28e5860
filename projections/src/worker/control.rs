//! What others ask of a running worker: to rebuild, or not to after all.

use std::sync::Arc;

use chronicler_domain::GlobalPosition;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use crate::error::RebuildError;

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
}

#[derive(Default)]
struct State {
    request: Option<Request>,
    is_closed: bool,
    is_doubted: bool,
}

impl Control {
    pub(crate) fn new(name: Arc<str>) -> Self {
        Self {
            name,
            state: Mutex::default(),
            changed: Notify::new(),
        }
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
        let name = self.name.clone();
        self.answer(Err(RebuildError::NotRunning { name }));
    }
}
