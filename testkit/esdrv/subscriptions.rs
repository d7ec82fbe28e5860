//! Subscriptions: what happens is pushed, and a durable one goes on behind the last event that was acknowledged.

use std::collections::HashMap;

use chronicler::domain::{GlobalPosition, StreamId};
use chronicler::prelude::*;
use chronicler::runtime::{
    Acknowledger, Begin, DurableOptions, DurableSubscription, SubscribeError, Subscription,
    SubscriptionOptions,
};
use chronicler::store::{EventRef, Filter, ReadError};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

use crate::answer::{Answer, Kind, Refused};
use crate::events::{shown_ref, stream_of};
use crate::requests::{Request, wrong};

/// The subscriptions of an open directory.
#[derive(Default)]
pub(crate) struct Subscriptions {
    running: Mutex<HashMap<String, Running>>,
    tasks: TaskTracker,
}

struct Running {
    task: JoinHandle<()>,
    /// A durable one's.
    acknowledger: Option<Acknowledger>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Pushes events to whoever reads the driver's output.
struct Pusher {
    sub: String,
    /// Within a stream: events from this one on.
    from_version: u64,
    after: GlobalPosition,
    pushes: mpsc::Sender<Value>,
}

/// Where a subscription is to begin.
struct Origin {
    begin: Begin,
    from_version: u64,
}

fn origin(request: &Request, stream: Option<&StreamId>) -> Result<Origin, Refused> {
    let (begin, from_version) = match request.get("from") {
        None => (Begin::First, 1),
        Some(Value::String(word)) if word == "current" => (Begin::Now, 1),
        Some(Value::String(word)) if word == "first" => (Begin::First, 1),
        Some(value) => {
            let from = value.as_u64();
            let from = from.ok_or_else(|| wrong("from", "is no number and not `current`"))?;
            match stream {
                Some(_) => (Begin::First, from),
                None => (Begin::After(GlobalPosition::new(from.saturating_sub(1))), 1),
            }
        }
    };
    Ok(Origin {
        begin,
        from_version,
    })
}

impl Subscriptions {
    pub(crate) async fn begin(
        &self,
        app: &App,
        request: &Request,
        pushes: mpsc::Sender<Value>,
    ) -> Answer {
        let sub = request.text("sub")?.to_owned();
        let taken = || Refused::new(Kind::Conflict, format!("{sub} is subscribed already"));
        if self.running.lock().contains_key(&sub) {
            return Err(taken());
        }
        let stream = match request.optional_text("stream")? {
            Some("$all") | None => None,
            Some(name) => Some(stream_of(name)?),
        };
        let Origin {
            begin,
            from_version,
        } = origin(request, stream.as_ref())?;
        let filter = Filter {
            event_types: request.texts("types")?,
            stream,
            ..Filter::default()
        };
        let runtime = app.runtime();
        let mut pusher = Pusher {
            sub: sub.clone(),
            from_version,
            after: GlobalPosition::ZERO,
            pushes,
        };
        let (running, answer) = if request.flag("durable")? {
            let mut options = DurableOptions {
                begin,
                filter,
                ..DurableOptions::default()
            };
            if let Some(max) = request.optional_number("in_flight")? {
                options.unacknowledged_max = usize::try_from(max).unwrap_or(usize::MAX);
            }
            let subscription = runtime.subscribe_durably(&sub, options).await?;
            let confirmed = subscription.confirmation();
            let acknowledger = Some(subscription.acknowledger());
            let task = self.tasks.spawn(pusher.push_durably(subscription));
            let running = Running { task, acknowledger };
            let (after, head) = (confirmed.after.get(), confirmed.head.get());
            let answer = json!({ "after": after, "head": head, "resumed": confirmed.resumed });
            (running, answer)
        } else {
            let head = app.head().position;
            let after = match begin {
                Begin::First => GlobalPosition::ZERO,
                Begin::Now => head,
                Begin::After(position) if position > head => {
                    return Err(ReadError::BeyondHead { position, head }.into());
                }
                Begin::After(position) => position,
            };
            pusher.after = after;
            let options = SubscriptionOptions {
                after,
                filter: filter.clone(),
            };
            let task = self
                .tasks
                .spawn(pusher.push(runtime.subscribe(options), filter));
            let running = Running {
                task,
                acknowledger: None,
            };
            (running, json!({ "after": after.get(), "head": head.get() }))
        };
        match self.running.lock().entry(sub.clone()) {
            std::collections::hash_map::Entry::Occupied(_) => return Err(taken()),
            std::collections::hash_map::Entry::Vacant(place) => place.insert(running),
        };
        Ok(answer)
    }

    pub(crate) async fn acknowledge(&self, request: &Request) -> Answer {
        let sub = request.text("sub")?;
        let position = GlobalPosition::new(request.number("pos")?);
        let acknowledger = {
            let all = self.running.lock();
            let running = all.get(sub).ok_or_else(|| unknown(sub))?;
            running.acknowledger.clone()
        };
        // Without a cursor there is nothing to keep.
        if let Some(acknowledger) = acknowledger {
            acknowledger.acknowledge(position).await?;
        }
        Ok(json!({}))
    }

    pub(crate) async fn end(&self, request: &Request) -> Answer {
        let sub = request.text("sub")?;
        let running = self.running.lock().remove(sub);
        let mut running = running.ok_or_else(|| unknown(sub))?;
        running.task.abort();
        // Until its task is gone the name is in use. That it was cancelled is no news.
        drop((&mut running.task).await);
        Ok(json!({}))
    }
}

fn unknown(sub: &str) -> Refused {
    Refused::new(Kind::NotFound, format!("{sub} is not subscribed"))
}

impl From<SubscribeError> for Refused {
    fn from(error: SubscribeError) -> Self {
        match error {
            SubscribeError::Append(error) => error.into(),
            SubscribeError::Read(error) => error.into(),
            SubscribeError::InUse(_) => Self::new(Kind::Conflict, error),
            SubscribeError::Unknown(_) => Self::new(Kind::NotFound, error),
            _ => Self::invalid(error),
        }
    }
}

impl Pusher {
    async fn push(self, mut subscription: Subscription, filter: Filter) {
        loop {
            let batch = match subscription.next().await {
                Ok(batch) => batch,
                Err(error) => return self.ends(&error),
            };
            for commit in &batch.commits {
                let wanted = |event: &EventRef<'_>| {
                    event.position() > self.after
                        && event.version().get() >= self.from_version
                        && filter.wants(event)
                };
                for event in commit.events().filter(wanted) {
                    if !self.give(&event).await {
                        return;
                    }
                }
            }
        }
    }

    async fn push_durably(self, mut subscription: DurableSubscription) {
        loop {
            let delivery = match subscription.next().await {
                Ok(delivery) => delivery,
                Err(error) => return self.ends(&error),
            };
            for event in delivery.events() {
                if event.version().get() < self.from_version {
                    // Of its stream nothing earlier is wanted, so nothing earlier is out.
                    if let Err(error) = subscription.acknowledge(event.position()).await {
                        return self.ends(&error);
                    }
                } else if !self.give(&event).await {
                    return;
                }
            }
        }
    }

    /// False when nobody reads any more.
    async fn give(&self, event: &EventRef<'_>) -> bool {
        let Some(event) = shown_ref(event) else {
            return true;
        };
        let push = json!({ "sub": self.sub, "event": event });
        self.pushes.send(push).await.is_ok()
    }

    fn ends(&self, error: &dyn std::fmt::Display) {
        tracing::warn!(sub = self.sub, %error, "a subscription cannot go on");
    }
}
