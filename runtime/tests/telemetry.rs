//! A20: what a command does can be followed: spans that begin and end, with what went wrong in them.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use chronicler_domain::{Aggregate, Context, Decided, Decision, Event, Tenant};
use chronicler_runtime::{
    RestartPolicy, Runtime, RuntimeBuilder, SendOptions, StopOptions, WorkerSpec,
};
use chronicler_store::MemoryStore;
use chronicler_store::memory::AppendFault;
use futures::FutureExt;
use serde::{Deserialize, Serialize};
use tracing::Instrument;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context as LayerContext, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

#[derive(Clone, Default, Serialize, Deserialize)]
struct Counter(i64);

#[derive(Clone, Serialize, Deserialize)]
enum Command {
    Add,
    Panic,
}

#[derive(Serialize, Deserialize)]
struct Added;

impl Event for Added {}

impl Aggregate for Counter {
    const CATEGORY: &'static str = "counter";
    type Command = Command;
    type Event = Added;
    type Reply = ();
    type Rejection = chronicler_domain::Never;

    fn decide(&self, command: Command, _: &Context) -> Decided<Self> {
        match command {
            Command::Add => Ok(Decision::from(Added)),
            Command::Panic => panic!("on purpose"),
        }
    }

    fn evolve(&mut self, _: &Added) {
        self.0 += 1;
    }
}

/// What was seen, in words.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<String>>>);

/// The name of an open span, and the correlation id it was given.
struct Open {
    words: String,
}

#[derive(Default)]
struct Fields {
    correlation_id: String,
    message: String,
    error: String,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let value = format!("{value:?}");
        match field.name() {
            "correlation_id" => self.correlation_id = value,
            "message" => self.message = value,
            "error" => self.error = value,
            _ => {}
        }
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Seen {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: LayerContext<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        let words = format!("{} {}", attributes.metadata().name(), fields.correlation_id);
        self.0.lock().unwrap().push(format!("begin {words}"));
        let span = context.span(id).unwrap();
        span.extensions_mut().insert(Open { words });
    }

    fn on_close(&self, id: Id, context: LayerContext<'_, S>) {
        let span = context.span(&id).unwrap();
        if let Some(open) = span.extensions().get::<Open>() {
            self.0.lock().unwrap().push(format!("end {}", open.words));
        }
    }

    fn on_event(&self, event: &tracing::Event<'_>, context: LayerContext<'_, S>) {
        if *event.metadata().level() > Level::WARN {
            return;
        }
        let mut fields = Fields::default();
        event.record(&mut fields);
        let span = context.lookup_current().map_or("", |span| span.name());
        self.0.lock().unwrap().push(format!(
            "{span}: {} {}",
            fields.message.trim_matches('"'),
            fields.error
        ));
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a20_commands_appends_and_recoveries_begin_end_and_say_what_went_wrong() {
    let seen = Seen::default();
    let _following =
        tracing::subscriber::set_default(tracing_subscriber::registry().with(seen.clone()));
    let store = Arc::new(MemoryStore::new());
    let runtime: Runtime = RuntimeBuilder::new(store.clone())
        .aggregate::<Counter>()
        .build()
        .await
        .unwrap();
    let (tenant, id) = (Tenant::default(), "one".try_into().unwrap());
    let send = async |command, correlation: u128| {
        let options = SendOptions {
            correlation_id: Some(uuid::Uuid::from_u128(correlation)),
            ..SendOptions::default()
        };
        runtime
            .send::<Counter>(&tenant, &id, command, options)
            .await
    };
    send(Command::Add, 1).await.unwrap();
    send(Command::Panic, 2).await.unwrap_err();
    store.faults().fail_append(AppendFault::Overloaded);
    send(Command::Add, 3).await.unwrap_err();
    runtime.stop(StopOptions::default()).await;

    let seen = seen.0.lock().unwrap().clone();
    let spans = |which: &str| seen.iter().filter(|line| line.starts_with(which)).count();
    let correlated = |number: u128| uuid::Uuid::from_u128(number).to_string();
    for number in [1, 2, 3] {
        let id = correlated(number);
        assert_eq!(spans(&format!("begin command {id}")), 1, "{seen:#?}");
        assert_eq!(spans(&format!("end command {id}")), 1, "{seen:#?}");
    }
    for number in [1, 3] {
        let id = correlated(number);
        assert_eq!(spans(&format!("begin append {id}")), 1, "{seen:#?}");
        assert_eq!(spans(&format!("end append {id}")), 1, "{seen:#?}");
    }
    assert!(spans("begin recovery") >= 1, "{seen:#?}");
    assert_eq!(spans("begin recovery"), spans("end recovery"), "{seen:#?}");
    assert_eq!(spans("command: command panicked"), 1, "{seen:#?}");
    assert_eq!(spans("append: append failed"), 1, "{seen:#?}");
}

/// The names of the spans above each span of a command, from the nearest on.
#[derive(Clone, Default)]
struct Above(Arc<Mutex<Vec<SpanAbove>>>);

/// A span's name and correlation id, and the names above it.
type SpanAbove = (String, Vec<String>);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Above {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: LayerContext<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        let span = context.span(id).unwrap();
        let above = span.scope().skip(1).map(|span| span.name().to_owned());
        let name = format!("{} {}", span.name(), fields.correlation_id);
        self.0.lock().unwrap().push((name, above.collect()));
    }
}

#[tokio::test(flavor = "current_thread")]
async fn t7_a_command_lies_under_the_span_of_its_sender() {
    let above = Above::default();
    let _following =
        tracing::subscriber::set_default(tracing_subscriber::registry().with(above.clone()));
    let runtime: Runtime = RuntimeBuilder::new(Arc::new(MemoryStore::new()))
        .aggregate::<Counter>()
        .build()
        .await
        .unwrap();
    let (tenant, id) = (Tenant::default(), "one".try_into().unwrap());
    let send = async |correlation: u128| {
        let options = SendOptions {
            correlation_id: Some(uuid::Uuid::from_u128(correlation)),
            ..SendOptions::default()
        };
        let sent = runtime.send::<Counter>(&tenant, &id, Command::Add, options);
        sent.await.unwrap();
    };
    // The first wakes the actor; the second finds it; the third has no span; a worker sends the fourth.
    let request = || tracing::info_span!("request");
    send(1).instrument(tracing::info_span!("first")).await;
    send(2).instrument(request()).await;
    send(3).await;
    let (sent, runtime_of_worker) = (Arc::new(tokio::sync::Notify::new()), runtime.clone());
    let done = Arc::clone(&sent);
    let spec = WorkerSpec {
        name: "sends".to_owned(),
        restart: RestartPolicy::default(),
    };
    let worker = runtime.workers().spawn(spec, move |_| {
        let (runtime, done) = (runtime_of_worker.clone(), Arc::clone(&done));
        async move {
            let options = SendOptions {
                correlation_id: Some(uuid::Uuid::from_u128(4)),
                ..SendOptions::default()
            };
            let (tenant, id) = (Tenant::default(), "one".try_into().unwrap());
            let sent = runtime.send::<Counter>(&tenant, &id, Command::Add, options);
            sent.await.unwrap();
            done.notify_one();
            Ok(())
        }
        .boxed()
    });
    sent.notified().await;
    worker.stop().await;
    runtime.stop(StopOptions::default()).await;

    let seen = above.0.lock().unwrap().clone();
    let of = |what: &str, number: u128| {
        let name = format!("{what} {}", uuid::Uuid::from_u128(number));
        let mut found = seen.iter().filter(|(found, _)| *found == name);
        let (_, above) = found.next().unwrap();
        assert!(found.next().is_none(), "{seen:#?}");
        above.join(" < ")
    };
    assert_eq!(of("command", 1), "first");
    assert_eq!(of("append", 1), "command < first");
    assert_eq!(of("command", 2), "request");
    assert_eq!(of("append", 2), "command < request");
    assert_eq!(of("command", 3), "");
    assert_eq!(
        of("command", 4),
        "",
        "a worker has no span that it lies under"
    );
    let recoveries: Vec<_> = seen
        .iter()
        .filter(|(name, _)| name.starts_with("recovery"))
        .collect();
    assert_eq!(recoveries.len(), 1);
    assert_eq!(recoveries[0].1, ["first"], "who had to wait for it");
}
