//! Subscriptions: what happens is pushed, and a durable one goes on behind the last event that was acknowledged.

use std::collections::HashMap;

use chronicler::domain::{GlobalPosition, StreamId, Timestamp};
use chronicler::prelude::*;
use chronicler::runtime::SubscriptionOptions;
use chronicler::store::{Append, Filter};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use tokio_util::task::TaskTracker;

use crate::answer::{Answer, Kind, Refused};
use crate::events::{CATEGORY, shown_ref, stream_of};
use crate::requests::{Request, wrong};
use crate::tracking::{reached, record};

/// How many events of a durable subscription may be out without being acknowledged.
const UNACKNOWLEDGED_MAX: u64 = 256;

/// The subscriptions of an open directory.
#[derive(Default)]
pub(crate) struct Subscriptions {
    running: Mutex<HashMap<String, Running>>,
    tasks: TaskTracker,
}

struct Running {
    task: AbortHandle,
    durable: bool,
    /// Up to where everything is acknowledged.
    acknowledged: watch::Sender<u64>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Following {
    app: App,
    sub: String,
    stream: Option<StreamId>,
    /// Within a stream: events from this one on.
    from_version: u64,
    types: Vec<String>,
    after: u64,
    limited: bool,
    acknowledged: watch::Receiver<u64>,
    pushes: mpsc::Sender<Value>,
}

impl Subscriptions {
    pub(crate) async fn begin(
        &self,
        app: &App,
        request: &Request,
        pushes: mpsc::Sender<Value>,
    ) -> Answer {
        let sub = request.text("sub")?.to_owned();
        if self.running.lock().contains_key(&sub) {
            return Err(Refused::new(
                Kind::Conflict,
                format!("{sub} is subscribed already"),
            ));
        }
        let durable = request.flag("durable")?;
        let stream = match request.optional_text("stream")? {
            Some("$all") | None => None,
            Some(name) => Some(stream_of(name)?),
        };
        let head = app.head().position.get();
        let (mut after, mut from_version) = (0, 1);
        match request.get("from") {
            None => {}
            Some(Value::String(word)) if word == "current" => after = head,
            Some(Value::String(word)) if word == "first" => {}
            Some(value) => {
                let from = value.as_u64();
                let from = from.ok_or_else(|| wrong("from", "is no number and not `current`"))?;
                match &stream {
                    Some(_) => from_version = from,
                    None => after = from.saturating_sub(1),
                }
            }
        }
        if durable && let Some(done) = reached(app.store().as_ref(), &cursor(&sub)).await? {
            (after, from_version) = (done, 1);
        }
        let (acknowledged, acks) = watch::channel(after);
        let following = Following {
            app: app.clone(),
            sub: sub.clone(),
            stream,
            from_version,
            types: request.texts("types")?,
            after,
            limited: durable,
            acknowledged: acks,
            pushes,
        };
        let task = self.tasks.spawn(following.run()).abort_handle();
        let running = Running {
            task,
            durable,
            acknowledged,
        };
        self.running.lock().insert(sub, running);
        Ok(json!({ "after": after, "head": head }))
    }

    pub(crate) async fn acknowledge(&self, app: &App, request: &Request) -> Answer {
        let sub = request.text("sub")?;
        let position = request.number("pos")?;
        let durable = {
            let all = self.running.lock();
            let running = all.get(sub).ok_or_else(|| unknown(sub))?;
            running
                .acknowledged
                .send_modify(|at| *at = position.max(*at));
            running.durable
        };
        if durable {
            let (id, now) = (app.runtime().new_id(), now(app));
            let append = Append::new(id, now).record(record(&cursor(sub), position));
            app.store().append(append).await?;
        }
        Ok(json!({}))
    }

    pub(crate) fn end(&self, request: &Request) -> Answer {
        let sub = request.text("sub")?;
        self.running
            .lock()
            .remove(sub)
            .ok_or_else(|| unknown(sub))?;
        Ok(json!({}))
    }
}

fn unknown(sub: &str) -> Refused {
    Refused::new(Kind::NotFound, format!("{sub} is not subscribed"))
}

fn cursor(sub: &str) -> String {
    format!("subscription\0{sub}")
}

fn now(app: &App) -> Timestamp {
    app.runtime().clock().now()
}

impl Following {
    async fn run(mut self) {
        let filter = Filter {
            categories: self.stream.iter().map(|_| CATEGORY.to_owned()).collect(),
            ..Filter::default()
        };
        let mut subscription = self.app.runtime().subscribe(SubscriptionOptions {
            after: GlobalPosition::new(self.after),
            filter,
        });
        // The positions that are out and not acknowledged, ascending.
        let mut out = std::collections::VecDeque::new();
        loop {
            let batch = match subscription.next().await {
                Ok(batch) => batch,
                Err(error) => {
                    tracing::warn!(sub = self.sub, %error, "a subscription cannot read on");
                    return;
                }
            };
            for commit in &batch.commits {
                for event in commit.events() {
                    let position = event.position().get();
                    let wanted = position > self.after
                        && self.stream.as_ref().is_none_or(|stream| {
                            event.part().stream_key() == stream.key()
                                && event.version().get() >= self.from_version
                        })
                        && (self.types.is_empty()
                            || self.types.iter().any(|name| name == event.event_type()));
                    if !wanted {
                        continue;
                    }
                    if self.limited && !self.has_room(&mut out).await {
                        return;
                    }
                    out.push_back(position);
                    let Some(event) = shown_ref(&event) else {
                        continue;
                    };
                    let push = json!({ "sub": self.sub, "event": event });
                    if self.pushes.send(push).await.is_err() {
                        return;
                    }
                }
                if !self.limited {
                    out.clear();
                }
            }
        }
    }

    /// Waits until fewer than the limit are out. False when nobody can acknowledge any more.
    async fn has_room(&mut self, out: &mut std::collections::VecDeque<u64>) -> bool {
        loop {
            let done = *self.acknowledged.borrow_and_update();
            while out.front().is_some_and(|position| *position <= done) {
                out.pop_front();
            }
            if (out.len() as u64) < UNACKNOWLEDGED_MAX {
                return true;
            }
            if self.acknowledged.changed().await.is_err() {
                return false;
            }
        }
    }
}
