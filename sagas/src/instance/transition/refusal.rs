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
    #[error("it is paused: no further attempt begins until it is resumed")]
    Paused,
    #[error("it is quarantined: no further attempt begins until it is released")]
    Quarantined,
    #[error(
        "effects are under way: wait for their outcomes; or pause it, and skip or settle what is left"
    )]
    UnderWay,
    #[error(
        "effects wait for a person: have them tried again, or skip or settle them; then migrate it"
    )]
    EffectParked,
    #[error(
        "the answer to effect {key:?} waits, and only the definition that asked for it can take it: have the application know that one again (`StepSaga::older`, or its earlier release), and release the instance; or cancel it"
    )]
    AnswerWaits { key: String },
    #[error("an instance of this id was started before")]
    StartedBefore,
    #[error("the saga's own code cannot take {what}: {reason}")]
    NotTaken { what: &'static str, reason: String },
    #[error("the saga's pivot is under way: whether it can still be undone is not known yet")]
    PivotUnderWay,
}
