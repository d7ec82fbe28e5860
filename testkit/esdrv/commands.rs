//! Commands to the built-in aggregates, and their states.

use chronicler::domain::{Aggregate, CommandId, GlobalPosition, StreamVersion, Timestamp};
use chronicler::prelude::*;
use chronicler::store::codec::EventDecoder;
use chronicler::store::{Direction, Filter, RecordedEvent, read_all_events, read_events};
use order_payment::domain::{
    Inventory, Line, MessageId, Order, OrderCommand, Payment, PaymentPlan, Placement, Process,
    SourceTime,
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::account::{Account, AccountCommand};
use crate::answer::{Answer, Kind, Refused};
use crate::events::shown;
use crate::register::{Register, RegisterCommand};
use crate::requests::{Request, wrong};
use crate::transfer::Transfer;

/// The time that a command id without a time of its own is said to be from. The driver's memory reaches back
/// further, so that such an id is as good on the next day.
const TIMELESS: Timestamp = Timestamp::from_millis(1_767_225_600_000);

pub(crate) async fn command(app: &App, request: &Request) -> Answer {
    let (name, aid) = (request.text("name")?, request.text("aid")?);
    let args = request.get("args").cloned().unwrap_or_else(|| json!({}));
    match request.text("agg")? {
        Account::CATEGORY => {
            let mut command: AccountCommand = decoded(name, args)?;
            if let AccountCommand::Reserve { from, .. } = &mut command {
                *from = aid.to_owned();
            }
            send::<Account>(app, request, command).await
        }
        Register::CATEGORY => {
            let command = RegisterCommand::read(name, &args).map_err(Refused::invalid)?;
            send::<Register>(app, request, command).await
        }
        Transfer::CATEGORY => send::<Transfer>(app, request, decoded(name, args)?).await,
        Order::CATEGORY if name == "Place" => {
            let command = OrderCommand::Place(placement(aid, &args)?);
            send::<Order>(app, request, command).await
        }
        Order::CATEGORY => send::<Order>(app, request, decoded(name, args)?).await,
        Payment::CATEGORY => send::<Payment>(app, request, decoded(name, args)?).await,
        Inventory::CATEGORY => send::<Inventory>(app, request, decoded(name, args)?).await,
        other => Err(Refused::invalid(format!(
            "no aggregate {other:?} is built in"
        ))),
    }
}

/// A command by the name of its variant and the fields in `args`.
fn decoded<C: serde::de::DeserializeOwned>(name: &str, args: Value) -> Result<C, Refused> {
    let is_empty = args.as_object().is_some_and(serde_json::Map::is_empty);
    let mut tagged = serde_json::Map::new();
    tagged.insert(name.to_owned(), args);
    let found = serde_json::from_value(Value::Object(tagged));
    match found {
        Err(_) if is_empty => serde_json::from_value(Value::String(name.to_owned())),
        found => found,
    }
    .map_err(|error| Refused::invalid(format!("command {name:?}: {error}")))
}

async fn send<A: Aggregate>(app: &App, request: &Request, command: A::Command) -> Answer
where
    A::Reply: serde::Serialize,
    A::Rejection: std::fmt::Display,
{
    let aid = request.text("aid")?;
    let mut sending = app.command::<A>(aid, command);
    if let Some(cid) = request.optional_text("cid")? {
        sending = sending.command_id(command_id(cid));
    }
    let receipt = sending.send().await?;
    let (to, count) = (receipt.position, receipt.event_count());
    let events = if count > 0 {
        // By position: recent ones are in memory, and the events of a command lie together.
        let from = GlobalPosition::new(to.get().saturating_sub(count - 1));
        let (store, forward) = (app.store().as_ref(), Direction::Forward);
        read_all_events(store, from, to, Filter::default(), usize::MAX, forward).await?
    } else {
        Vec::new()
    };
    Ok(json!({
        "events": events.iter().map(shown).collect::<Vec<_>>(),
        "version": receipt.version.get(),
        "pos": receipt.position.get(),
        "reply": receipt.reply,
        "dup": receipt.duplicate,
    }))
}

fn command_id(cid: &str) -> CommandId {
    let own = Uuid::parse_str(cid)
        .ok()
        .and_then(|id| CommandId::from_uuid(id).ok());
    own.unwrap_or_else(|| CommandId::derived(TIMELESS, cid))
}

async fn events_of<A: Aggregate>(
    app: &App,
    aid: &str,
    from: StreamVersion,
    to: StreamVersion,
) -> Result<Vec<RecordedEvent>, Refused> {
    let stream = chronicler::domain::StreamId::of(A::CATEGORY, aid).map_err(Refused::invalid)?;
    let (store, forward) = (app.store().as_ref(), Direction::Forward);
    let found = read_events(store, &stream, from, to, usize::MAX, forward).await?;
    Ok(found.unwrap_or_default())
}

pub(crate) async fn state(app: &App, request: &Request) -> Answer {
    match request.text("agg")? {
        Account::CATEGORY => state_of::<Account>(app, request, |state| Ok(state.shown())).await,
        Register::CATEGORY => state_of::<Register>(app, request, |state| Ok(state.shown())).await,
        Transfer::CATEGORY => state_of::<Transfer>(app, request, as_json).await,
        Order::CATEGORY => state_of::<Order>(app, request, as_json).await,
        Payment::CATEGORY => state_of::<Payment>(app, request, as_json).await,
        Inventory::CATEGORY => {
            // Its keys are no texts, so JSON cannot hold all of it.
            state_of::<Inventory>(app, request, |state| Ok(state.shown())).await
        }
        other => Err(Refused::invalid(format!(
            "no aggregate {other:?} is built in"
        ))),
    }
}

fn as_json<A: serde::Serialize>(state: &A) -> Result<Value, Refused> {
    serde_json::to_value(state).map_err(Refused::invalid)
}

async fn state_of<A: Aggregate>(
    app: &App,
    request: &Request,
    shown: impl Fn(&A) -> Result<Value, Refused>,
) -> Answer {
    let aid = request.text("aid")?;
    let at_version = request.optional_number("at_version")?;
    let at_time = request.optional_number("at_ts")?;
    if at_version.is_none() && at_time.is_none() {
        let found = app.state::<A>(aid).await?;
        return Ok(json!({ "version": found.version.get(), "state": shown(&found.state)? }));
    }
    // As it was: folded from the beginning up to there.
    let to = at_version.map_or(StreamVersion::MAX, StreamVersion::new);
    let events = events_of::<A>(app, aid, StreamVersion::new(1), to).await?;
    let (mut state, mut version) = (A::default(), 0);
    let decoder = EventDecoder::<A::Event>::new();
    for event in events {
        if at_time.is_some_and(|limit| event.timestamp.as_millis() > limit) {
            break;
        }
        let schema = event.schema_version;
        let decoded = decoder.decode_parts(event.codec, &event.event_type, schema, &event.payload);
        let decoded = decoded.map_err(|error| Refused::new(Kind::Unavailable, error))?;
        decoded.into_iter().for_each(|event| state.evolve(&event));
        version = event.version.get();
    }
    Ok(json!({ "version": version, "state": shown(&state)? }))
}

/// Forgets an instance, or has its actor panic.
pub(crate) async fn disturb(app: &App, request: &Request, crash: bool) -> Answer {
    match request.text("agg")? {
        Account::CATEGORY => disturb_one::<Account>(app, request, crash).await,
        Register::CATEGORY => disturb_one::<Register>(app, request, crash).await,
        Transfer::CATEGORY => disturb_one::<Transfer>(app, request, crash).await,
        Order::CATEGORY => disturb_one::<Order>(app, request, crash).await,
        Payment::CATEGORY => disturb_one::<Payment>(app, request, crash).await,
        Inventory::CATEGORY => disturb_one::<Inventory>(app, request, crash).await,
        other => Err(Refused::invalid(format!(
            "no aggregate {other:?} is built in"
        ))),
    }
}

async fn disturb_one<A: Aggregate>(app: &App, request: &Request, crash: bool) -> Answer {
    let id = AggregateId::new(request.text("aid")?).map_err(Refused::invalid)?;
    let handle = app.runtime().aggregate::<A>()?;
    let tenant = Tenant::default();
    if crash {
        handle.crash(&tenant, &id);
    } else {
        handle.passivate(&tenant, &id).await;
    }
    Ok(json!({}))
}

/// An order from its lines and payments; whatever else it needs is filled in.
fn placement(order: &str, args: &Value) -> Result<Placement, Refused> {
    let list = |field: &str| {
        args.get(field)
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default()
    };
    let number = |value: &Value, field: &str| {
        value
            .get(field)
            .and_then(Value::as_i64)
            .ok_or_else(|| wrong(field, "is missing"))
    };
    let line = |value: Value| {
        let sku = value.get("sku").and_then(Value::as_str);
        Ok(Line {
            sku: sku.ok_or_else(|| wrong("sku", "is missing"))?.to_owned(),
            quantity: u32::try_from(number(&value, "quantity")?)
                .map_err(|_| wrong("quantity", "is below zero or far too large"))?,
            unit_price: number(&value, "unit_price")?,
            freight: 0,
            seller: None,
            stocked: value
                .get("stocked")
                .and_then(Value::as_bool)
                .unwrap_or(true),
        })
    };
    let lines: Vec<Line> = list("lines")
        .into_iter()
        .map(line)
        .collect::<Result<_, Refused>>()?;
    let plan = |(sequential, value): (u32, Value)| {
        let kind = value.get("type").and_then(Value::as_str).unwrap_or("card");
        Ok(PaymentPlan {
            sequential,
            kind: kind.to_owned(),
            amount: number(&value, "amount")?,
        })
    };
    let payments = (1..).zip(list("payments")).map(plan);
    let mut payments: Vec<PaymentPlan> = payments.collect::<Result<_, Refused>>()?;
    if payments.is_empty() {
        payments.push(PaymentPlan {
            sequential: 1,
            kind: "full".to_owned(),
            amount: lines.iter().map(Line::price).sum(),
        });
    }
    Ok(Placement {
        message: MessageId {
            source: order.to_owned(),
            line: 1,
        },
        at: SourceTime::from_micros(0),
        customer: args
            .get("customer")
            .and_then(Value::as_str)
            .map(str::to_owned),
        region: None,
        lines,
        payments,
        process: Process::StockFirstByGateway,
    })
}
