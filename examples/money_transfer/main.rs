//! Money moves between accounts, or stays where it is. None is made and none is lost, whenever the process ends.
//!
//! `cargo run --release --example money_transfer -- --transfers 1000 --data DIR`. End it with Ctrl-C or worse in the
//! middle and start it again on the same data: what was under way is carried through or taken back.

mod bank;
mod saga;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use chronicler::prelude::*;
use clap::Parser;
use futures::StreamExt;
use futures::stream;

use bank::{Account, AccountCommand, Amount, Transfer, TransferCommand, TransferState};
use saga::MoneyTransfer;

const ACCOUNTS: u64 = 20;
const EACH_CENTS: i64 = 100_000;
const AT_A_TIME: usize = 100;

/// Moves money between 20 accounts of 1,000.00 each, of which one is closed.
#[derive(Parser)]
struct Arguments {
    /// How many transfers are ordered.
    #[arg(long, default_value_t = 1_000, value_name = "COUNT")]
    transfers: u64,
    /// The data directory. Without it everything is in memory.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<(), Box<dyn std::error::Error>> {
    let builder = match arguments.data {
        Some(data) => App::open(data),
        None => App::in_memory(),
    };
    let app = builder
        .aggregate::<Account>()
        .aggregate::<Transfer>()
        .saga(Steps::<MoneyTransfer>::of())
        .start()
        .await?;
    // What an earlier run left under way.
    app.settled().await;
    for account in 0..ACCOUNTS {
        let open = AccountCommand::Open { cents: EACH_CENTS };
        // It may be open from an earlier run; and the closed one must not be opened again.
        if app.state::<Account>(account_id(account)).await?.state == Account::default() {
            app.send::<Account>(account_id(account), open).await?;
        }
    }
    let closed = account_id(0);
    if app.state::<Account>(&closed).await?.state.is_open {
        app.send::<Account>(&closed, AccountCommand::Close).await?;
    }
    let (begun, before) = (Instant::now(), app.head().position.get());
    let ids: Vec<String> = (1..=arguments.transfers)
        .map(|number| format!("{before}-{number}"))
        .collect();
    let ordered = stream::iter(ids.iter().zip(0..)).map(|(id, number)| {
        let amount = Amount {
            from: account_id(number * 7 + 1),
            to: account_id(number * 11 + 3),
            cents: 1 + (number as i64 * 7_919) % 40_000,
        };
        app.send::<Transfer>(id, TransferCommand::Request(amount))
    });
    let mut ordered = ordered.buffer_unordered(AT_A_TIME);
    while let Some(receipt) = ordered.next().await {
        receipt?;
    }
    app.settled().await;
    let seconds = begun.elapsed().as_secs_f64();
    let (mut completed, mut failed) = (0, 0);
    for id in &ids {
        match app.state::<Transfer>(id).await?.state.state {
            TransferState::Completed => completed += 1,
            TransferState::Failed => failed += 1,
            other => println!("transfer {id} is {other:?}"),
        }
    }
    let mut total = 0;
    for account in 0..ACCOUNTS {
        total += app.state::<Account>(account_id(account)).await?.state.cents;
    }
    println!(
        "{} transfers in {seconds:.2} s: {completed} completed, {failed} taken back",
        ids.len()
    );
    let expected = ACCOUNTS as i64 * EACH_CENTS;
    println!(
        "all accounts together hold {}.{:02}, as at the beginning: {}",
        total / 100,
        total % 100,
        total == expected
    );
    let open = app.saga::<Steps<MoneyTransfer>>();
    let open = match open {
        Some(sagas) => sagas.open().await?.len(),
        None => 0,
    };
    println!("{open} transfers are still under way");
    app.stop().await;
    if total == expected && open == 0 {
        Ok(())
    } else {
        Err("money was made or lost, or a transfer did not end".into())
    }
}

fn account_id(number: u64) -> String {
    format!("account-{}", number % ACCOUNTS)
}
