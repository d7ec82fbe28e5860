//! The example `http_payment`: what each way means in which a request can end, and that every order is charged once.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests fail by panicking"
)]

#[path = "../examples/http_payment/book.rs"]
mod book;
#[path = "../examples/http_payment/client.rs"]
mod client;
#[path = "../examples/http_payment/order.rs"]
mod order;
#[path = "../examples/http_payment/saga.rs"]
mod saga;
#[path = "../examples/http_payment/server.rs"]
mod server;

use std::sync::Arc;
use std::time::Duration;

use chronicler::prelude::*;
use chronicler::sagas::{EffectState, SagaOptions};
use chronicler::store::codec::{PayloadCodec, encode};
use chronicler_testkit::{Script, assert_fingerprint, never_answered, ok, reject, script_of};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use uuid::Uuid;

use book::{Account, Book, Mood};
use client::{Declined, PAYMENTS, PaymentClient, PaymentReply, PaymentRequest};
use order::{Order, OrderCommand, OrderEvent};
use saga::Payment;
use server::PaymentServer;

const ONCE: Account = Account {
    charged: 1,
    refunded: 0,
};

fn charge(order: &str) -> PaymentRequest {
    PaymentRequest::Charge {
        order: order.to_owned(),
        cents: 500,
    }
}

fn look(order: &str) -> PaymentRequest {
    let order = order.to_owned();
    PaymentRequest::Look { order }
}

fn refund(order: &str) -> PaymentRequest {
    let order = order.to_owned();
    PaymentRequest::Refund { order }
}

fn reply(order: &str) -> PaymentReply {
    let charge = format!("charge-of-{order}");
    PaymentReply { charge }
}

/// The server, its book, and the way to it.
async fn world(moods: &[(&str, Mood)]) -> (PaymentServer, Arc<Mutex<Book>>, PaymentClient) {
    let book = Arc::new(Mutex::new(Book::default()));
    for (order, mood) in moods {
        book.lock().moods.insert((*order).to_owned(), *mood);
    }
    let server = PaymentServer::up(Arc::clone(&book)).await.unwrap();
    let client = PaymentClient::new(&format!("http://{}", server.address()));
    (server, book, client)
}

async fn call(client: &PaymentClient, key: u128, request: &PaymentRequest) -> CallResult {
    let request = encode(PayloadCodec::default(), request).unwrap().to_vec();
    client.call(Uuid::from_u128(key), request).await
}

#[tokio::test]
async fn m05_a_reply_that_is_lost_over_http_is_there_when_the_same_key_comes_again() {
    let moods = [("breaks", Mood::BreaksOnce), ("fails", Mood::FailsOnce)];
    let (_server, book, client) = world(&moods).await;
    for (key, (order, _)) in (1..).zip(moods) {
        let first = call(&client, key, &charge(order)).await;
        assert!(matches!(first, CallResult::Unknown(_)), "{first:?}");
        assert_eq!(
            book.lock().account(order),
            ONCE,
            "it was charged all the same"
        );
        let again = call(&client, key, &charge(order)).await;
        assert_eq!(again, CallResult::done(&reply(order)));
        assert_eq!(book.lock().account(order), ONCE);
        // Only the key keeps it from being charged twice.
        call(&client, 100 + key, &charge(order)).await;
        assert_eq!(book.lock().account(order).charged, 2);
    }
}

#[tokio::test]
async fn m56_each_way_in_which_a_request_can_end_says_what_is_known_of_it() {
    let moods = [
        ("good", Mood::Answers),
        ("poor", Mood::Declines),
        ("late", Mood::Answers),
    ];
    let (server, book, client) = world(&moods).await;
    let done = |order| CallResult::done(&reply(order));
    assert_eq!(call(&client, 1, &charge("good")).await, done("good"));
    assert_eq!(call(&client, 2, &look("good")).await, done("good"));
    assert_eq!(call(&client, 3, &refund("good")).await, done("good"));
    let why = "the bank said no".to_owned();
    let declined = CallResult::rejected(&Declined { why });
    assert_eq!(call(&client, 4, &charge("poor")).await, declined);
    // What was looked for and not found may still come; what was given back may not.
    let looked = call(&client, 5, &look("late")).await;
    assert!(matches!(looked, CallResult::Unknown(_)), "{looked:?}");
    let nothing = CallResult::done(&PaymentReply::default());
    assert_eq!(call(&client, 6, &refund("late")).await, nothing);
    let late = call(&client, 7, &charge("late")).await;
    assert!(matches!(late, CallResult::Rejected(_)), "{late:?}");
    book.lock().warming_up = 1;
    let busy = call(&client, 8, &charge("good")).await;
    assert!(matches!(busy, CallResult::Unavailable(_)), "{busy:?}");
    assert_eq!(*client.untaken().borrow(), 1);
    // Whoever has no connection yet gets none.
    let newcomer = PaymentClient::new(&format!("http://{}", server.address()));
    let _down = server.down().await.unwrap();
    let down = call(&newcomer, 9, &charge("good")).await;
    assert!(matches!(down, CallResult::Unavailable(_)), "{down:?}");
    assert_eq!(*newcomer.untaken().borrow(), 1);
}

#[tokio::test]
async fn m56_an_answer_that_breaks_off_or_makes_no_sense_is_none() {
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nwhat?",
        "HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{",
        "HTTP/1.1 402 Payment Required\r\ncontent-length: 500\r\n\r\n{",
        "HTTP/1.1 302 Found\r\ncontent-length: 0\r\n\r\n",
        "no HTTP at all\r\n\r\n",
        "",
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = PaymentClient::new(&format!("http://{}", listener.local_addr().unwrap()));
        let answering = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            // It was asked, whatever it says to that.
            assert!(stream.read(&mut [0; 4_096]).await.unwrap() > 0);
            stream.write_all(answer.as_bytes()).await.unwrap();
        };
        let asked = charge("o");
        let (result, ()) = tokio::join!(call(&client, 1, &asked), answering);
        assert!(
            matches!(result, CallResult::Unknown(_)),
            "{answer:?}: {result:?}"
        );
    }
}

fn placed() -> Script<Steps<Payment>> {
    script_of(Steps::<Payment>::of(), "o").given(OrderEvent::Placed { cents: 500 })
}

#[test]
fn m04_a_charge_that_nobody_knows_of_is_looked_for_before_it_is_given_back() {
    let unknown = || {
        placed()
            .expect_call(PAYMENTS, &charge("o"))
            .reply(never_answered())
            .expect_call(PAYMENTS, &look("o"))
    };
    let charge = reply("o").charge;
    unknown()
        .reply(ok(&reply("o")))
        .expect::<Order>("o", OrderCommand::Confirm { charge })
        .reply(ok(&()))
        .expect_completed();
    unknown()
        .reply(never_answered())
        .expect_call(PAYMENTS, &refund("o"))
        .reply(ok(&PaymentReply::default()))
        .expect_compensated(["charge"]);
}

#[test]
fn m13_an_order_that_is_declined_is_cancelled_for_that_reason() {
    let why = "the bank said no".to_owned();
    let declined = Declined { why };
    let cancel = OrderCommand::Cancel {
        why: declined.to_string(),
    };
    placed()
        .expect_call(PAYMENTS, &charge("o"))
        .reply(reject(&declined))
        .expect::<Order>("o", cancel)
        .reply(ok(&()))
        .expect_compensated([]);
}

#[tokio::test]
async fn m26_while_the_server_is_down_no_order_spends_its_attempts_and_each_is_charged_once() {
    const ORDERS: usize = 20;
    let ids: Vec<String> = (0..ORDERS).map(|number| format!("o-{number}")).collect();
    let moods = [Mood::Answers, Mood::BreaksOnce, Mood::FailsOnce];
    let moods: Vec<_> = ids
        .iter()
        .map(String::as_str)
        .zip(moods.into_iter().cycle())
        .collect();
    let (server, book, client) = world(&moods).await;
    let server = server.down().await.unwrap();
    let mut options = SagaOptions::default();
    options.circuit.opens_after = 1;
    options.circuit.trial_after = Duration::from_millis(1);
    options.circuit.trial_longest = Duration::from_millis(4);
    let app = App::in_memory()
        .aggregate::<Order>()
        .saga(Steps::<Payment>::of())
        .service(PAYMENTS, client.clone())
        .saga_options(options)
        .start()
        .await
        .unwrap();
    for id in &ids {
        let place = OrderCommand::Place { cents: 500 };
        app.send::<Order>(id.as_str(), place).await.unwrap();
    }
    // Asked far more often than any budget allows, and by all orders that there are.
    let sagas = app.saga::<Steps<Payment>>().unwrap();
    let mut untaken = client.untaken();
    untaken.wait_for(|count| *count > 60).await.unwrap();
    while sagas.open().await.unwrap().len() < ORDERS {
        untaken.changed().await.unwrap();
    }
    for id in &ids {
        let id = AggregateId::new(id).unwrap();
        let order = sagas.get(&Tenant::default(), &id).await.unwrap();
        for effect in order.effects {
            match effect.state {
                EffectState::Pending { attempt, .. } => assert!(attempt <= 1, "{id}: {attempt}"),
                other => panic!("{id}: {other:?}"),
            }
        }
    }
    book.lock().warming_up = 2;
    let _server = server.up().unwrap();
    app.settled().await;
    assert!(sagas.open().await.unwrap().is_empty());
    for id in &ids {
        let charge = reply(id).charge;
        let order = app.state::<Order>(id.as_str()).await.unwrap().state;
        assert_eq!(order, Order::Confirmed { charge });
        assert_eq!(book.lock().account(id), ONCE, "{id}");
    }
    app.stop().await;
}

#[test]
fn m84_the_steps_of_a_payment_do_not_change_by_accident() {
    assert_fingerprint!(Payment, 0x8ea9_0054_dcd0_d669);
}
