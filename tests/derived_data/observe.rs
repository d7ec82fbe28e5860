//! Everything that an application answers, in words, so that two of them can be laid side by side.

use std::collections::BTreeMap;
use std::fmt::Debug;

use chronicler::App;
use chronicler::domain::{AggregateId, GlobalPosition, Tenant};
use chronicler::store::{AllQuery, FactKind, FactQuery, Start};
use futures::StreamExt;

use crate::world::{Counts, Fulfil, Gateway, Mended, Order, OrderRows, Stock};

/// Question and answer.
pub(crate) type Answers = BTreeMap<String, String>;

/// The orders of this history. Those of a name that was never used are asked for, too.
pub(crate) const ORDERS: [&str; 16] = [
    "busy",
    "charged-1",
    "charged-2",
    "charged-3",
    "early-ended",
    "early-timed-out",
    "early-waiting",
    "late-waiting",
    "mended-poison",
    "never",
    "parked",
    "poison",
    "retry",
    "stuck",
    "unfolded",
    "unroutable",
];

const KINDS: [FactKind; 8] = [
    FactKind::CURSOR,
    FactKind::TIMER,
    FactKind::OPEN_SAGA,
    FactKind::QUARANTINE,
    FactKind::PARKED,
    FactKind::REGISTRATION,
    FactKind::PAUSE,
    FactKind::OPERATOR_VERB,
];

pub(crate) fn id(name: &str) -> AggregateId {
    AggregateId::new(name).unwrap()
}

/// What can be asked through the front door, whatever else happened at the same time.
pub(crate) async fn answers(app: &App, gateway: &Gateway) -> Answers {
    let mut all = Answers::new();
    let mut note = |question: String, answer: &dyn Debug| {
        drop(all.insert(question, format!("{answer:?}")));
    };
    for order in ORDERS {
        let order_now = app.state::<Order>(order).await.unwrap();
        let answer = (order_now.state, order_now.version);
        note(format!("order {order}"), &answer);
        let saga = app.saga::<Fulfil>().unwrap();
        let saga = saga.get(&Tenant::default(), &id(order)).await.unwrap();
        note(format!("saga {order}: status"), &saga.status);
        note(format!("saga {order}: state"), &saga.state);
        note(format!("saga {order}: timers"), &saga.timers);
        note(format!("saga {order}: pivoted"), &saga.pivoted);
        let times = (saga.started_at, saga.moved_at);
        note(format!("saga {order}: times"), &times);
        for effect in saga.effects {
            let effect_now = (&effect.state, &effect.undo, effect.undo_round);
            note(
                format!("saga {order}: effect {}", effect.spec.key),
                &effect_now,
            );
        }
    }
    let stock = app.state::<Stock>("all").await.unwrap();
    note("stock".to_owned(), &(stock.state, stock.version));
    for name in ["released", "set-aside"] {
        let state = app.state::<Mended>(name).await;
        let state = state.map(|found| (found.state, found.version));
        note(
            format!("fragile {name}"),
            &state.map_err(|error| error.to_string()),
        );
    }
    note("quarantined".to_owned(), &app.runtime().quarantined());
    let head = app.head().position;
    let rows = app.table::<OrderRows>().unwrap();
    let rows = rows.at_least(head).await.unwrap();
    for (key, row) in rows.scan("", None, 100).await.unwrap().rows {
        note(format!("row {}", String::from_utf8_lossy(&key)), &row);
    }
    let counts = app.view::<Counts>().at_least(head).await.unwrap();
    note("counts".to_owned(), &*counts);
    for info in app.projections().list() {
        let now = (info.status, info.parked_events, info.skipped_events);
        note(format!("projection {}", info.name), &now);
        let parked = app.projections().parked(&info.name).await.unwrap();
        let parked = parked
            .iter()
            .map(|event| (&event.key, event.cause, &event.reason));
        let parked: Vec<_> = parked.collect();
        note(format!("projection {}: parked", info.name), &parked);
    }
    let open = app.saga::<Fulfil>().unwrap().open().await.unwrap();
    for saga in open {
        let now = (saga.tenant(), saga.since, saga.status);
        note(format!("open saga {}", saga.id()), &now);
    }
    note("gateway".to_owned(), &gateway.books());
    all
}

/// The same with every place in the log: only of applications to which exactly the same happened.
pub(crate) async fn places(app: &App, gateway: &Gateway) -> Answers {
    let mut all = answers(app, gateway).await;
    let mut note = |question: String, answer: &dyn Debug| {
        drop(all.insert(question, format!("{answer:?}")));
    };
    note("head".to_owned(), &app.head());
    for info in app.projections().list() {
        let place = (info.position, info.head);
        note(format!("place of {}", info.name), &place);
        let parked = app.projections().parked(&info.name).await.unwrap();
        note(format!("place of what {} parked", info.name), &parked);
    }
    for kind in KINDS {
        let facts = app.store().facts(FactQuery::all(kind)).await.unwrap();
        note(format!("facts of kind {}", kind.number()), &facts);
    }
    let query = AllQuery::from(Start::Position(GlobalPosition::ZERO));
    let mut commits = app.store().read_all(query);
    while let Some(batch) = commits.next().await {
        for commit in batch.unwrap() {
            for event in commit.events() {
                let stream = event.part().stream().unwrap();
                let head = app.store().stream_head(&stream).await;
                note(format!("stream {stream}"), &head.unwrap());
                let event_now = (stream, event.version(), event.id());
                note(format!("event {}", event.position()), &event_now);
            }
        }
    }
    all
}

/// Whether it is a question that only [`places`] asks.
pub(crate) fn is_of_places(question: &str) -> bool {
    let begins = ["head", "place of ", "facts of ", "stream ", "event "];
    begins.iter().any(|begin| question.starts_with(begin))
}

/// Fails with every question that is answered otherwise than before.
pub(crate) fn assert_same(before: &Answers, now: &Answers, what: &str) {
    let mut questions: Vec<&String> = before.keys().chain(now.keys()).collect();
    questions.sort();
    questions.dedup();
    let none = "nothing".to_owned();
    let differences: Vec<String> = questions
        .into_iter()
        .filter(|question| before.get(*question) != now.get(*question))
        .map(|question| {
            let answer = |answers: &Answers| answers.get(question).unwrap_or(&none).clone();
            format!(
                "{question}\n  before: {}\n  now:    {}",
                answer(before),
                answer(now)
            )
        })
        .collect();
    assert!(
        differences.is_empty(),
        "{what}: {} answers differ\n{}",
        differences.len(),
        differences.join("\n")
    );
}
