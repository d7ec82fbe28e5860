//! Snapshots of streams, as a checker saves and loads them.

use chronicler::domain::StreamVersion;
use chronicler::store::{Direction, Snapshot, Store, read_events};
use serde_json::{Value, json};

use crate::answer::{Answer, Kind, Refused};
use crate::events::stream_of;
use crate::requests::Request;

pub(crate) async fn save(store: &dyn Store, request: &Request) -> Answer {
    let stream = stream_of(request.text("stream")?)?;
    let version = StreamVersion::new(request.number("seq")?);
    let data = request.text("data")?;
    let forward = Direction::Forward;
    let found = read_events(store, &stream, version, version, 1, forward).await?;
    let Some(event) = found.unwrap_or_default().into_iter().next() else {
        let message = format!("the stream has no event {version}");
        return Err(Refused::new(Kind::NotFound, message));
    };
    let snapshot = Snapshot {
        version,
        sequence: event.sequence,
        commit_id: event.commit_id,
        schema_version: 1,
        payload: data.to_owned().into(),
    };
    store.save_snapshot(&stream, snapshot).await?;
    Ok(json!({ "seq": version.get(), "data": data }))
}

pub(crate) async fn load(store: &dyn Store, request: &Request) -> Answer {
    let stream = stream_of(request.text("stream")?)?;
    let found = store.load_snapshot(&stream, at_most(request)?).await?;
    Ok(found.map_or(Value::Null, |snapshot| {
        let data = String::from_utf8_lossy(&snapshot.payload).into_owned();
        json!({ "seq": snapshot.version.get(), "data": data })
    }))
}

pub(crate) async fn delete(store: &dyn Store, request: &Request) -> Answer {
    let stream = stream_of(request.text("stream")?)?;
    store.delete_snapshots(&stream, at_most(request)?).await?;
    Ok(json!({}))
}

fn at_most(request: &Request) -> Result<StreamVersion, Refused> {
    let limit = request.optional_number("max_seq")?;
    Ok(limit.map_or(StreamVersion::MAX, StreamVersion::new))
}
