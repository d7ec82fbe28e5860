//! What follows a refusal, silence, and a step that takes too long.

use chronicler_sagas::step_keys;
use std::time::Duration;

use chronicler_domain::Timestamp;
use chronicler_sagas::steps::{
    Attempt, Compensable, Define, Definition, Nil, StepSaga, Steps, to_service,
};
use chronicler_sagas::{
    Answer, Ending, Payload, PendingEffect, SagaStatus, SagaVerb, Scripted, Tries,
};

use crate::journey::act;
use crate::parts::PartEvent;
use crate::world::World;

step_keys! {
    Charge = "charge" -> usize;
    Parcels = "parcels" -> Vec<usize>;
    Signed = "signed" -> String;
    Ship = "ship" -> u64;
}

/// Up to three cards, two parcels with two carriers each, a signature.
struct Sale;

impl StepSaga for Sale {
    const NAME: &'static str = "sale";
    begins_where_its_part_does!();

    fn define(steps: Define<Self, Nil, Compensable>) -> Definition<Self> {
        steps
            .external::<Charge, String>(
                Charge,
                |seen| to_service("service", &format!("card {}", seen.tried() + 1)),
                |seen, attempt| {
                    let card = seen.tried() + 1;
                    match attempt {
                        Attempt::Done(_) => to_service("service", &format!("refund {card}")),
                        Attempt::Unknown => to_service("service", &format!("find {card}")),
                    }
                },
            )
            .or_else(|seen, _| seen.tried() < 2)
            .tries(Tries::times(2).between(Duration::from_secs(1), Duration::from_secs(1)))
            .probe(|seen| to_service("service", &format!("what of card {}", seen.tried() + 1)))
            .within(Duration::from_secs(60))
            .escalate_after(Duration::from_secs(30))
            .external_each::<Parcels, usize, String>(
                Parcels,
                |seen| {
                    let carrier = seen.tried() + 1;
                    ["a", "b"]
                        .map(|parcel| to_service("service", &format!("{parcel} by {carrier}")))
                        .into()
                },
                |seen, place, _| {
                    let carrier = seen.tried() + 1;
                    to_service("service", &format!("stop {place} at {carrier}"))
                },
            )
            .or_else(|seen, _| seen.tried() < 1)
            .within(Duration::from_secs(60))
            .wait_for(Signed)
            .escalate_after(Duration::from_secs(600))
            .pivot(Ship, |seen| {
                act("shop", format!("ship, signed by {}", seen.output(Signed)))
            })
            .build()
    }
}

fn all(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

async fn sign(world: &World<Sale>) {
    let verb = SagaVerb::Signal {
        name: "signed".to_owned(),
        payload: "\"ann\"".to_owned(),
    };
    world.operate("s", verb).await.unwrap();
}

#[tokio::test]
async fn m10_declined_twice_the_third_card_works_in_the_language_of_steps() {
    let world = World::<Sale>::new().await;
    world.service.0.lock().refuses = all(&["card 1", "card 2", "b by 1"]);
    world.begin("s").await;
    sign(&world).await;
    assert_eq!(world.ended("s").await, Ending::Completed);
    assert_eq!(world.words().await, ["ship, signed by ann"]);
    let calls = world.service.0.lock().calls.clone();
    assert_eq!(
        calls,
        ["card 1", "card 2", "card 3", "a by 1", "b by 1", "b by 2"]
    );
}

#[tokio::test]
async fn m10_when_every_way_is_refused_what_was_done_is_undone_as_it_was_done() {
    let world = World::<Sale>::new().await;
    world.service.0.lock().refuses = all(&["card 1", "b by 1", "b by 2"]);
    world.begin("s").await;
    assert!(matches!(world.ended("s").await, Ending::Compensated { .. }));
    let calls = world.service.0.lock().calls.clone();
    assert_eq!(
        calls[2..],
        ["a by 1", "b by 1", "b by 2", "stop 0 at 1", "refund 2"]
    );
}

#[tokio::test]
async fn m04_a_call_of_which_nobody_knows_is_asked_about_before_anything_is_undone() {
    // It was done: the saga goes on with what the answer gives.
    let world = World::<Sale>::new().await;
    world.service.0.lock().loses = all(&["card 1"]);
    world.begin("s").await;
    world.advance(2).await;
    sign(&world).await;
    assert_eq!(world.ended("s").await, Ending::Completed);
    let calls = world.service.0.lock().calls.clone();
    assert_eq!(calls[..3], ["card 1", "card 1", "what of card 1"]);

    // It was not, and never will be: the next card.
    let world = World::<Sale>::new().await;
    world.service.0.lock().loses = all(&["card 1"]);
    world.service.0.lock().refuses = all(&["what of card 1"]);
    world.begin("s").await;
    world.advance(2).await;
    sign(&world).await;
    assert_eq!(world.ended("s").await, Ending::Completed);
    let calls = world.service.0.lock().calls.clone();
    assert_eq!(calls[2..4], ["what of card 1", "card 2"]);

    // The answer is lost, too: it is taken back as unknown.
    let world = World::<Sale>::new().await;
    world.service.0.lock().loses = all(&["card 1", "what of card 1"]);
    world.begin("s").await;
    for _ in 0..10 {
        world.advance(2).await;
    }
    assert!(matches!(world.ended("s").await, Ending::Compensated { .. }));
    assert!(world.service.0.lock().calls.contains(&"find 1".to_owned()));
}

#[tokio::test]
async fn m36_a_step_that_takes_too_long_is_shown_to_a_person_and_goes_on() {
    let world = World::<Sale>::new().await;
    world.begin("s").await;
    let SagaStatus::Waiting { on, until, .. } = world.status("s").await else {
        panic!("{:?}", world.status("s").await);
    };
    assert_eq!(on, ["signed"]);
    assert!(until.is_some());
    assert_eq!(world.view("s").await.escalated, None);
    let world: World<Sale> = world.restart().await;
    world.advance(601).await;
    let escalated = world.view("s").await.escalated.unwrap();
    assert!(escalated.contains("\"signed\""), "{escalated}");
    let open = world.handle().open().await.unwrap();
    assert_eq!(open[0].escalated, Some(escalated));
    assert_eq!((open[0].status.word(), &open[0].on), ("waiting", &on));
    sign(&world).await;
    assert_eq!(world.ended("s").await, Ending::Completed);
    assert_eq!(world.view("s").await.escalated, None);
}

fn rejected() -> Answer {
    Answer::Rejected(Payload::of(&"no").unwrap())
}

/// The sale while its first card is under way, and what it wants.
fn charging() -> (Scripted<Steps<Sale>>, PendingEffect) {
    let now = Timestamp::from_millis(1_700_000_000_000);
    let mut sale = Scripted::new(Steps::<Sale>::of(), "s", now);
    sale.event("s", PartEvent::Did("begin".to_owned())).unwrap();
    let wanted = sale.wanted().remove(0);
    assert_eq!(wanted.key, "charge");
    (sale, wanted)
}

fn wants(sale: &Scripted<Steps<Sale>>) -> Vec<String> {
    sale.wanted().into_iter().map(|wanted| wanted.key).collect()
}

#[test]
fn m10_a_card_that_is_declined_twice_over_is_followed_by_one_other() {
    for probe_first in [true, false] {
        let (mut sale, charge) = charging();
        sale.advance(Duration::from_secs(60)).unwrap();
        let probe = sale.wanted().remove(1);
        assert_eq!(probe.key, "charge?");
        let (first, second) = if probe_first {
            (probe, charge)
        } else {
            (charge, probe)
        };
        sale.answer(&first, rejected()).unwrap();
        sale.answer(&second, rejected()).unwrap();
        assert_eq!(wants(&sale), ["charge#2"], "probe first: {probe_first}");
    }
}

#[test]
fn m04_a_question_that_is_not_answered_either_has_its_limit() {
    let (mut sale, _) = charging();
    sale.advance(Duration::from_secs(60)).unwrap();
    assert_eq!(wants(&sale), ["charge", "charge?"]);
    sale.advance(Duration::from_secs(59)).unwrap();
    assert!(matches!(sale.status(), SagaStatus::Running));
    sale.advance(Duration::from_secs(1)).unwrap();
    assert!(matches!(sale.status(), SagaStatus::Compensating { .. }));
}

#[test]
fn m36_what_a_person_was_shown_is_over_when_the_step_is_done() {
    let (mut sale, charge) = charging();
    let escalated = |sale: &Scripted<Steps<Sale>>| {
        let written = sale.written().into_iter();
        written.filter(|name| name == "$Escalated").count()
    };
    sale.advance(Duration::from_secs(30)).unwrap();
    assert_eq!(escalated(&sale), 1);
    let done = Answer::Done(Payload::of(&1_usize).unwrap());
    sale.answer(&charge, done).unwrap();
    assert_eq!(escalated(&sale), 2, "shown, and no more");
}

#[test]
fn m05_a_call_that_was_found_done_is_undone_although_its_own_late_attempt_is_refused_or_given_up() {
    for is_refused in [true, false] {
        let (mut sale, charge) = charging();
        sale.lose(&charge).unwrap();
        sale.advance(Duration::from_secs(60)).unwrap();
        let of = |sale: &Scripted<Steps<Sale>>, key: &str| {
            let mut wanted = sale.wanted().into_iter();
            wanted.find(|wanted| wanted.key == key).unwrap()
        };
        let done = || Answer::Done(Payload::of(&7_usize).unwrap());
        let probe = of(&sale, "charge?");
        sale.answer(&probe, done()).unwrap();
        let late = of(&sale, "charge");
        match is_refused {
            true => sale.answer(&late, rejected()).unwrap(),
            false => sale.answer(&late, Answer::Unknown(String::new())).unwrap(),
        }
        sale.operate(SagaVerb::Cancel.by("ann", "not wanted"))
            .unwrap();
        while let Some(wanted) = sale.wanted().into_iter().next() {
            sale.answer(&wanted, done()).unwrap();
        }
        assert!(
            sale.undone().contains(&"charge".to_owned()),
            "refused: {is_refused}; {:?}",
            sale.written()
        );
    }
}
