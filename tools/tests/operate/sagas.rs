//! Sagas through the tool: listed, shown and changed in a running application, and listed where none runs.

use std::path::{Path, PathBuf};
use std::time::Duration;

use chronicler::App;
use chronicler::prelude::*;
use chronicler::sagas::step_keys;
use chronicler::sagas::steps::{Compensable, Define, Definition, Nil, StepSaga, Steps, to};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::directory::Directory;
use crate::tool::{Ran, run};

#[derive(Clone, Default, Serialize, Deserialize)]
struct Shelf {
    sends: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum ShelfCommand {
    Ask,
    Take,
    PutBack,
    Send,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum ShelfEvent {
    Asked,
    Taken,
    PutBack,
    Sent,
}

#[derive(Clone, Debug, Serialize, Deserialize, thiserror::Error)]
#[error("it does not take anything back")]
struct NotBack;

impl Event for ShelfEvent {}

impl Aggregate for Shelf {
    const CATEGORY: &'static str = "shelf";
    type Command = ShelfCommand;
    type Event = ShelfEvent;
    type Reply = ();
    type Rejection = NotBack;

    fn decide(&self, command: ShelfCommand, ctx: &Context) -> Decided<Self> {
        let _ = ctx;
        match command {
            ShelfCommand::Ask => Ok(ShelfEvent::Asked.into()),
            ShelfCommand::Take => Ok(ShelfEvent::Taken.into()),
            ShelfCommand::PutBack if !self.sends => Err(NotBack),
            ShelfCommand::PutBack => Ok(ShelfEvent::PutBack.into()),
            ShelfCommand::Send => Ok(ShelfEvent::Sent.into()),
        }
    }

    fn evolve(&mut self, event: &ShelfEvent) {
        self.sends |= matches!(event, ShelfEvent::Sent);
    }
}

step_keys! {
    Taken = "take" -> ();
    Approved = "approved" -> String;
    Sent = "send" -> ();
}

struct Sale;

impl StepSaga for Sale {
    const NAME: &'static str = "sale";
    type Start = ();

    fn routes(on: &mut Routes<Steps<Self>>) {
        on.event::<Shelf>(|event, info| match event {
            ShelfEvent::Asked => Route::start(&info.id),
            _ => Route::ignore(),
        });
    }

    fn begin(_: &Input) -> Option<()> {
        Some(())
    }

    fn define(steps: Define<Self, Nil, Compensable>) -> Definition<Self> {
        steps
            .step(
                Taken,
                |sale| to::<Shelf>(sale.id(), ShelfCommand::Take),
                |sale, ()| to::<Shelf>(sale.id(), ShelfCommand::PutBack),
            )
            .wait_for(Approved)
            .within(Duration::from_secs(3_600))
            .pivot(Sent, |sale| to::<Shelf>(sale.id(), ShelfCommand::Send))
            .build()
    }
}

async fn application(dir: &Path) -> App {
    let app = App::open(dir)
        .aggregate::<Shelf>()
        .saga(Steps::<Sale>::of());
    app.start().await.unwrap()
}

/// Runs the tool on a directory: a subcommand of `saga`, and what stands behind the directory.
async fn tool(dir: &Path, verb: &str, more: &[&str]) -> Ran {
    let (dir, verb): (PathBuf, _) = (dir.to_owned(), verb.to_owned());
    let more: Vec<_> = more.iter().map(|more| (*more).to_owned()).collect();
    let asked = move || {
        let mut arguments = vec!["--json", "saga", &verb, dir.to_str().unwrap()];
        arguments.extend(more.iter().map(String::as_str));
        if !matches!(verb.as_str(), "list" | "show") {
            arguments.extend(["--by", "ada", "--why", "a customer asked"]);
        }
        run(arguments)
    };
    tokio::task::spawn_blocking(asked).await.unwrap()
}

fn lines(ran: &Ran) -> Vec<Value> {
    assert_eq!(ran.exit, 0, "{}", ran.err);
    let lines = ran.out.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn status(ran: &Ran) -> String {
    lines(ran)[0]["status"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn m27_sagas_are_listed_shown_and_changed_in_a_running_application() {
    let directory = Directory::none();
    let dir = directory.path.as_path();
    let app = application(dir).await;
    for name in ["a", "b", "c"] {
        app.send::<Shelf>(name, ShelfCommand::Ask).await.unwrap();
    }
    app.settled().await;
    let listed = lines(&tool(dir, "list", &["--waits-for", "approved"]).await);
    assert_eq!(listed.len(), 3);
    assert_eq!(listed[0]["stream"], "saga:sale/a");
    assert_eq!(listed[0]["status"], "waiting");
    let none = tool(dir, "list", &["--older-than", "1h"]).await;
    assert!(lines(&none).is_empty());
    let none = tool(dir, "list", &["--status", "compensation-stuck"]).await;
    assert!(lines(&none).is_empty());

    let shown = lines(&tool(dir, "show", &["saga:sale/a"]).await);
    let shown = &shown[0];
    assert_eq!(shown["remaining"], serde_json::json!(["approved", "send"]));
    assert_eq!(shown["effects"][0]["state"], "done");
    assert!(shown["diagram"].as_str().unwrap().contains("class s0 done"));
    assert!(shown["history"].as_array().unwrap().len() > 4);

    let paused = tool(dir, "pause", &["saga:sale/a"]).await;
    assert_eq!(status(&paused), "paused");
    let signal = ["saga:sale/a", "approved", "--payload", "\"ann\""];
    assert_eq!(status(&tool(dir, "signal", &signal).await), "paused");
    let resumed = tool(dir, "resume", &["saga:sale/a"]).await;
    assert_eq!(resumed.exit, 0, "{}", resumed.err);
    app.settled().await;
    assert_eq!(lines(&tool(dir, "list", &[]).await).len(), 2);

    // What cannot be put back is stuck, visibly, until somebody gives it up.
    tool(dir, "cancel", &["saga:sale/b"]).await;
    app.settled().await;
    let attention = lines(&tool(dir, "list", &["--attention"]).await);
    assert_eq!(attention.len(), 1);
    assert_eq!(attention[0]["status"], "compensation stuck");
    let shown = lines(&tool(dir, "show", &["saga:sale/b"]).await);
    let effect = &shown[0]["effects"][0];
    assert_eq!(effect["sends"], "\"Take\"");
    assert_eq!(effect["undo_sends"], "\"PutBack\"");
    let given_up = tool(dir, "abandon", &["saga:sale/b", "take"]).await;
    assert_eq!(status(&given_up), "abandoned");
    let ended = tool(dir, "terminate", &["saga:sale/c"]).await;
    assert_eq!(status(&ended), "terminated");
    app.settled().await;
    assert!(lines(&tool(dir, "list", &[]).await).is_empty());
    let shown = lines(&tool(dir, "show", &["saga:sale/c"]).await);
    let says = shown[0]["history"].to_string();
    assert!(
        says.contains("terminate  by ada: a customer asked"),
        "{says}"
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_done_is_refused_in_words() {
    let directory = Directory::none();
    let dir = directory.path.as_path();
    let app = application(dir).await;
    app.send::<Shelf>("a", ShelfCommand::Ask).await.unwrap();
    app.settled().await;
    let refusals: [(&str, &[&str], &str); 6] = [
        ("show", &["saga:sale/nobody"], "never started"),
        ("cancel", &["saga:sale/nobody"], "ever started"),
        (
            "cancel",
            &["shelf/a"],
            "no saga that this application defines",
        ),
        ("skip", &["saga:sale/a", "take"], "waits for a person"),
        (
            "signal",
            &["saga:sale/a", "approved", "--payload", "ann"],
            "no JSON",
        ),
        (
            "signal",
            &["saga:sale/a", "approved", "--payload", "17"],
            "expected a string",
        ),
    ];
    for (verb, more, words) in refusals {
        let ran = tool(dir, verb, more).await;
        assert_eq!(ran.exit, 3, "{verb} {more:?}");
        assert!(ran.err.contains(words), "{verb}: {}", ran.err);
    }
    app.stop().await;
    // Where no application runs they are listed all the same.
    let listed = lines(&tool(dir, "list", &[]).await);
    assert_eq!(listed.len(), 1);
    // So are they shown and ended, as far as that takes none of their code.
    let shown = lines(&tool(dir, "show", &["saga:sale/a"]).await);
    assert_eq!(shown[0]["stream"], "saga:sale/a");
    let cancelled = tool(dir, "cancel", &["saga:sale/a"]).await;
    assert_eq!(cancelled.exit, 3);
    assert!(
        cancelled.err.contains("running application"),
        "{}",
        cancelled.err
    );
    let ended = lines(&tool(dir, "terminate", &["saga:sale/a"]).await);
    assert_eq!(ended[0]["status"], "terminated");
    assert!(lines(&tool(dir, "list", &[]).await).is_empty());
    let wrong = tool(dir, "list", &["--older-than", "soon"]).await;
    assert_eq!(wrong.exit, 64);
}
