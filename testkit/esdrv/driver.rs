//! An open directory, and what is done with it.

use std::sync::Arc;
use std::time::Duration;

use chronicler::domain::{GlobalPosition, LogSequence, StreamVersion};
use chronicler::prelude::*;
use chronicler::runtime::ManualClock;
use chronicler::sagas::SagaHandle;
use chronicler::store::{
    AllQuery, Append, Direction, Filter, Health, Start, read_all_events, read_events,
};
use futures::StreamExt;
use order_payment::gateway::{Book, Moods};
use order_payment::sagas::Checkout;
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;

use crate::answer::{Answer, Kind, Refused};
use crate::commands;
use crate::events::{expected, new_events, shown, stream_of};
use crate::requests::{Request, wrong};
use crate::snapshots;
use crate::subscriptions::Subscriptions;
use crate::tracking::{Tracking, reached};
use crate::transfer::MoneyTransfer;
use crate::views::{Balances, Ledger, OrderStatus, Shown, digest, ledger};

/// An open directory.
pub(crate) struct Driver {
    pub(crate) app: App,
    pub(crate) clock: Option<ManualClock>,
    pub(crate) book: Arc<Book>,
    pub(crate) moods: Moods,
    pub(crate) tracking: Tracking,
    pub(crate) subscriptions: Subscriptions,
}

impl Driver {
    pub(crate) async fn answer(&self, request: &Request, pushes: &mpsc::Sender<Value>) -> Answer {
        let (app, store) = (&self.app, self.app.store().as_ref());
        match request.op.as_str() {
            "append" => self.append(request).await,
            "append_multi" => self.append_multi(request).await,
            "read" => self.read(request).await,
            "read_all" => self.read_all(request).await,
            "track_get" => {
                let max = reached(store, &consumer(request.text("name")?)).await?;
                Ok(json!({ "max": max }))
            }
            "snap_save" => snapshots::save(store, request).await,
            "snap_load" => snapshots::load(store, request).await,
            "snap_delete" => snapshots::delete(store, request).await,
            "subscribe" => self.subscriptions.begin(app, request, pushes.clone()).await,
            "ack" => self.subscriptions.acknowledge(request).await,
            "unsubscribe" => self.subscriptions.end(request).await,
            "cmd" => commands::command(app, request).await,
            "state" => commands::state(app, request).await,
            "passivate" => commands::disturb(app, request, false).await,
            "crash_actor" => commands::disturb(app, request, true).await,
            "query" => match request.text("proj")? {
                Balances::NAME => self.query::<Balances>(request).await,
                OrderStatus::NAME => self.query::<OrderStatus>(request).await,
                Ledger::NAME => self.ledger(request).await,
                other => Err(no_projection(other)),
            },
            "digest" => match request.text("proj")? {
                Balances::NAME => self.digest::<Balances>(request).await,
                OrderStatus::NAME => self.digest::<OrderStatus>(request).await,
                Ledger::NAME => self.ledger(request).await,
                other => Err(no_projection(other)),
            },
            "rebuild" => {
                let rebuilt = app.projections().rebuild(request.text("proj")?).await;
                rebuilt.map_err(|error| Refused::new(Kind::Unavailable, error))?;
                Ok(json!({}))
            }
            "progress" => {
                let name = request.text("proj")?;
                let info = app.projections().info(name);
                let info = info.ok_or_else(|| no_projection(name))?;
                Ok(json!({
                    "pos": info.position.get(),
                    "head": info.head.get(),
                    "lag": info.lag_events,
                    "parked": info.parked_events,
                }))
            }
            "saga" => self.saga(request).await,
            "saga_list" => self.saga_list(request).await,
            "settled" => {
                app.settled().await;
                Ok(json!({}))
            }
            "gateway" => self.program(request),
            "gateway_log" => Ok(json!({ "calls": self.book.calls() })),
            "tick" => {
                let clock = self.clock.as_ref();
                let clock = clock.ok_or_else(|| Refused::invalid("the clock is real"))?;
                clock.advance(Duration::from_millis(request.number("ms")?));
                Ok(json!({ "now": clock_now(clock) }))
            }
            "verify" => self.verify().await,
            "health" => self.health(request).await,
            other => Err(Refused::new(Kind::Unsupported, format!("no op {other:?}"))),
        }
    }

    async fn append(&self, request: &Request) -> Answer {
        let name = request.text("stream")?;
        let events = new_events(request)?;
        let mut append = self.commit();
        if !name.is_empty() {
            let expected = expected(request.get("expected"))?;
            append = append.stream(stream_of(name)?, expected, events);
        } else if !events.is_empty() {
            return Err(wrong("stream", "is empty"));
        }
        let mut turn = None;
        if let Some(track) = request.get("track") {
            let track = request.within(track, "track")?;
            let (name, position) = (consumer(track.text("name")?), track.number("pos")?);
            let store = self.app.store().as_ref();
            let (held, record) = self.tracking.advance(store, &name, position).await?;
            append = append.record(record);
            turn = Some(held);
        }
        let appended = self.app.store().append(append).await;
        drop(turn);
        let appended = appended?;
        let mut answer = Map::new();
        if let Some(part) = appended.parts.first() {
            let positions = part.positions.to_vec();
            answer.insert("first".to_owned(), part.first_version.get().into());
            answer.insert("last".to_owned(), part.last_version.get().into());
            answer.insert("pos".to_owned(), positions_json(&positions));
        } else {
            answer.insert("pos".to_owned(), json!([]));
        }
        if appended.duplicate {
            answer.insert("dup".to_owned(), true.into());
        }
        Ok(Value::Object(answer))
    }

    async fn append_multi(&self, request: &Request) -> Answer {
        let mut append = self.commit();
        for write in request.list("writes")? {
            let write = request.within(write, "writes")?;
            let stream = stream_of(write.text("stream")?)?;
            append = append.stream(
                stream,
                expected(write.get("expected"))?,
                new_events(&write)?,
            );
        }
        let appended = self.app.store().append(append).await?;
        let positions: Vec<GlobalPosition> = appended
            .parts
            .iter()
            .flat_map(|part| part.positions.to_vec())
            .collect();
        Ok(json!({ "pos": positions_json(&positions), "dup": appended.duplicate }))
    }

    fn commit(&self) -> Append {
        let runtime = self.app.runtime();
        Append::new(runtime.new_id(), runtime.clock().now())
    }

    async fn read(&self, request: &Request) -> Answer {
        let stream = stream_of(request.text("stream")?)?;
        let store = self.app.store().as_ref();
        let (from, to) = bounds(request)?;
        let (from, to) = (
            StreamVersion::new(from),
            to.map_or(StreamVersion::MAX, StreamVersion::new),
        );
        let limit = limit(request)?;
        let direction = direction(request)?;
        let events = match limit {
            0 => Vec::new(),
            limit => {
                let found = read_events(store, &stream, from, to, limit, direction).await?;
                found.unwrap_or_default()
            }
        };
        let head = store.stream_head(&stream).await?;
        let version = head.map_or(0, |head| head.version.get());
        Ok(json!({ "events": events.iter().map(shown).collect::<Vec<_>>(), "version": version }))
    }

    async fn read_all(&self, request: &Request) -> Answer {
        let store = self.app.store().as_ref();
        let (from, to) = bounds(request)?;
        let (from, to) = (
            GlobalPosition::new(from),
            to.map_or(GlobalPosition::MAX, GlobalPosition::new),
        );
        let filter = Filter {
            event_types: request.texts("types")?,
            ..Filter::default()
        };
        let since = request.optional_number("since_ts")?;
        let limit = limit(request)?;
        let wanted = if since.is_some() { usize::MAX } else { limit };
        let events = match limit {
            0 => Vec::new(),
            _ => read_all_events(store, from, to, filter, wanted, direction(request)?).await?,
        };
        let late = events
            .iter()
            .filter(|event| since.is_none_or(|since| event.timestamp.as_millis() >= since));
        let shown: Vec<Value> = late.take(limit).map(shown).collect();
        Ok(json!({ "events": shown, "head": store.head().position.get() }))
    }

    async fn view<P: Shown>(&self, request: &Request) -> Result<(GlobalPosition, P), Refused> {
        let unavailable = |error: &dyn std::fmt::Display| Refused::new(Kind::Unavailable, error);
        let view = self.app.view::<P>();
        let read = match request.optional_number("min_pos")? {
            Some(position) => view.at_least(GlobalPosition::new(position)).await,
            None => view.read(),
        };
        let read = read.map_err(|error| unavailable(&error))?;
        Ok((read.position(), P::clone(&read)))
    }

    async fn query<P: Shown>(&self, request: &Request) -> Answer {
        let (position, view) = self.view::<P>(request).await?;
        let mut all = view.all();
        let value = match request.optional_text("key")? {
            Some(key) => all.remove(key).unwrap_or(Value::Null),
            None => json!(all),
        };
        Ok(json!({ "value": value, "pos": position.get() }))
    }

    async fn digest<P: Shown>(&self, request: &Request) -> Answer {
        let (position, view) = self.view::<P>(request).await?;
        Ok(json!({ "digest": digest(&view.all()), "pos": position.get() }))
    }

    async fn ledger(&self, request: &Request) -> Answer {
        let unavailable = |error: &dyn std::fmt::Display| Refused::new(Kind::Unavailable, error);
        let table = self.app.table::<Ledger>();
        let table = table.map_err(|error| unavailable(&error))?;
        if let Some(position) = request.optional_number("min_pos")? {
            let seen = table.at_least(GlobalPosition::new(position)).await;
            seen.map_err(|error| unavailable(&error))?;
        }
        let (position, all) = ledger(&table).await.map_err(|error| unavailable(&error))?;
        Ok(json!({ "value": all, "digest": digest(&all), "pos": position.get() }))
    }

    async fn saga(&self, request: &Request) -> Answer {
        // The protocol calls it `id`, which is the request's own, too.
        let names = ["saga_id", "sid", "saga", "aid", "key"];
        let named = names.iter().find_map(|name| request.get(name));
        let id = named.unwrap_or(&request.id).as_str();
        let id = id.ok_or_else(|| wrong("saga_id", "is missing"))?;
        let id = AggregateId::new(id).map_err(Refused::invalid)?;
        if let Some(found) = self.saga_of::<MoneyTransfer>(&id).await? {
            return Ok(found);
        }
        if let Some(found) = self.saga_of::<Steps<Checkout>>(&id).await? {
            return Ok(found);
        }
        Err(Refused::new(Kind::NotFound, format!("no saga {id}")))
    }

    async fn saga_of<S: Saga>(&self, id: &AggregateId) -> Result<Option<Value>, Refused> {
        let Some(handle) = self.app.saga::<S>() else {
            return Ok(None);
        };
        let tenant = Tenant::default();
        let found = handle.get(&tenant, id).await?;
        if found.status == SagaStatus::Unknown {
            return Ok(None);
        }
        let history = handle.history(&tenant, id).await?;
        let history: Vec<Value> = history
            .into_iter()
            .map(|line| {
                let (at, what) = (line.timestamp.as_millis(), line.event_type);
                json!({ "ts": at, "what": what, "pos": line.position.get(), "says": line.says })
            })
            .collect();
        let step = found.effects.last().map(|effect| effect.spec.key.clone());
        Ok(Some(json!({
            "saga": S::NAME,
            "status": status_word(&found.status),
            "detail": format!("{:?}", found.status),
            "step": step,
            "history": history,
        })))
    }

    async fn saga_list(&self, request: &Request) -> Answer {
        let wanted = request.optional_text("status")?;
        let mut sagas = Vec::new();
        list(self.app.saga::<MoneyTransfer>(), &mut sagas).await?;
        list(self.app.saga::<Steps<Checkout>>(), &mut sagas).await?;
        sagas.retain(|saga| wanted.is_none_or(|wanted| saga.get("status") == Some(&wanted.into())));
        Ok(json!({ "sagas": sagas }))
    }

    fn program(&self, request: &Request) -> Answer {
        let script = request.get("script").and_then(Value::as_object);
        let script = script.ok_or_else(|| wrong("script", "is no object"))?;
        for (key, mood) in script {
            let mood = mood.as_str().unwrap_or_default();
            self.moods.program(key, mood).map_err(Refused::invalid)?;
        }
        Ok(json!({}))
    }

    /// Whether writes are taken; with `wait`, as soon as they are not.
    async fn health(&self, request: &Request) -> Answer {
        let reason = if request.flag("wait")? {
            Some(self.app.read_only().await)
        } else {
            match self.app.health() {
                Health::Healthy => None,
                Health::ReadOnly(reason) => Some(reason),
            }
        };
        Ok(json!({ "read_only": reason.as_deref() }))
    }

    /// Reads the whole log, and checks that nothing is missing in it.
    async fn verify(&self) -> Answer {
        let everything = AllQuery {
            eventless: true,
            ..AllQuery::from(Start::Sequence(LogSequence::new(1)))
        };
        let mut commits = self.app.store().read_all(everything);
        let (mut sequence, mut position, mut problems) = (0, 0, Vec::new());
        while let Some(batch) = commits.next().await {
            let batch = match batch {
                Ok(batch) => batch,
                Err(error) => {
                    problems.push(error.to_string());
                    break;
                }
            };
            for commit in batch {
                sequence += 1;
                let events = commit.event_count() as u64;
                if commit.sequence().get() != sequence
                    || commit.first_position().get() != position + 1
                {
                    problems.push(format!(
                        "commit {} follows {}",
                        commit.sequence(),
                        sequence - 1
                    ));
                    sequence = commit.sequence().get();
                }
                position += events;
            }
        }
        Ok(json!({
            "ok": problems.is_empty(),
            "commits": sequence,
            "events": position,
            "problems": problems,
        }))
    }

    pub(crate) async fn close(&self) {
        self.app.stop().await;
    }
}

async fn list<S: Saga>(
    handle: Option<&SagaHandle<S>>,
    found: &mut Vec<Value>,
) -> Result<(), Refused> {
    let Some(handle) = handle else {
        return Ok(());
    };
    let open = handle.open().await?;
    found.extend(open.into_iter().map(
        |saga| json!({ "saga": S::NAME, "id": saga.id(), "status": saga.status.word().replace(' ', "_") }),
    ));
    Ok(())
}

fn status_word(status: &SagaStatus) -> String {
    match status {
        SagaStatus::Ended { how } => how.word().to_owned(),
        other => other.word().replace(' ', "_"),
    }
}

fn no_projection(name: &str) -> Refused {
    Refused::new(Kind::NotFound, format!("no projection {name:?}"))
}

fn consumer(name: &str) -> String {
    format!("consumer\0{name}")
}

fn positions_json(positions: &[GlobalPosition]) -> Value {
    positions.iter().map(|position| position.get()).collect()
}

fn bounds(request: &Request) -> Result<(u64, Option<u64>), Refused> {
    let from = request.optional_number("from")?.unwrap_or(1).max(1);
    Ok((from, request.optional_number("to")?))
}

fn limit(request: &Request) -> Result<usize, Refused> {
    let limit = request.optional_number("limit")?;
    Ok(limit.map_or(usize::MAX, |limit| {
        usize::try_from(limit).unwrap_or(usize::MAX)
    }))
}

fn direction(request: &Request) -> Result<Direction, Refused> {
    Ok(if request.flag("desc")? {
        Direction::Backward
    } else {
        Direction::Forward
    })
}

fn clock_now(clock: &ManualClock) -> u64 {
    use chronicler::runtime::Clock;
    clock.now().as_millis()
}
