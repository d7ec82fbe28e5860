//! How often what a saga decided is tried: errors that pass, errors that stay, everything twice, many at once.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chronicler_domain::{LogSequence, Tenant};
use chronicler_runtime::{EffectCommand, ManualClock, SendOptions};
use chronicler_sagas::{
    CallResult, EffectView, Ending, ExternalService, Request, SagaStatus, SagasBuilder,
};
use chronicler_store::codec::{CodecId, decode};
use chronicler_store::{FactKind, MemoryStore, OutcomeResult};
use futures::FutureExt;
use futures::future::{BoxFuture, join_all, ready};
use uuid::Uuid;

use crate::errand::{Clerk, NODES, Way};
use crate::fixture::{compensated, fixture, id, settle};
use crate::process::Fulfil;
use crate::registered::{Registered, errand, handle, spend};
use crate::shop::{Charge, Gateway, Order, OrderCommand, Script, Status};
use crate::watch::events;

#[tokio::test]
async fn m51_an_undo_that_fails_for_a_while_is_tried_again_with_backoff_and_succeeds() {
    let clerk = Clerk::default();
    clerk.plan("c", Way::Refuses, 1);
    clerk.plan("undo b", Way::Fails, 4);
    let mut f = Registered::errands(&clerk).fresh().await;
    f.order("e", OrderCommand::Touch).await;
    for (calls, wait) in [(1, 100), (2, 200), (3, 400), (4, 800)] {
        assert_eq!(clerk.calls("undo b"), calls);
        let status = errand(&f).await;
        assert!(
            matches!(status, SagaStatus::Compensating { .. }),
            "{status:?}"
        );
        // Chance makes a wait shorter by up to half.
        f.clock.advance(Duration::from_millis(wait / 2 - 1));
        settle().await;
        if calls == 2 {
            f = Registered::errands(&clerk).after(f).await;
        }
        assert_eq!(clerk.calls("undo b"), calls, "not before its time");
        assert_eq!(clerk.calls("undo a"), 0, "the undos keep their order");
        f.clock.advance(Duration::from_millis(wait / 2 + 1));
        settle().await;
    }
    assert_eq!(errand(&f).await, compensated("c"));
    assert_eq!(clerk.took(), ["a", "b", "undo b", "undo a"]);
    spend(&f).await;
    assert_eq!((clerk.calls("undo b"), clerk.calls("undo a")), (5, 1));
}

#[tokio::test]
async fn m64_what_is_refused_for_good_is_asked_once() {
    for undo_is_refused in [false, true] {
        let clerk = Clerk::default();
        clerk.plan("b", Way::Refuses, 1);
        if undo_is_refused {
            clerk.plan("undo a", Way::Refuses, 1);
        }
        let f = Registered::errands(&clerk).fresh().await;
        f.order("e", OrderCommand::Touch).await;
        spend(&f).await;
        let f = Registered::errands(&clerk).after(f).await;
        spend(&f).await;
        let calls = clerk.0.lock().calls.clone();
        let asked: Vec<_> = calls.iter().map(|(text, _)| text.as_str()).collect();
        assert_eq!(asked, ["a", "b", "undo a"]);
        let status = errand(&f).await;
        let is_stuck = matches!(status, SagaStatus::CompensationStuck { .. });
        assert!(is_stuck == undo_is_refused, "{status:?}");
        assert!(is_stuck || status == compensated("b"), "{status:?}");
    }
    // A command, refused by its aggregate.
    let f = fixture().await;
    f.place("o", 11).await;
    spend(&f).await;
    let history = handle::<Fulfil>(&f)
        .history(&Tenant::default(), &id("o"))
        .await
        .unwrap();
    let count = |name: &str| {
        history
            .iter()
            .filter(|line| line.event_type == name)
            .count()
    };
    // `reserve` and `reject`.
    assert_eq!(
        (count("$Decided"), count("$Answered"), count("$Retrying")),
        (2, 2, 0)
    );
}

#[tokio::test]
async fn m80_many_sagas_at_one_aggregate_all_end_and_the_total_is_conserved() {
    /// Takes no money for every third order.
    struct Picky(Gateway);

    fn is_liked(order: &str) -> bool {
        order.trim_start_matches('o').parse::<u32>().unwrap() % 3 > 0
    }

    impl ExternalService for Picky {
        fn call(&self, key: Uuid, request: Vec<u8>) -> BoxFuture<'static, CallResult> {
            match decode(CodecId::BINCODE, &request).unwrap() {
                Charge::Take { order, .. } if !is_liked(&order) => {
                    ready(CallResult::rejected(&"declined")).boxed()
                }
                _ => self.0.call(key, request),
            }
        }
    }

    let gateway = Gateway::default();
    let picky = SagasBuilder::default().service("gateway", Arc::new(Picky(gateway.clone())));
    let registered = Registered {
        // Far fewer than come at once: the others are turned away and come again.
        inbox_max: 8,
        ..Registered::new(picky)
    };
    let (store, clock) = (MemoryStore::new(), ManualClock::default());
    let f = registered.start(store, gateway, clock).await;
    let names: Vec<_> = (0..60).map(|n| format!("o{n}")).collect();
    let (tenant, place) = (
        Tenant::default(),
        OrderCommand::Place {
            units: 1,
            cents: 500,
        },
    );
    let placed = names.iter().map(|name| async {
        let (id, options) = (id(name), SendOptions::default());
        let sent = f
            .runtime
            .send::<Order>(&tenant, &id, place.clone(), options);
        sent.await.unwrap();
    });
    join_all(placed).await;
    settle().await;
    assert!(
        f.facts(FactKind::OPEN_SAGA).await > 0,
        "some were turned away"
    );
    for _ in 0..100 {
        f.clock.advance(Duration::from_millis(100));
        settle().await;
    }
    let reserved = f.stock().await.reserved;
    let mut out = vec![0_i32];
    for event in events(&f.store, "stock").await {
        let change = match event.event_type.as_str() {
            "Reserved" => 1,
            "Released" => -1,
            other => panic!("{other}"),
        };
        out.push(out.last().unwrap() + change);
    }
    assert_eq!(
        out.iter().max(),
        Some(&10),
        "all that there was, and never more"
    );
    assert_eq!(
        usize::try_from(*out.last().unwrap()).unwrap(),
        reserved.len()
    );
    for name in &names {
        let expected = match (reserved.get(name), is_liked(name)) {
            (Some(1), true) => (
                SagaStatus::Ended {
                    how: Ending::Completed,
                },
                Status::Confirmed,
                500,
            ),
            (None, true) => (compensated("out of stock"), Status::Rejected, 0),
            (None, false) => {
                let status = f.status(name).await;
                let reasons = [compensated("out of stock"), compensated("declined")];
                assert!(reasons.contains(&status), "{name}: {status:?}");
                (status, Status::Rejected, 0)
            }
            other => panic!("{name}: {other:?}"),
        };
        let order = f.order_status(name).await.unwrap();
        assert_eq!(
            (f.status(name).await, order, f.charges(name).0),
            expected,
            "{name}"
        );
    }
    assert_eq!(f.facts(FactKind::OPEN_SAGA).await, 0);
    assert_eq!(f.facts(FactKind::TIMER).await, 0);
}

#[tokio::test]
async fn m88_every_call_and_its_undo_delivered_twice_take_effect_once() {
    let clerk = Clerk::default();
    for request in ["a", "b", "undo a", "undo b"] {
        clerk.plan(request, Way::LosesReply, 1);
    }
    clerk.plan("c", Way::Fails, 1);
    clerk.plan("c", Way::Refuses, 1);
    let f = Registered::errands(&clerk).fresh().await;
    f.order("e", OrderCommand::Touch).await;
    spend(&f).await;
    assert_eq!(errand(&f).await, compensated("c"));
    assert_eq!(clerk.took(), ["a", "b", "undo b", "undo a"]);
    let calls = clerk.0.lock().calls.clone();
    let keys: BTreeSet<_> = calls.iter().map(|(_, key)| *key).collect();
    assert_eq!(
        (calls.len(), keys.len()),
        (10, 5),
        "each twice, under one key"
    );
    for twice in calls.chunks(2) {
        assert_eq!(twice[0], twice[1]);
    }
}

/// The commands that a saga has sent, by the type of the event that each led to.
fn commands(effects: &[EffectView]) -> [(&'static str, &Request); 3] {
    let undo = effects[0].spec.undo.as_ref().unwrap();
    [
        ("Reserved", &effects[0].spec.request),
        ("Released", &undo.if_done),
        ("Rejected", &effects[2].spec.request),
    ]
}

#[tokio::test]
async fn m88_m89_every_command_and_its_undo_delivered_twice_take_effect_once() {
    let f = fixture().await;
    f.gateway.inner.lock().script = Script::Declines;
    f.place("o", 3).await;
    f.gateway.inner.lock().script = Script::Honest;
    f.place("other", 4).await;
    let view = f.view("o").await;
    assert_eq!(view.status, compensated("declined"));
    let mut f = f;
    for life in 0..2 {
        let (stock, head) = (f.stock().await, f.runtime.head());
        for (name, request) in commands(&view.effects) {
            let Request::Command {
                category,
                codec,
                command,
                ..
            } = request
            else {
                panic!("{name}: {request:?} is no command")
            };
            let mut all = events(&f.store, category).await.into_iter();
            let event = all.find(|event| event.event_type == name).unwrap();
            let again = EffectCommand {
                target: event.stream,
                codec: CodecId::new(*codec),
                command: Bytes::copy_from_slice(command),
                effect_id: event.commit_id,
                decided_at: LogSequence::ZERO.next(),
                metadata: event.commit_metadata,
                deadline: None,
            };
            let outcome = f.runtime.effects().dispatch(again).await.unwrap();
            assert_eq!(outcome.result, OutcomeResult::Reply, "{name}, life {life}");
        }
        settle().await;
        assert_eq!(
            f.runtime.head(),
            head,
            "life {life}: nothing more was written"
        );
        assert_eq!(f.stock().await, stock, "life {life}");
        // What the targets have done is found in the log, too.
        f = f.restart().await;
    }
}

#[tokio::test]
async fn m90_an_action_that_fails_at_any_node_undoes_what_was_done_before_it() {
    let cases = [
        (Way::Refuses, 1),
        (Way::Fails, 3),
        (Way::LosesReply, 3),
        (Way::Panics, 3),
    ];
    for (place, node) in NODES.into_iter().enumerate() {
        for (way, times) in cases {
            let clerk = Clerk::default();
            clerk.plan(node, way, times);
            let f = Registered::errands(&clerk).fresh().await;
            f.order("e", OrderCommand::Touch).await;
            spend(&f).await;
            let mut expected: Vec<_> = NODES[..place]
                .iter()
                .map(|node| (*node).to_owned())
                .collect();
            if way == Way::LosesReply {
                expected.push(node.to_owned());
            }
            if way != Way::Refuses {
                // Nobody knows whether it was done.
                expected.push(format!("undo {node} if done"));
            }
            expected.extend(
                NODES[..place]
                    .iter()
                    .rev()
                    .map(|node| format!("undo {node}")),
            );
            assert_eq!(clerk.took(), expected, "{node} {way:?}");
            assert_eq!(clerk.calls(node), times, "{node} {way:?}");
            assert_eq!(errand(&f).await, compensated(node), "{way:?}");
        }
    }
}
