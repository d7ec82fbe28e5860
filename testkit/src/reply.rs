//! How a script answers what a saga wants.

use chronicler_sagas::{Answer, Payload};
use chronicler_store::codec::{PayloadCodec, encode};
use serde::Serialize;

/// How something that a saga wants is answered.
pub struct Reply(pub(crate) Answered);

pub(crate) enum Answered {
    Answer(Answer),
    Lost,
    Wrong(String),
}

/// It is done, with this reply; of a child, which was completed, with `()`.
pub fn ok<T: Serialize>(reply: &T) -> Reply {
    answered(reply, Answer::Done)
}

/// It is refused, for this reason.
pub fn reject<R: Serialize>(rejection: &R) -> Reply {
    answered(rejection, Answer::Rejected)
}

/// Nobody knows whether it was done, and no further attempt finds it out.
pub fn never_answered() -> Reply {
    Reply(Answered::Answer(Answer::Unknown("no answer".to_owned())))
}

/// The answer is lost: it is wanted again, one second later.
pub fn lose() -> Reply {
    Reply(Answered::Lost)
}

fn answered<T: Serialize>(value: &T, answer: impl FnOnce(Payload) -> Answer) -> Reply {
    let codec = PayloadCodec::default();
    Reply(match encode(codec, value) {
        Ok(bytes) => Answered::Answer(answer(Payload::new(codec.id(), bytes.to_vec()))),
        Err(error) => Answered::Wrong(error.to_string()),
    })
}
