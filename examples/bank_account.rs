//! First contact: an account, a deposit, a receipt.
use chronicler::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Clone, Default, Serialize, Deserialize)]
struct Account(i64);

#[derive(Serialize, Deserialize)]
struct Deposit(i64);

#[derive(Serialize, Deserialize)]
struct Deposited(i64);

impl Event for Deposited {}

impl Aggregate for Account {
    const CATEGORY: &'static str = "account";
    type Command = Deposit;
    type Event = Deposited;
    type Reply = ();
    type Rejection = Never;
    fn decide(&self, command: Deposit, _: &Context) -> Decided<Self> {
        Ok(Deposited(command.0).into())
    }
    fn evolve(&mut self, event: &Deposited) {
        self.0 += event.0;
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let app = App::in_memory().aggregate::<Account>().start().await?;
    let receipt = app.send::<Account>("alice", Deposit(10_00)).await?;
    println!("alice is at version {}", receipt.version);
    Ok(())
}
