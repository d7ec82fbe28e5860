//! Orders are paid at a server that is reached over HTTP, breaks connections, fails after it has charged, and goes down.
//!
//! `cargo run --release --example http_payment -- --orders 300`. Every order is charged once or not at all, and while the
//! server is down nobody spends attempts on it.

mod book;
mod client;
mod order;
mod saga;
mod server;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chronicler::prelude::*;
use chronicler::sagas::{EffectState, SagaHandle, SagaOptions};
use clap::Parser;
use futures::{StreamExt, TryStreamExt, stream};
use parking_lot::Mutex;

use book::Book;
use client::{PAYMENTS, PaymentClient};
use order::{Order, OrderCommand};
use saga::Payment;
use server::PaymentServer;

/// How long the server is down.
const DOWN: Duration = Duration::from_millis(700);
/// So many requests it does not take when it comes up again.
const WARMING_UP: u32 = 3;
const AT_A_TIME: usize = 50;

type Done<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// Pays orders at a server that goes down in the middle.
#[derive(Debug, Parser)]
#[command(name = "http_payment", version)]
struct Arguments {
    /// How many orders are placed: a third before the server goes down, a third just then, and a third while it is down.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    orders: u64,
    /// What the server's bad days are made from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(&Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(Arguments { orders, seed }: &Arguments) -> Done {
    let begun = Instant::now();
    let book = Arc::new(Mutex::new(Book::default()));
    let server = PaymentServer::up(Arc::clone(&book)).await?;
    let client = PaymentClient::new(&format!("http://{}", server.address()));
    let mut options = SagaOptions::default();
    // It is looked for more often than is polite, so that nobody waits for this example.
    options.circuit.trial_after = Duration::from_millis(50);
    options.circuit.trial_longest = Duration::from_millis(200);
    options.unknown_calls.backoff_min = Duration::from_millis(20);
    options.unknown_calls.backoff_max = Duration::from_millis(100);
    let app = App::in_memory()
        .aggregate::<Order>()
        .saga(Steps::<Payment>::of())
        .service(PAYMENTS, client.clone())
        .saga_options(options)
        .start()
        .await?;
    let ids: Vec<String> = (1..=*orders)
        .map(|number| format!("order-{seed}-{number}"))
        .collect();
    let (before, others) = ids.split_at(ids.len() / 3);
    place(&app, before).await?;
    app.settled().await;
    let (in_the_middle, meanwhile) = others.split_at(others.len() / 2);
    place(&app, in_the_middle).await?;
    let server = server.down().await?;
    place(&app, meanwhile).await?;
    tokio::time::sleep(DOWN).await;
    let untaken = *client.untaken().borrow();
    let (waiting, spent) = waiting(&app).await?;
    book.lock().warming_up = WARMING_UP;
    let server = server.up()?;
    app.settled().await;
    println!(
        "{orders} orders in {:.2} s; the server was down for {:.1} s of them",
        begun.elapsed().as_secs_f64(),
        DOWN.as_secs_f64()
    );
    let budget = SagaOptions::default().effects.budget;
    println!("  waited for it                    {waiting:>6} orders");
    println!("  found it down                    {untaken:>6} requests of all of them together");
    println!("  attempts that one spent on it    {spent:>6} of {budget} at most");
    let problems = report(&app, &ids, &book).await?;
    let left = sagas(&app)?.open().await?;
    app.stop().await;
    drop(server.down().await?);
    match (problems.first(), left.first()) {
        (Some(problem), _) => Err(problem.as_str().into()),
        (None, Some(order)) => Err(format!("{} is {}", order.id(), order.status).into()),
        (None, None) => Ok(()),
    }
}

async fn place(app: &App, ids: &[String]) -> Done {
    let placed = stream::iter(ids.iter().zip(1_000..)).map(|(id, cents)| {
        let place = OrderCommand::Place { cents };
        app.send::<Order>(id.as_str(), place)
    });
    let placed = placed.buffer_unordered(AT_A_TIME);
    Ok(placed.try_for_each(|_| async { Ok(()) }).await?)
}

/// How many orders wait, and how many attempts one of them has spent at most.
async fn waiting(app: &App) -> Done<(usize, u32)> {
    let (sagas, mut spent) = (sagas(app)?, 0);
    let open = sagas.open().await?;
    for order in &open {
        let id = AggregateId::new(order.id())?;
        for effect in sagas.get(&Tenant::default(), &id).await?.effects {
            if let EffectState::Pending { attempt, .. } = effect.state {
                spent = spent.max(attempt);
            }
        }
    }
    Ok((open.len(), spent))
}

fn sagas(app: &App) -> Done<&SagaHandle<Steps<Payment>>> {
    let sagas = app.saga::<Steps<Payment>>();
    Ok(sagas.ok_or("the saga is not registered")?)
}

/// Prints how the orders ended and what the server says to that; what does not fit together.
async fn report(app: &App, ids: &[String], book: &Mutex<Book>) -> Done<Vec<String>> {
    let (mut endings, mut problems) = (BTreeMap::<_, usize>::new(), Vec::new());
    let (mut charged, mut refunded, mut twice) = (0, 0, 0);
    for id in ids {
        let order = app.state::<Order>(id.as_str()).await?.state;
        let account = book.lock().account(id);
        charged += account.charged;
        refunded += account.refunded;
        twice += usize::from(account.charged > 1);
        let ending = match (&order, account.charged, account.refunded) {
            (Order::Confirmed { .. }, 1, 0) => "confirmed".to_owned(),
            (Order::Cancelled { why }, 0, 0) | (Order::Cancelled { why }, 1, 1) => {
                format!("cancelled: {why}")
            }
            _ => {
                problems.push(format!("{id} is {order:?}, and the server has {account:?}"));
                "something else".to_owned()
            }
        };
        *endings.entry(ending).or_default() += 1;
    }
    println!("\nHow the orders ended");
    for (ending, count) in endings {
        println!("  {count:>6}  {ending}");
    }
    println!("\nWhat the payment server says");
    println!("  charges                          {charged:>6}");
    println!("  given back                       {refunded:>6}");
    println!("  orders that were charged twice   {twice:>6}");
    println!(
        "  requests that came again         {:>6}",
        book.lock().repeated
    );
    Ok(problems)
}
