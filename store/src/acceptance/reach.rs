//! How far one look back at the past of a stream may still go.

/// How many more commits are looked at, at most.
#[derive(Debug)]
pub(crate) struct Reach(usize);

impl Reach {
    pub(crate) fn commits(commits_max: usize) -> Self {
        Self(commits_max)
    }

    /// One more commit is looked at; false if it may not be.
    pub(super) fn take(&mut self) -> bool {
        let left = self.0.checked_sub(1);
        self.0 = left.unwrap_or_default();
        left.is_some()
    }
}
