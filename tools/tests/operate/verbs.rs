//! Verbs that change something: asked of the application that has the directory open, or carried out in it.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;

use chronicler::App;
use chronicler::domain::{StreamId, Timestamp};
use chronicler::operator::{OperatorRequest, OperatorVerb};
use chronicler::runtime::DurableOptions;
use chronicler::store::{Append, EventLog, FactKind, FactQuery, SideRecord, Store};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::directory::Directory;
use crate::tool::{Ran, run};

fn ask(dir: &Path, arguments: &[&str]) -> Ran {
    let (verb, more) = arguments.split_first().unwrap();
    let dir = dir.to_str().unwrap();
    run([
        &["--json", verb, dir],
        more,
        &["--by", "ada", "--why", "mended"],
    ]
    .concat())
}

fn said(ran: &Ran) -> Value {
    assert_eq!(ran.exit, 0, "{}", ran.err);
    serde_json::from_str(&ran.out).unwrap()
}

/// Sets an instance aside, as the runtime does.
async fn quarantine(store: &dyn Store, name: &str) {
    let stream = StreamId::of("account", name).unwrap();
    let append =
        Append::new(Uuid::from_u128(7), Timestamp::from_millis(1)).record(SideRecord::Fact {
            kind: FactKind::QUARANTINE,
            key: stream.key().to_owned().into(),
            value: Some("it broke".into()),
        });
    store.append(append).await.unwrap();
}

/// What operators did, as the log has it.
async fn journaled(store: &dyn Store) -> Vec<Value> {
    let facts = store.facts(FactQuery::all(FactKind::OPERATOR_VERB)).await;
    let facts = facts.unwrap().into_iter();
    facts
        .map(|fact| serde_json::from_slice(&fact.value).unwrap())
        .collect()
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_application_does_what_the_tool_asks_and_journals_who_and_why() {
    let directory = Directory::with(3).await;
    let store = directory.open();
    quarantine(&store, "a").await;
    drop(store);
    let app = App::open(&directory.path).start().await.unwrap();
    let mode = fs::metadata(directory.path.join("operator.sock"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let subscription = app
        .runtime()
        .subscribe_durably("mailer", DurableOptions::default());
    drop(subscription.await.unwrap());
    // Names are taken as they are.
    let spaced = app
        .runtime()
        .subscribe_durably(" mailer", DurableOptions::default());
    drop(spaced.await.unwrap());
    let path = directory.path.clone();
    let (status, released, again, forgotten, unknown) = blocking(move || {
        let status = run(["--json", "status", path.to_str().unwrap()]);
        let released = ask(&path, &["release", "account/a"]);
        let again = ask(&path, &["release", "account/a"]);
        let forgotten = ask(&path, &["forget-subscription", "mailer"]);
        let unknown = ask(&path, &["rebuild-view", "nobody"]);
        (status, released, again, forgotten, unknown)
    })
    .await;
    let status = said(&status);
    assert_eq!(status["process"], std::process::id());
    assert_eq!(status["read_only"], Value::Null);
    assert_eq!(
        status["quarantined"],
        json!([{ "stream": "account/a", "reason": "it broke" }])
    );
    assert_eq!(
        status["subscriptions"],
        json!([{ "name": " mailer", "position": 0 }, { "name": "mailer", "position": 0 }])
    );
    assert_eq!(said(&released)["was_quarantined"], true);
    assert_eq!(said(&again)["was_quarantined"], false);
    assert_eq!(said(&forgotten)["was_known"], true);
    assert_eq!(unknown.exit, 3);
    assert!(unknown.err.contains("nobody"), "{}", unknown.err);
    assert!(app.runtime().quarantined().is_empty());
    let left = app.runtime().durable_subscriptions().await.unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].0, " mailer");
    let journaled = journaled(app.store().as_ref()).await;
    let verbs: Vec<_> = journaled
        .iter()
        .map(|verb| verb["verb"].as_str().unwrap())
        .collect();
    assert_eq!(
        verbs,
        ["release", "release", "forget-subscription", "rebuild-view"]
    );
    for verb in journaled {
        assert_eq!(
            (&verb["by"], &verb["why"]),
            (&json!("ada"), &json!("mended"))
        );
    }
    app.stop().await;
    assert!(!directory.path.join("operator.sock").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_no_application_runs_the_verb_is_carried_out_in_the_directory() {
    let directory = Directory::with(3).await;
    let store = directory.open();
    quarantine(&store, "a").await;
    drop(store);
    let path = directory.path.clone();
    let (status, released, view, absent) = blocking(move || {
        // Left behind by an application that was killed.
        drop(std::os::unix::net::UnixListener::bind(path.join("operator.sock")).unwrap());
        let status = run(["status", path.to_str().unwrap()]);
        let released = ask(&path, &["release", "account/a"]);
        let view = ask(&path, &["rebuild-view", "balances"]);
        let absent = ask(&path.join("nowhere"), &["release", "account/a"]);
        (status, released, view, absent)
    })
    .await;
    assert_eq!(status.exit, 3);
    assert!(
        status.err.contains("no application listens"),
        "{}",
        status.err
    );
    assert_eq!(said(&released)["was_quarantined"], true);
    assert_eq!(view.exit, 3);
    assert_ne!(absent.exit, 0);
    assert!(!directory.path.join("nowhere").exists());
    let store = directory.open();
    let left = store.facts(FactQuery::all(FactKind::QUARANTINE)).await;
    assert!(left.unwrap().is_empty());
    assert_eq!(journaled(&store).await.len(), 1);
    drop(store);
    // And an application takes the place of the socket that is left.
    let app = App::open(&directory.path).start().await.unwrap();
    let path = directory.path.clone();
    let status = blocking(move || run(["--json", "status", path.to_str().unwrap()])).await;
    assert_eq!(said(&status)["quarantined"], json!([]));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_in_use_without_a_socket_is_refused_and_told_who_has_it() {
    let directory = Directory::with(3).await;
    let store = directory.open();
    let path = directory.path.clone();
    let refused = blocking(move || ask(&path, &["release", "account/a"])).await;
    assert_eq!(refused.exit, 3);
    assert!(refused.err.contains("process"), "{}", refused.err);
    drop(store);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nonsense_on_the_socket_is_answered_and_in_nobodys_way() {
    let directory = Directory::with(1).await;
    // Longer than an address of a socket may be.
    let deep = directory.path.join("x".repeat(120));
    fs::create_dir(&deep).unwrap();
    let app = App::open(&deep).start().await.unwrap();
    let answers = blocking(move || {
        let folder = fs::File::open(&deep).unwrap();
        let through = format!(
            "/proc/self/fd/{}/operator.sock",
            std::os::fd::AsRawFd::as_raw_fd(&folder)
        );
        // Whoever says nothing is waited for, and holds nobody up.
        let _silent: Vec<_> = (0..5)
            .map(|_| UnixStream::connect(&through).unwrap())
            .collect();
        let request = |line: &[u8]| -> Value {
            let mut stream = UnixStream::connect(&through).unwrap();
            stream.write_all(line).unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            let mut answer = String::new();
            BufReader::new(stream).read_line(&mut answer).unwrap();
            serde_json::from_str(&answer).unwrap()
        };
        let long = [&b"{\"verb\":\""[..], &vec![b'x'; 100 << 10], b"\"}\n"].concat();
        let without_reason = b"{\"verb\":\"release\",\"stream\":\"account/a\"}\n";
        let wrong_stream =
            b"{\"verb\":\"release\",\"stream\":\"a\",\"by\":\"ada\",\"why\":\"so\"}\n";
        [
            b"",
            &b"\xff\n"[..],
            b"{\"verb\":\"explode\"}\n",
            &long,
            without_reason,
            wrong_stream,
        ]
        .map(request)
    })
    .await;
    for answer in answers {
        assert_eq!(answer["Err"]["kind"], "invalid", "{answer}");
    }
    app.stop().await;
}

#[tokio::test]
async fn a_verb_that_changes_something_says_who_and_why() {
    let app = App::in_memory().start().await.unwrap();
    let request = |by: &str, why: &str| OperatorRequest {
        verb: OperatorVerb::Release {
            stream: "account/a".to_owned(),
        },
        by: by.to_owned(),
        why: why.to_owned(),
    };
    for refused in [
        request("", "so"),
        request("ada", " "),
        request("ada", &"x".repeat(1_001)),
    ] {
        assert!(app.operate(&refused).await.is_err());
    }
    assert!(journaled(app.store().as_ref()).await.is_empty());
    app.operate(&request("ada", "so")).await.unwrap();
    assert_eq!(journaled(app.store().as_ref()).await.len(), 1);
    app.stop().await;
}
