//! Following the log: catching up and live are one thing, reading on from a position.

use std::sync::Arc;

use chronicler_domain::GlobalPosition;
use chronicler_store::{
    AllQuery, CommitStream, Filter, Head, ReadError, RecordedCommit, Start, Store,
};
use futures::StreamExt;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// What a subscription follows.
#[derive(Clone, Debug, Default)]
pub struct SubscriptionOptions {
    /// Events after this position. One beyond the end of the log is refused with
    /// [`ReadError::BeyondHead`]: events that take its place later are others than those that the reader has seen.
    pub after: GlobalPosition,
    /// Which of them.
    pub filter: Filter,
}

/// Commits of the log, in order, and how far they go.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Batch {
    /// Commits with at least one event that passes the filter; such a commit is given whole. May be none.
    pub commits: Vec<RecordedCommit>,
    /// Everything up to here has been looked at: what is not among the commits was filtered out.
    pub through: GlobalPosition,
    /// The durable end of the log when the batch was read.
    pub head: GlobalPosition,
}

/// Follows the log from a position, for as long as it is asked.
///
/// Nothing is pushed: a slow reader simply reads later. So none is lost, none comes twice, and there is no queue
/// to overflow.
pub struct Subscription {
    store: Arc<dyn Store>,
    head: watch::Receiver<Head>,
    filter: Filter,
    through: GlobalPosition,
    reading: Option<Reading>,
    /// Where the log ended when it was begun, if that was before the place to begin at.
    ended_before: Option<GlobalPosition>,
    ended: CancellationToken,
}

struct Reading {
    commits: CommitStream,
    to: GlobalPosition,
}

impl Subscription {
    /// `ended`: that nothing more will come.
    pub(crate) fn new(
        store: Arc<dyn Store>,
        options: SubscriptionOptions,
        ended: CancellationToken,
    ) -> Self {
        let head = store.watch_head();
        let end = store.head().position;
        Self {
            ended_before: Some(end).filter(|end| options.after > *end),
            store,
            head,
            filter: options.filter,
            through: options.after,
            reading: None,
            ended,
        }
    }

    /// Everything up to here has been given or filtered out.
    pub fn through(&self) -> GlobalPosition {
        self.through
    }

    /// The next batch; waits while there is nothing new.
    ///
    /// # Errors
    /// When the log cannot be read. The next call tries again from the same place. [`ReadError::Closed`] when the runtime
    /// has stopped and everything was given. [`ReadError::BeyondHead`], for good, when the log ended before the place to
    /// begin at.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Result<Batch, ReadError> {
        loop {
            let Some(reading) = &mut self.reading else {
                self.begin().await?;
                continue;
            };
            let to = reading.to;
            match reading.commits.next().await {
                Some(Ok(commits)) => {
                    let last = commits.last().map(RecordedCommit::last_position);
                    self.through = last.unwrap_or(self.through).max(self.through);
                    return Ok(Batch {
                        commits,
                        through: self.through,
                        head: to,
                    });
                }
                Some(Err(error)) => {
                    self.reading = None;
                    return Err(error);
                }
                None => {
                    self.reading = None;
                    if self.through < to {
                        self.through = to;
                        return Ok(Batch {
                            commits: Vec::new(),
                            through: to,
                            head: to,
                        });
                    }
                }
            }
        }
    }

    /// Waits until there is something beyond what was given, and begins to read it.
    async fn begin(&mut self) -> Result<(), ReadError> {
        if let Some(head) = self.ended_before {
            let position = self.through;
            return Err(ReadError::BeyondHead { position, head });
        }
        let through = self.through;
        let moved = self.head.wait_for(|head| head.position > through);
        let to = tokio::select! {
            biased;
            moved = moved => moved.map_err(|_| ReadError::Closed)?.position,
            () = self.ended.cancelled() => {
                // The end can be there a little before those who follow it are told.
                let head = self.store.head().position;
                if head <= through {
                    return Err(ReadError::Closed);
                }
                head
            }
        };
        let query = AllQuery {
            to,
            filter: self.filter.clone(),
            ..AllQuery::from(Start::Position(through.next()))
        };
        self.reading = Some(Reading {
            commits: self.store.read_all(query),
            to,
        });
        Ok(())
    }
}
