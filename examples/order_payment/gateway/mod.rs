//! A payment gateway that stands in for a real one: outside of Chronicler, with a book of its own.
//!
//! It honours idempotency keys, and it misbehaves as gateways do: it declines cards, loses replies after it has
//! charged, and now and then does not answer at all.

mod book;
mod moods;

use std::sync::Arc;

use chronicler::prelude::*;
use futures::FutureExt;
use futures::future::{self, BoxFuture};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use uuid::Uuid;

pub use book::Book;
pub use moods::Moods;

use moods::Mood;

/// The name that the gateway is registered under.
pub const GATEWAY: &str = "payment-gateway";

/// What the gateway can be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum GatewayRequest {
    /// Take money.
    Charge {
        /// What the caller knows it by.
        charge: String,
        /// How much.
        amount: i64,
    },
    /// Give it back. A charge that never came is refused from then on, should it still come.
    Refund {
        /// The charge.
        charge: String,
    },
}

/// What it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum GatewayReply {
    Charged,
    Refunded,
    /// Nothing was charged, and nothing will be.
    NothingToRefund,
}

/// Why it refuses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Error, Serialize, Deserialize)]
#[error("declined: {why}")]
pub struct Declined {
    pub why: String,
}

/// The gateway.
#[derive(Clone)]
pub struct Gateway {
    book: Arc<Book>,
    moods: Moods,
}

impl Gateway {
    /// A gateway over its book.
    pub fn new(book: Arc<Book>, moods: Moods) -> Self {
        Self { book, moods }
    }

    async fn answer(self, key: Uuid, request: GatewayRequest) -> CallResult {
        let GatewayRequest::Charge { charge, .. } = &request else {
            return self.enter(key, request).await;
        };
        match self.moods.of(charge) {
            Mood::Declines => CallResult::rejected(&Declined {
                why: "the bank said no".to_owned(),
            }),
            Mood::NeverAnswers => future::pending().await,
            Mood::ChargesAndNeverAnswers => {
                self.enter(key, request).await;
                future::pending().await
            }
            Mood::LosesTheFirstReply => {
                let is_known = self.book.knows(key);
                let result = self.enter(key, request).await;
                if is_known {
                    result
                } else {
                    CallResult::Unknown("the connection broke".to_owned())
                }
            }
            Mood::ActsTwice => {
                self.enter(key, request.clone()).await;
                self.enter(key, request).await
            }
            Mood::Answers => self.enter(key, request).await,
        }
    }

    /// Into the book, durably, before anything is answered.
    async fn enter(&self, key: Uuid, request: GatewayRequest) -> CallResult {
        match self.book.enter(key, request).await {
            Ok(Ok(reply)) => CallResult::done(&reply),
            Ok(Err(declined)) => CallResult::rejected(&declined),
            Err(error) => CallResult::Unknown(error.to_string()),
        }
    }
}

impl ExternalService for Gateway {
    fn call(&self, key: Uuid, request: Vec<u8>) -> BoxFuture<'static, CallResult> {
        let decoded =
            chronicler::store::codec::decode(chronicler::store::codec::CodecId::BINCODE, &request);
        match decoded {
            Ok(request) => self.clone().answer(key, request).boxed(),
            Err(error) => future::ready(CallResult::Unknown(error.to_string())).boxed(),
        }
    }
}
