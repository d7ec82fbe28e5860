//! What a run leaves behind.

use bytes::Bytes;

/// What a run leaves behind.
#[derive(Debug, Default)]
pub(crate) struct History {
    pub(crate) lives: u64,
    /// What each sender was answered, in the order of the answers.
    pub(crate) answers: Vec<String>,
    /// The bytes of every commit in the end.
    pub(crate) commits: Vec<Bytes>,
}

impl History {
    /// Where two runs differ first.
    pub(crate) fn differs_at(&self, other: &Self) -> Option<String> {
        let answers = self
            .answers
            .iter()
            .zip(&other.answers)
            .position(|(a, b)| a != b);
        if let Some(at) = answers {
            return Some(format!(
                "answer {at}: {} and {}",
                self.answers[at], other.answers[at]
            ));
        }
        let commits = self
            .commits
            .iter()
            .zip(&other.commits)
            .position(|(a, b)| a != b);
        if let Some(at) = commits {
            let (ours, theirs) = (&self.commits[at], &other.commits[at]);
            let (ours, theirs) = (ours.escape_ascii(), theirs.escape_ascii());
            return Some(format!("commit {}:\n{ours}\n{theirs}", at + 1));
        }
        let sizes = |history: &Self| (history.lives, history.answers.len(), history.commits.len());
        (sizes(self) != sizes(other)).then(|| format!("{:?} and {:?}", sizes(self), sizes(other)))
    }
}
