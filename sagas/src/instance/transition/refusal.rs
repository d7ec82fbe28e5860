//! Refusals of an instance.

/// An instance refuses a command, for this reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SagaRefusal {
    #[error("no saga of this id was ever started")]
    NotStarted,
    #[error("the saga is over")]
    Over,
    #[error("the saga has passed its pivot and only goes forward")]
    PastPivot,
    #[error("the saga is being compensated already")]
    Compensating,
    #[error("the effect is not wanted any more")]
    NotWanted,
    #[error("no effect of this key waits for a person")]
    NothingToSettle,
    #[error(
        "the outcome of a command is known to its aggregate: say whether it was done or rejected"
    )]
    CannotBeUnknown,
    #[error("`0x` begins bytes, as pairs of hexadecimal digits, and these are none")]
    NoBytes,
    #[error("the saga has decided how it ends, and only waits for what is under way")]
    Concluded,
    #[error("it was forked before, to another id: what it did is that one's")]
    ForkedBefore,
    #[error("no timer of this key is armed")]
    NoTimer,
    #[error("an attempt at this effect is under way: wait for its outcome")]
    AttemptUnderWay,
    #[error("effects are under way: wait for their outcomes, or pause it")]
    UnderWay,
    #[error("an instance of this id was started before")]
    StartedBefore,
    #[error("the saga's own code cannot take {what}: {reason}")]
    NotTaken { what: &'static str, reason: String },
    #[error("the saga's pivot is under way: whether it can still be undone is not known yet")]
    PivotUnderWay,
}
