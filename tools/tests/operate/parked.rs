//! What a saga's follower has parked, through the tool: seen, grouped, tried again and left out.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use chronicler::App;
use chronicler::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::directory::Directory;
use crate::tool::{Ran, run};

/// Whether the routes of the watcher are broken; the one test turns it.
static BROKEN: AtomicBool = AtomicBool::new(true);

#[derive(Clone, Default, Serialize, Deserialize)]
struct Door;

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Knock;

impl Event for Knock {}

impl Aggregate for Door {
    const CATEGORY: &'static str = "door";
    type Command = Knock;
    type Event = Knock;
    type Reply = ();
    type Rejection = Never;

    fn decide(&self, knock: Knock, _: &Context) -> Decided<Self> {
        Ok(knock.into())
    }

    fn evolve(&mut self, _: &Knock) {}
}

struct Watcher;

impl Saga for Watcher {
    const NAME: &'static str = "watcher";
    type State = u32;
    type Event = Knock;

    fn routes(on: &mut Routes<Self>) {
        on.event::<Door>(|_, info| {
            assert!(
                !BROKEN.load(Ordering::SeqCst),
                "no way for {}",
                info.position
            );
            Route::start_or_resume(&info.id)
        });
    }

    fn on(&self, _: &u32, _: &Input, _: &SagaContext) -> Next<Self> {
        Next::stay().record(Knock)
    }

    fn evolve(heard: &mut u32, _: &Knock) {
        *heard += 1;
    }
}

async fn tool(dir: &Path, verb: &str, more: &[&str]) -> Ran {
    let mut arguments = vec![
        "--json".to_owned(),
        verb.to_owned(),
        dir.display().to_string(),
    ];
    arguments.extend(more.iter().map(|&more| more.to_owned()));
    if verb.ends_with("-parked") {
        arguments.extend(["--by", "ada", "--why", "mended"].map(str::to_owned));
    }
    let asked = move || run(arguments.iter().map(String::as_str).collect::<Vec<_>>());
    tokio::task::spawn_blocking(asked).await.unwrap()
}

async fn said(dir: &Path, verb: &str, more: &[&str]) -> Value {
    let ran = tool(dir, verb, more).await;
    assert_eq!(ran.exit, 0, "{}", ran.err);
    serde_json::from_str(&ran.out).unwrap()
}

async fn heard(app: &App, id: &str) -> u32 {
    app.settled().await;
    let watcher = app.saga::<Watcher>().unwrap();
    let (tenant, id) = (Tenant::default(), id.try_into().unwrap());
    watcher.get(&tenant, &id).await.unwrap().state
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn n4_what_a_saga_has_parked_is_seen_tried_again_and_left_out() {
    let directory = Directory::none();
    let dir = directory.path.as_path();
    let app = App::open(dir).aggregate::<Door>().saga(Watcher);
    let app = app.start().await.unwrap();
    for id in ["a", "b", "a"] {
        app.send::<Door>(id, Knock).await.unwrap();
    }
    app.settled().await;
    let status = said(dir, "status", &[]).await;
    let follower = &status["followers"][0];
    assert_eq!(
        (&follower["name"], &follower["parked"]),
        (&"saga:watcher".into(), &3.into())
    );
    let group = said(dir, "parked", &["saga:watcher"]).await;
    assert_eq!((&group["events"], &group["held"]), (&2.into(), &1.into()));
    assert_eq!(group["keys"], serde_json::json!(["door/a", "door/b"]));
    assert!(
        group["reason"].as_str().unwrap().contains("no way for"),
        "{group}"
    );

    // Nothing is left out, or tried, that nobody named.
    assert_eq!(tool(dir, "drop-parked", &["saga:watcher"]).await.exit, 64);
    assert_eq!(
        tool(dir, "drop-parked", &["saga:nobody", "--all"])
            .await
            .exit,
        3
    );
    let first = ["saga:watcher", "--position", "1"];
    assert_eq!(said(dir, "drop-parked", &first).await["events"], 1);
    BROKEN.store(false, Ordering::SeqCst);
    let name = group["group"].as_str().unwrap();
    let retried = said(dir, "retry-parked", &["saga:watcher", "--group", name]).await;
    // That which waited for the one that was dropped may have failed in the same way by now.
    assert!(matches!(retried["keys"].as_u64(), Some(1..=2)), "{retried}");
    assert_eq!(heard(&app, "b").await, 1);
    said(dir, "retry-parked", &["saga:watcher", "--key", "door/a"]).await;
    assert_eq!(heard(&app, "a").await, 1);
    app.stop().await;
}
