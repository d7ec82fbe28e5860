//! Sends the messages of a feed, many at a time, those with the same key one after the other.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::pin::pin;

use chronicler::domain::Aggregate;
use chronicler::prelude::*;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use indicatif::ProgressBar;
use order_payment::domain::{
    Feed, FeedCommand, GoodsReturn, Inventory, Order, OrderCommand, OrderRejection, Shipment,
};
use thiserror::Error;

use super::cursor::Cursor;
use super::opening::Openings;
use crate::sources::{Message, Sent, SourceError};

/// How many messages may be under way, those that wait for their turn included.
const UNDER_WAY_MAX: usize = 2_048;
/// After how many messages the cursor is made durable.
const CURSOR_EVERY: u64 = 1_024;
/// The one cursor of a data directory.
const CURSOR: &str = "replay";

/// How messages follow one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// Many at a time.
    Concurrent,
    /// The next one when everything that the previous one set in motion has ended.
    Sequential,
}

/// Why a feed was not taken in to its end. Everything before is durable.
#[derive(Debug, Error)]
pub(crate) enum FeedError {
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error("message {position} ({key}): {problem}")]
    Refused {
        position: u64,
        key: String,
        problem: String,
    },
    #[error("{0}")]
    OtherReplay(String),
    #[error("the shop does not answer: {0}")]
    Shop(String),
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// Everything was taken in.
    All,
    /// The user asked to stop.
    Interrupted,
}

/// Sends the messages of a feed.
pub(crate) struct Feeder {
    app: App,
    pace: Pace,
    through: u64,
    durable: u64,
    cursor: Cursor,
    openings: Openings,
    bar: ProgressBar,
    sending: FuturesUnordered<BoxFuture<'static, Sending>>,
    /// The messages that wait for one of the same key. A key is here while one of its is under way.
    lanes: HashMap<String, VecDeque<Message>>,
    waiting: usize,
}

struct Sending {
    message: Message,
    /// Why it was refused.
    problem: Option<String>,
}

impl Feeder {
    /// Goes on where the last run with the same terms ended.
    pub(crate) async fn begin(
        app: &App,
        terms: &str,
        pace: Pace,
        stock: Option<i64>,
        bar: ProgressBar,
    ) -> Result<Self, FeedError> {
        let terms = terms.to_owned();
        let begun = app.send::<Feed>(CURSOR, FeedCommand::Begin { terms }).await;
        let through = match begun {
            Ok(receipt) => receipt.reply,
            Err(SendError::Rejected(rejection)) => {
                return Err(FeedError::OtherReplay(rejection.to_string()));
            }
            Err(SendError::Failed(error)) => return Err(FeedError::Shop(error.to_string())),
        };
        bar.set_position(through);
        Ok(Self {
            app: app.clone(),
            pace,
            through,
            durable: through,
            cursor: Cursor::at(through),
            openings: Openings::new(app.clone(), stock),
            bar,
            sending: FuturesUnordered::new(),
            lanes: HashMap::new(),
            waiting: 0,
        })
    }

    /// Everything up to here was taken in by earlier runs.
    pub(crate) fn through(&self) -> u64 {
        self.through
    }

    /// Takes in everything, and waits until it has ended or waits for something to happen. `stop` ends it early.
    pub(crate) async fn take(
        mut self,
        messages: impl IntoIterator<Item = Result<Message, SourceError>>,
        stop: impl Future<Output = ()>,
    ) -> Result<Taken, FeedError> {
        let mut stop = pin!(stop.fuse());
        if self.pace == Pace::Sequential {
            // What the last run left unended comes before the next message.
            self.app.settled().await;
        }
        let mut ended = Ok(Taken::All);
        for message in messages {
            let message = match message {
                Ok(message) if message.position <= self.through => continue,
                Ok(message) => message,
                Err(error) => {
                    ended = Err(error.into());
                    break;
                }
            };
            let taken = futures::select_biased! {
                () = stop => {
                    ended = Ok(Taken::Interrupted);
                    break;
                }
                taken = self.take_one(message).fuse() => taken,
            };
            if let Err(error) = taken {
                ended = Err(error);
                break;
            }
        }
        // Whatever it ended with: what was begun is brought to its end, and the cursor kept.
        let finished = self.finish().await;
        match ended {
            Ok(Taken::All) => {
                finished?;
                futures::select_biased! {
                    () = stop => return Ok(Taken::Interrupted),
                    () = self.app.settled().fuse() => {}
                }
                // Only now the last one counts: a run that is killed before it has settled is not over.
                self.keep(self.cursor.through(true), 1).await?;
                Ok(Taken::All)
            }
            Ok(Taken::Interrupted) => finished.map(|()| Taken::Interrupted),
            Err(error) => Err(error),
        }
    }

    async fn take_one(&mut self, message: Message) -> Result<(), FeedError> {
        self.cursor.begin(message.position);
        match self.lanes.get_mut(&message.key) {
            Some(lane) => {
                lane.push_back(message);
                self.waiting += 1;
            }
            None => {
                self.lanes.insert(message.key.clone(), VecDeque::new());
                self.send(message);
            }
        }
        let most = match self.pace {
            Pace::Concurrent => UNDER_WAY_MAX,
            Pace::Sequential => 1,
        };
        while self.sending.len() + self.waiting >= most {
            self.one_done().await?;
        }
        if self.pace == Pace::Sequential {
            self.app.settled().await;
        }
        self.keep(self.cursor.through(false), CURSOR_EVERY).await
    }

    async fn finish(&mut self) -> Result<(), FeedError> {
        let mut ended = Ok(());
        while !self.sending.is_empty() {
            ended = ended.and(self.one_done().await);
        }
        ended.and(self.keep(self.cursor.through(false), 1).await)
    }

    fn send(&mut self, message: Message) {
        let opened = self.openings.of(message.skus.clone());
        let app = self.app.clone();
        let sending = async move {
            let problem = match opened.await {
                Ok(()) => deliver(&app, &message).await,
                Err(problem) => Some(problem),
            };
            Sending { message, problem }
        };
        self.sending.push(sending.boxed());
    }

    async fn one_done(&mut self) -> Result<(), FeedError> {
        let Some(Sending { message, problem }) = self.sending.next().await else {
            return Ok(());
        };
        if let Some(problem) = problem {
            // It stays under way for the cursor, so that the next run comes upon it again.
            let (position, key) = (message.position, message.key);
            return Err(FeedError::Refused {
                position,
                key,
                problem,
            });
        }
        self.cursor.done(message.position);
        self.bar.inc(1);
        let next = self
            .lanes
            .get_mut(&message.key)
            .and_then(VecDeque::pop_front);
        match next {
            Some(next) => {
                self.waiting -= 1;
                self.send(next);
            }
            None => {
                self.lanes.remove(&message.key);
            }
        }
        Ok(())
    }

    async fn keep(&mut self, through: u64, every: u64) -> Result<(), FeedError> {
        if through < self.durable + every {
            return Ok(());
        }
        let advance = FeedCommand::Advance { through };
        let kept = self.app.send::<Feed>(CURSOR, advance).await;
        kept.map_err(|error| FeedError::Shop(error.to_string()))?;
        self.durable = through;
        Ok(())
    }
}

/// Sends one message; why it was refused, if it was.
async fn deliver(app: &App, message: &Message) -> Option<String> {
    let key = message.key.as_str();
    match message.sent.clone() {
        Sent::Order(OrderCommand::AskToCancel) => {
            match app.send::<Order>(key, OrderCommand::AskToCancel).await {
                // Too late, which is nobody's mistake.
                Err(SendError::Rejected(OrderRejection::Confirmed | OrderRejection::Ended(_))) => {
                    None
                }
                other => problem::<Order>(other),
            }
        }
        Sent::Order(command) => problem::<Order>(app.send::<Order>(key, command).await),
        Sent::Shipment(command) => problem::<Shipment>(app.send::<Shipment>(key, command).await),
        Sent::Return(command) => {
            problem::<GoodsReturn>(app.send::<GoodsReturn>(key, command).await)
        }
        Sent::Inventory(command) => problem::<Inventory>(app.send::<Inventory>(key, command).await),
    }
}

fn problem<A: Aggregate>(sent: Result<Receipt<A::Reply>, SendError<A::Rejection>>) -> Option<String>
where
    A::Rejection: std::fmt::Display,
{
    match sent {
        Ok(_) => None,
        Err(SendError::Rejected(rejection)) => Some(rejection.to_string()),
        Err(SendError::Failed(error)) => Some(error.to_string()),
    }
}
