//! A journey: a flight, a hotel for each night, a payment outside, and what comes after.

use chronicler_sagas::step_keys;
use std::time::Duration;

use chronicler_domain::Tenant;
use chronicler_sagas::steps::{
    Attempt, Compensable, Define, Definition, Heard, Nil, StepSaga, Steps, to, to_service,
};
use chronicler_sagas::{Answer, Ending, Input, Route, Routes, SagaStatus};

use crate::parts::{Part, PartCommand, PartEvent, Willing};
use crate::world::{World, begins, id, settle, start_where_it_begins};

step_keys! {
    Asked = "asked" -> ();
    Flight = "flight" -> u64;
    Nights = "nights" -> Vec<u64>;
    Insurance = "insurance" -> u64;
    Money = "money" -> usize;
    Book = "book" -> u64;
    Letter = "letter" -> ();
    Party = "party" -> Vec<()>;
}

pub(crate) fn act(part: &str, what: impl Into<String>) -> chronicler_sagas::steps::To<Part> {
    to(part, PartCommand::Do(what.into()))
}

struct Journey;

impl Journey {
    fn routes_of<S: StepSaga>(on: &mut Routes<Steps<S>>) {
        on.event::<Part>(|event, info| match event {
            event if begins(event) => Route::start(&info.id),
            PartEvent::Did(what) if what == "stop" => Route::resume(&info.id),
            _ => Route::ignore(),
        });
    }
}

impl StepSaga for Journey {
    const NAME: &'static str = "journey";
    type Start = ();

    fn routes(on: &mut Routes<Steps<Self>>) {
        Self::routes_of(on);
    }

    fn begin(_: &Input) -> Option<()> {
        Some(())
    }

    fn heard(event: &Input, _: &()) -> Heard {
        match event.event::<Part>() {
            Some(PartEvent::Did(what)) if what == "stop" => Heard::Cancel {
                reason: "stopped".to_owned(),
            },
            _ => Heard::Nothing,
        }
    }

    fn define(steps: Define<Self, Nil, Compensable>) -> Definition<Self> {
        steps
            .on_undo(Asked, |_| act("desk", "apologize"))
            .step(
                Flight,
                |_| act("airline", "fly"),
                |_, seat| act("airline", format!("give back seat {seat}")),
            )
            .each(
                Nights,
                |_| {
                    (1..=3)
                        .map(|night| act("hotel", format!("night {night}")))
                        .collect()
                },
                |_, place, _| act("hotel", format!("not night {}", place + 1)),
            )
            .step_if(
                Insurance,
                |seen| seen.id() != "careless",
                |_| act("insurer", "insure"),
                |_, _| act("insurer", "insure not"),
            )
            .external::<Money, String>(
                Money,
                |seen| to_service("service", &format!("pay for seat {}", seen.output(Flight))),
                |_, attempt| match attempt {
                    Attempt::Done(paid) => to_service("service", &format!("give back {paid}")),
                    Attempt::Unknown => to_service("service", &"look up and give back"),
                },
            )
            .within(Duration::from_secs(900))
            .pivot(Book, |seen| {
                let insured = seen.output_if_run(Insurance).is_some();
                act(
                    "desk",
                    format!(
                        "book {} nights, insured: {insured}",
                        seen.output(Nights).len()
                    ),
                )
            })
            .then(Letter, |_| to::<Willing>("post", "letter".to_owned()))
            .then_each(Party, |_| {
                ["a", "b"]
                    .map(|guest| to::<Willing>("post", format!("card to {guest}")))
                    .into()
            })
            .build()
    }
}

const THERE: [&str; 5] = ["fly", "night 1", "night 2", "night 3", "insure"];
const BACK: [&str; 6] = [
    "insure not",
    "not night 3",
    "not night 2",
    "not night 1",
    "give back seat 1",
    "apologize",
];

fn compensated(reason: &str) -> SagaStatus {
    SagaStatus::Ended {
        how: Ending::Compensated {
            reason: reason.to_owned(),
        },
    }
}

#[tokio::test]
async fn m01_every_step_is_taken_once_in_order() {
    let world = World::<Journey>::new().await;
    world.begin("trip").await;
    assert_eq!(
        world.status("trip").await,
        SagaStatus::Ended {
            how: Ending::Completed
        }
    );
    let after = [
        "book 3 nights, insured: true",
        "letter",
        "card to a",
        "card to b",
    ];
    assert_eq!(world.words().await, [&THERE[..], &after].concat());
    assert_eq!(world.service.0.lock().calls, ["pay for seat 1"]);
}

#[tokio::test]
async fn m16_a_skipped_step_is_neither_done_nor_undone() {
    let world = World::<Journey>::new().await;
    world
        .refuse("desk", &["book 3 nights, insured: false"])
        .await;
    world.begin("careless").await;
    let reason = "step \"book\" was rejected: book 3 nights, insured: false is refused";
    assert_eq!(world.status("careless").await, compensated(reason));
    assert!(world.state("careless").await.is_skipped("insurance"));
    assert_eq!(world.words().await, [&THERE[..4], &BACK[1..]].concat());
    assert_eq!(
        world.service.0.lock().calls,
        ["pay for seat 1", "give back 14"]
    );
}

#[tokio::test]
async fn m15_a_rejection_at_any_step_undoes_what_was_done_the_latest_first() {
    for (part, refused, there, back) in [
        ("airline", "fly", 0, 5),
        ("insurer", "insure", 4, 1),
        ("desk", "book 3 nights, insured: true", 5, 0),
    ] {
        let world = World::<Journey>::new().await;
        world.refuse(part, &[refused]).await;
        world.begin("trip").await;
        assert!(matches!(
            world.status("trip").await,
            SagaStatus::Ended {
                how: Ending::Compensated { .. }
            }
        ));
        assert_eq!(
            world.words().await,
            [&THERE[..there], &BACK[back..]].concat(),
            "{refused}"
        );
    }
}

#[tokio::test]
async fn m57_of_several_at_once_those_that_were_done_are_undone_when_one_is_rejected() {
    let world = World::<Journey>::new().await;
    world.refuse("hotel", &["night 2"]).await;
    world.begin("trip").await;
    let reason = "step \"nights\" was rejected: night 2 is refused";
    assert_eq!(world.status("trip").await, compensated(reason));
    let words = world.words().await;
    let there = ["fly", "night 1", "night 3"];
    let back = [
        "not night 3",
        "not night 1",
        "give back seat 1",
        "apologize",
    ];
    assert_eq!(words, [&there[..], &back].concat());
}

#[tokio::test]
async fn m05_a_call_of_which_nobody_knows_is_undone_as_unknown() {
    let world = World::<Journey>::new().await;
    world.service.0.lock().loses = vec!["pay for seat 1".to_owned()];
    world.begin("trip").await;
    for _ in 0..4 {
        world.advance(2).await;
    }
    assert!(matches!(
        world.status("trip").await,
        SagaStatus::Ended {
            how: Ending::Compensated { .. }
        }
    ));
    let effects = world.service.0.lock().effects();
    assert_eq!(
        effects,
        ["look up and give back", "pay for seat 1"],
        "each key once"
    );
}

#[tokio::test]
async fn m04_a_step_that_takes_too_long_is_undone() {
    let world = World::<Journey>::new().await;
    world.service.0.lock().loses = vec!["pay for seat 1".to_owned()];
    world.begin("trip").await;
    // It waits for its next attempt when its time is over.
    world.advance(901).await;
    let status = world.status("trip").await;
    assert!(
        matches!(
            status,
            SagaStatus::Ended {
                how: Ending::Compensated { .. }
            }
        ),
        "{status:?}"
    );
    assert_eq!(world.words().await, [&THERE[..], &BACK].concat());
}

#[tokio::test]
async fn m07_m76_cancelled_at_any_moment_all_is_taken_back_or_all_is_carried_through() {
    let (mut cancelled, mut under_way, mut over) = (0, 0, 0);
    for moment in 0..60 {
        let world = World::<Journey>::new().await;
        // Write by write, and then the wish comes while the next is not durable yet.
        let one_write = async || {
            settle().await;
            world.store.faults().release();
            world.store.faults().hold();
        };
        world.store.faults().hold();
        futures::join!(world.tell_at_once("trip"), one_write());
        for _ in 0..moment {
            one_write().await;
        }
        settle().await;
        let (tenant, name) = (Tenant::default(), id("trip"));
        let asked = world.handle().cancel(&tenant, &name, "no", "ann");
        let (answer, ()) = futures::join!(asked, async {
            settle().await;
            world.store.faults().release();
        });
        settle().await;
        let words = world.words().await;
        match answer {
            Ok(()) => {
                cancelled += 1;
                assert_eq!(world.status("trip").await, compensated("no"), "{moment}");
                // As many of the steps as were done are undone, from the last of them on.
                let there = words
                    .iter()
                    .take_while(|word| THERE.contains(&word.as_str()));
                let there = there.count();
                assert_eq!(words[..there], THERE[..there]);
                assert_eq!(words[there..], BACK[5 - there..], "{moment}");
                let service = world.service.0.lock();
                assert!(matches!(service.calls.len(), 0 | 2), "{:?}", service.calls);
            }
            Err(refused) => {
                assert!(refused.is_refusal(), "{refused}");
                match refused.to_string() {
                    reason if reason.contains("never started") => {}
                    reason if reason.contains("pivot") => under_way += 1,
                    reason if reason.contains("over") => over += 1,
                    other => panic!("{other}"),
                }
                assert_eq!(
                    world.status("trip").await,
                    SagaStatus::Ended {
                        how: Ending::Completed
                    }
                );
            }
        }
        if over > 3 {
            break;
        }
    }
    assert!(
        cancelled > 5 && under_way > 0 && over > 0,
        "{cancelled} {under_way} {over}"
    );
}

#[tokio::test]
async fn m84_another_definition_quarantines_the_instance_alone_and_cancel_undoes_it() {
    struct Longer;
    impl StepSaga for Longer {
        const NAME: &'static str = "journey";
        type Start = ();
        fn routes(on: &mut Routes<Steps<Self>>) {
            start_where_it_begins(on);
        }
        fn begin(_: &Input) -> Option<()> {
            Some(())
        }
        fn define(steps: Define<Self, Nil, Compensable>) -> Definition<Self> {
            steps
                .step(
                    Flight,
                    |_| act("airline", "fly"),
                    |_, _| act("airline", "do not fly"),
                )
                .step_without_undo(Insurance, |_| act("insurer", "insure"))
                .external::<Money, String>(
                    Money,
                    |_| to_service("service", &"pay"),
                    |_, _| to_service("service", &"give back"),
                )
                .within(Duration::from_secs(10))
                .pivot(Book, |_| act("desk", "book"))
                .build()
        }
    }
    let world = World::<Journey>::new().await;
    world.service.0.lock().loses = vec!["pay for seat 1".to_owned()];
    world.begin("old").await;
    let world: World<Longer> = world.restart().await;
    world.service.0.lock().loses.clear();
    world.advance(2).await;
    let SagaStatus::Quarantined { reason } = world.status("old").await else {
        panic!("{:?}", world.status("old").await)
    };
    assert!(reason.contains("another definition"), "{reason}");
    world.begin("new").await;
    assert_eq!(
        world.status("new").await,
        SagaStatus::Ended {
            how: Ending::Completed
        }
    );
    // What is to be undone lies in the journal.
    world.cancel("old").await.unwrap();
    assert_eq!(world.status("old").await, compensated("changed my mind"));
    let words = world.words().await;
    assert!(words.ends_with(&BACK.map(str::to_owned)), "{words:?}");
}

#[tokio::test]
async fn m27_an_operator_settles_what_waits_for_a_person() {
    let world = World::<Journey>::new().await;
    world.refuse("hotel", &["not night 2"]).await;
    world.service.0.lock().refuses = vec!["pay for seat 1".to_owned()];
    world.begin("trip").await;
    let SagaStatus::CompensationStuck { stuck } = world.status("trip").await else {
        panic!("{:?}", world.status("trip").await)
    };
    assert_eq!(stuck[0].0, "nights[1]");
    let answer = Answer::Unknown(String::new());
    let (tenant, name) = (Tenant::default(), id("trip"));
    let settle_it = |key: &'static str| {
        world
            .handle()
            .settle(&tenant, &name, key, answer.clone(), "ann", "by telephone")
    };
    let refused = settle_it("flight").await.unwrap_err();
    assert!(refused.is_refusal(), "it is over: {refused}");
    settle_it("nights[1]").await.unwrap();
    settle().await;
    let reason = "step \"money\" was rejected: pay for seat 1 is refused";
    assert_eq!(world.status("trip").await, compensated(reason));
}

#[tokio::test]
async fn a_definition_and_the_path_of_an_instance_are_drawn() {
    let definition = Steps::<Journey>::of();
    let drawn = definition.definition().to_mermaid();
    let begin =
        "flowchart TD\n    begin([begin])\n    s0[\"asked\"]\n    begin --> s0\n    undo -.-> s0\n";
    assert!(drawn.starts_with(begin), "{drawn}");
    for line in [
        "s2[[\"nights\"]]",
        "s4[/\"money\"/]",
        "s4 -. \"after 900s\" .-> undo",
        "s5{{\"book\"}}",
        "s7 --> done([done])",
    ] {
        assert!(drawn.contains(line), "{line} is not in {drawn}");
    }
    let world = World::<Journey>::new().await;
    world.refuse("hotel", &["not night 2"]).await;
    world.refuse("insurer", &["insure"]).await;
    world.begin("trip").await;
    let view = world.view("trip").await;
    let drawn = definition
        .definition()
        .to_mermaid_of(&view.state, &view.effects);
    for line in [
        "class s0 undone",
        "class s1 undone",
        "class s2 stuck",
        "class s3 refused",
        "class s4 ahead",
        "classDef stuck",
    ] {
        assert!(drawn.contains(line), "{line} is not in {drawn}");
    }
}

#[tokio::test]
async fn m84_released_by_the_right_application_the_inputs_that_waited_are_taken_in_order() {
    struct Other;
    impl StepSaga for Other {
        const NAME: &'static str = "journey";
        type Start = ();
        fn routes(on: &mut Routes<Steps<Self>>) {
            Journey::routes_of(on);
        }
        fn begin(_: &Input) -> Option<()> {
            Some(())
        }
        fn define(steps: Define<Self, Nil, Compensable>) -> Definition<Self> {
            steps.pivot(Book, |_| act("desk", "book")).build()
        }
    }
    let world = World::<Journey>::new().await;
    world.service.0.lock().loses = vec!["pay for seat 1".to_owned()];
    world.begin("trip").await;
    let world: World<Other> = world.restart().await;
    world.service.0.lock().loses.clear();
    // The outcome of the call waits, and behind it the timer that is then no longer for anything, and an event.
    world.advance(2).await;
    world.advance(901).await;
    world.did_something("trip", "stop").await;
    assert!(matches!(
        world.status("trip").await,
        SagaStatus::Quarantined { .. }
    ));
    let (tenant, name) = (Tenant::default(), id("trip"));
    // Released by the wrong application it stays as it is.
    world.handle().release(&tenant, &name, "ann").await.unwrap();
    assert!(matches!(
        world.status("trip").await,
        SagaStatus::Quarantined { .. }
    ));
    let world: World<Journey> = world.restart().await;
    let released = world.handle().release(&tenant, &name, "ann").await.unwrap();
    settle().await;
    assert!(
        matches!(released, SagaStatus::Ended { .. } | SagaStatus::Running),
        "{released:?}"
    );
    assert_eq!(
        world.status("trip").await,
        SagaStatus::Ended {
            how: Ending::Completed
        }
    );
    assert!(world.state("trip").await.is_done("money"));
}
