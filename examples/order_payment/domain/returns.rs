//! Goods that came back: one message of the feed, of an order that it may or may not name.

use chronicler_domain::{Aggregate, Context, Decided, Decision, Event};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{Amount, Line, MessageId, SourceTime};

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parcel {
    /// Where it was read. A return id may stand on several lines, and each of them counts.
    pub message: MessageId,
    /// As the source calls it.
    pub return_id: String,
    /// The order that it belongs to, where the source knows.
    pub order: Option<String>,
    /// When it came back.
    pub at: SourceTime,
    /// What is in it, at the prices that are given back.
    pub lines: Vec<Line>,
}

impl Parcel {
    /// The money that is given back.
    pub fn value(&self) -> Amount {
        self.lines.iter().map(Line::price).sum()
    }
}

/// What a return can be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum GoodsReturnCommand {
    /// From the feed. The same message again changes nothing.
    Receive(Parcel),
    /// Restocked and paid out.
    Settle,
}

/// What can have happened to a return.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum GoodsReturnEvent {
    Received(Parcel),
    Settled,
}

impl Event for GoodsReturnEvent {}

/// Why a return says no.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
pub enum GoodsReturnRejection {
    #[error("nothing came back")]
    NotReceived,
    #[error("this is another message than {first}")]
    ReceivedBefore { first: MessageId },
}

/// What a return must know to decide. Its id is made of its message, not of the return's own id.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GoodsReturn {
    received: Option<MessageId>,
    settled: bool,
}

impl Aggregate for GoodsReturn {
    const CATEGORY: &'static str = "return";

    type Command = GoodsReturnCommand;
    type Event = GoodsReturnEvent;
    type Reply = ();
    type Rejection = GoodsReturnRejection;

    fn decide(&self, command: GoodsReturnCommand, _: &Context) -> Decided<Self> {
        match (command, &self.received) {
            (GoodsReturnCommand::Receive(parcel), None) => {
                Ok(GoodsReturnEvent::Received(parcel).into())
            }
            (GoodsReturnCommand::Receive(parcel), Some(first)) if parcel.message == *first => {
                Ok(Decision::nothing())
            }
            (GoodsReturnCommand::Receive(_), Some(first)) => {
                Err(GoodsReturnRejection::ReceivedBefore {
                    first: first.clone(),
                })
            }
            (GoodsReturnCommand::Settle, None) => Err(GoodsReturnRejection::NotReceived),
            (GoodsReturnCommand::Settle, Some(_)) if self.settled => Ok(Decision::nothing()),
            (GoodsReturnCommand::Settle, Some(_)) => Ok(GoodsReturnEvent::Settled.into()),
        }
    }

    fn evolve(&mut self, event: &GoodsReturnEvent) {
        match event {
            GoodsReturnEvent::Received(parcel) => self.received = Some(parcel.message.clone()),
            GoodsReturnEvent::Settled => self.settled = true,
        }
    }
}

#[cfg(test)]
mod tests {
    use chronicler_testkit::given;

    use super::*;

    fn parcel(line: u64) -> Parcel {
        let source = "orders.jsonl".into();
        Parcel {
            message: MessageId { source, line },
            return_id: "r-1".into(),
            order: None,
            at: SourceTime::from_micros(0),
            lines: vec![],
        }
    }

    #[test]
    fn a_message_is_received_and_settled_once() {
        given::<GoodsReturn>([])
            .when(GoodsReturnCommand::Receive(parcel(4)))
            .then_events([GoodsReturnEvent::Received(parcel(4))])
            .and_then()
            .when(GoodsReturnCommand::Receive(parcel(4)))
            .then_events([])
            .and_then()
            .when(GoodsReturnCommand::Settle)
            .then_events([GoodsReturnEvent::Settled])
            .and_then()
            .when(GoodsReturnCommand::Settle)
            .then_events([]);
    }

    #[test]
    fn nothing_is_settled_that_did_not_come_back() {
        given::<GoodsReturn>([])
            .when(GoodsReturnCommand::Settle)
            .then_rejected(GoodsReturnRejection::NotReceived);
    }
}
