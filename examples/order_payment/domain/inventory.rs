//! The stock of one product: what is there, and what of it is promised to whom.

use std::collections::{BTreeMap, BTreeSet};

use chronicler_domain::{Aggregate, Certain, Context, Decided, Decision, Event};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{MessageId, SourceTime};

/// What is promised to one line of an order. The line counts from 0.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ReservationKey {
    pub order: String,
    pub line: u32,
}

/// What the stock of a product can be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum InventoryCommand {
    /// Count it before its first use. A product that was never counted opens at 0 and refuses nothing.
    Open { units: i64 },
    /// Promise units to a line of an order.
    Reserve { key: ReservationKey, quantity: u32 },
    /// Take a promise back. One that does not stand any more needs no taking back.
    Release { key: ReservationKey },
    /// Hand over what was promised.
    Commit(HandOver),
    /// Returned goods. The line counts from 0 within its message.
    Restock {
        message: MessageId,
        line: u32,
        quantity: u32,
    },
    /// From the feed: units found or lost. May leave less than nothing.
    Adjust {
        message: MessageId,
        quantity: i64,
        reason: String,
        at: SourceTime,
    },
}

/// The units that are reserved for this line leave the stock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandOver {
    pub key: ReservationKey,
}

impl From<HandOver> for InventoryCommand {
    fn from(command: HandOver) -> Self {
        Self::Commit(command)
    }
}

/// What can have happened to the stock of a product.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum InventoryEvent {
    Opened {
        units: i64,
    },
    Reserved {
        key: ReservationKey,
        quantity: u32,
    },
    Released {
        key: ReservationKey,
        quantity: u32,
    },
    Committed {
        key: ReservationKey,
        quantity: u32,
    },
    Restocked {
        message: MessageId,
        line: u32,
        quantity: u32,
    },
    Adjusted {
        message: MessageId,
        quantity: i64,
        reason: String,
        at: SourceTime,
    },
}

impl Event for InventoryEvent {}

/// Why a stock says no.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
pub enum InventoryRejection {
    #[error("{wanted} wanted, {available} available")]
    Shortage { wanted: u32, available: i64 },
    #[error("it was opened or used before")]
    OpenedBefore,
    #[error("another quantity is reserved for this line")]
    ReservedOtherwise,
}

/// What a stock must know to decide.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inventory {
    opening: Option<i64>,
    used: bool,
    on_hand: i64,
    promised: i64,
    reserved: BTreeMap<ReservationKey, u32>,
    /// The lines of returns, and adjustments (no line), that were counted.
    counted: BTreeSet<(MessageId, Option<u32>)>,
}

impl Inventory {
    /// What there is, in units, as JSON.
    pub fn shown(&self) -> serde_json::Value {
        serde_json::json!({
            "on_hand": self.on_hand,
            "reserved": self.promised,
            "available": self.on_hand - self.promised,
        })
    }
}

impl Aggregate for Inventory {
    const CATEGORY: &'static str = "inventory";

    type Command = InventoryCommand;
    type Event = InventoryEvent;
    type Reply = ();
    type Rejection = InventoryRejection;

    fn decide(&self, command: InventoryCommand, ctx: &Context) -> Decided<Self> {
        match command {
            InventoryCommand::Open { units } => self.open(units),
            InventoryCommand::Reserve { key, quantity } => self.reserve(key, quantity),
            InventoryCommand::Release { key } => Ok(self
                .reserved
                .get(&key)
                .map_or_else(Decision::nothing, |&quantity| {
                    InventoryEvent::Released { key, quantity }.into()
                })),
            InventoryCommand::Commit(command) => Ok(self.certain(command, ctx)),
            InventoryCommand::Restock {
                message,
                line,
                quantity,
            } => {
                if self.counted.contains(&(message.clone(), Some(line))) {
                    return Ok(Decision::nothing());
                }
                Ok(InventoryEvent::Restocked {
                    message,
                    line,
                    quantity,
                }
                .into())
            }
            InventoryCommand::Adjust {
                message,
                quantity,
                reason,
                at,
            } => {
                if self.counted.contains(&(message.clone(), None)) {
                    return Ok(Decision::nothing());
                }
                Ok(InventoryEvent::Adjusted {
                    message,
                    quantity,
                    reason,
                    at,
                }
                .into())
            }
        }
    }

    fn evolve(&mut self, event: &InventoryEvent) {
        self.used = true;
        match event {
            InventoryEvent::Opened { units } => {
                self.opening = Some(*units);
                self.on_hand = *units;
            }
            InventoryEvent::Reserved { key, quantity } => {
                self.promised += i64::from(*quantity);
                self.reserved.insert(key.clone(), *quantity);
            }
            InventoryEvent::Released { key, quantity } => {
                self.promised -= i64::from(*quantity);
                self.reserved.remove(key);
            }
            InventoryEvent::Committed { key, quantity } => {
                self.promised -= i64::from(*quantity);
                self.on_hand -= i64::from(*quantity);
                self.reserved.remove(key);
            }
            InventoryEvent::Restocked {
                message,
                line,
                quantity,
            } => {
                self.on_hand += i64::from(*quantity);
                self.counted.insert((message.clone(), Some(*line)));
            }
            InventoryEvent::Adjusted {
                message, quantity, ..
            } => {
                self.on_hand += quantity;
                self.counted.insert((message.clone(), None));
            }
        }
    }
}

/// Handing over what is reserved is never refused; what is not reserved was handed over before.
impl Certain<HandOver> for Inventory {
    fn certain(&self, HandOver { key }: HandOver, _: &Context) -> Decision<InventoryEvent> {
        match self.reserved.get(&key) {
            Some(&quantity) => InventoryEvent::Committed { key, quantity }.into(),
            None => Decision::nothing(),
        }
    }
}

impl Inventory {
    fn open(&self, units: i64) -> Decided<Self> {
        match self.opening {
            Some(opening) if opening == units => Ok(Decision::nothing()),
            None if !self.used => Ok(InventoryEvent::Opened { units }.into()),
            _ => Err(InventoryRejection::OpenedBefore),
        }
    }

    fn reserve(&self, key: ReservationKey, quantity: u32) -> Decided<Self> {
        match self.reserved.get(&key) {
            Some(&before) if before == quantity => return Ok(Decision::nothing()),
            Some(_) => return Err(InventoryRejection::ReservedOtherwise),
            None => {}
        }
        let available = self.on_hand - self.promised;
        if self.opening.is_some() && i64::from(quantity) > available {
            return Err(InventoryRejection::Shortage {
                wanted: quantity,
                available,
            });
        }
        Ok(InventoryEvent::Reserved { key, quantity }.into())
    }
}

#[cfg(test)]
mod tests {
    use chronicler_testkit::given;

    use super::*;

    fn key(line: u32) -> ReservationKey {
        ReservationKey {
            order: "o-1".into(),
            line,
        }
    }

    #[test]
    fn nothing_is_promised_twice() {
        given::<Inventory>([InventoryEvent::Opened { units: 5 }])
            .when(InventoryCommand::Reserve {
                key: key(0),
                quantity: 3,
            })
            .then_events([InventoryEvent::Reserved {
                key: key(0),
                quantity: 3,
            }])
            .and_then()
            .when(InventoryCommand::Reserve {
                key: key(0),
                quantity: 3,
            })
            .then_events([])
            .and_then()
            .when(InventoryCommand::Reserve {
                key: key(1),
                quantity: 3,
            })
            .then_rejected(InventoryRejection::Shortage {
                wanted: 3,
                available: 2,
            });
    }

    #[test]
    fn what_was_released_is_there_again() {
        let given = given::<Inventory>([
            InventoryEvent::Opened { units: 5 },
            InventoryEvent::Reserved {
                key: key(0),
                quantity: 3,
            },
            InventoryEvent::Released {
                key: key(0),
                quantity: 3,
            },
        ]);
        assert_eq!((given.state().on_hand, given.state().promised), (5, 0));
        given
            .when(InventoryCommand::Release { key: key(0) })
            .then_events([]);
    }

    #[test]
    fn what_was_handed_over_is_gone() {
        let given = given::<Inventory>([
            InventoryEvent::Opened { units: 5 },
            InventoryEvent::Reserved {
                key: key(0),
                quantity: 3,
            },
            InventoryEvent::Committed {
                key: key(0),
                quantity: 3,
            },
        ]);
        assert_eq!((given.state().on_hand, given.state().promised), (2, 0));
        given.when_certain(HandOver { key: key(0) }).then_events([]);
    }

    #[test]
    fn an_uncounted_product_refuses_nothing() {
        let reserved = InventoryEvent::Reserved {
            key: key(0),
            quantity: 3,
        };
        given::<Inventory>([])
            .when(InventoryCommand::Reserve {
                key: key(0),
                quantity: 3,
            })
            .then_events([reserved.clone()]);
        given::<Inventory>([reserved])
            .when(InventoryCommand::Open { units: 9 })
            .then_rejected(InventoryRejection::OpenedBefore);
    }

    #[test]
    fn each_message_counts_once_and_may_go_below_zero() {
        let adjust = |line| InventoryCommand::Adjust {
            message: MessageId {
                source: "f".into(),
                line,
            },
            quantity: -7,
            reason: "moths".into(),
            at: SourceTime::from_micros(0),
        };
        let given = given::<Inventory>([InventoryEvent::Opened { units: 5 }])
            .when(adjust(1))
            .then_accepted()
            .and_then()
            .when(adjust(1))
            .then_events([])
            .and_then()
            .when(adjust(2))
            .then_accepted()
            .and_then();
        assert_eq!(given.state().on_hand, -9);
    }
}
