//! What the searcher is given, and what it gives back.

use super::answer::{Answer, Barrier};
use crate::append::{Append, AppendResult};
use crate::error::AppendError;
use crate::index::HeadRow;

/// An append whose original may lie further back than the writer looks.
pub(crate) struct Search {
    pub append: Append,
    /// As of which it was judged.
    pub heads: Vec<Option<HeadRow>>,
    /// What is answered if there is no original.
    pub refusal: AppendError,
    pub done: Answer,
}

/// What is worked off one after the other.
pub(crate) enum Task {
    Search(Box<Search>),
    /// Passes when everything before it was answered.
    Barrier(Barrier),
}

/// The result of a task, which goes back to the writer, which answers everybody.
pub(crate) struct Searched {
    pub(super) bytes: usize,
    pub(super) reply: Reply,
}

pub(super) enum Reply {
    Append(Box<(AppendResult, Answer)>),
    Barrier(Barrier),
}
