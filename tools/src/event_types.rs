//! Payloads as JSON where an application's event types are known.

use std::collections::HashMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use chronicler_domain::{Aggregate, Event};
use chronicler_store::codec::{EventDecoder, PayloadCodec, encode_event, read_back};
use chronicler_store::{EventRef, NewEvent};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use crate::payload::{Payloads, SelfDescribing};

/// The event types of an application, so that its payloads are printed as JSON: for a binary of its own that mounts the
/// command line.
///
/// A payload that is JSON already is shown as it was recorded. Any other is decoded with the application's types. If
/// upcasters make another type or several events of it, those are shown, each with its type. What cannot be decoded, or
/// makes the types' own code panic, is shown as hexadecimal digits, as without the types.
///
/// # Examples
///
/// The `main` of such a binary:
///
/// ```
/// # use chronicler_domain::{Aggregate, Context, Decided, Event, Never};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Clone, Default, Serialize, Deserialize)]
/// # struct Account;
/// # #[derive(Serialize, Deserialize)]
/// # enum AccountEvent { Deposited { cents: i64 } }
/// # impl Event for AccountEvent {}
/// # impl Aggregate for Account {
/// #     const CATEGORY: &'static str = "account";
/// #     type Command = i64;
/// #     type Event = AccountEvent;
/// #     type Reply = ();
/// #     type Rejection = Never;
/// #     fn decide(&self, cents: i64, _: &Context) -> Decided<Self> {
/// #         Ok(AccountEvent::Deposited { cents }.into())
/// #     }
/// #     fn evolve(&mut self, _: &AccountEvent) {}
/// # }
/// use std::process::ExitCode;
///
/// use chronicler_tools::EventTypes;
///
/// fn operate() -> ExitCode {
///     let types = EventTypes::new().aggregate::<Account>();
///     chronicler_tools::main(&types).into()
/// }
/// ```
#[derive(Default)]
pub struct EventTypes {
    by_category: HashMap<String, Box<dyn Payloads + Send>>,
}

impl EventTypes {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// With the events of an aggregate.
    #[must_use]
    pub fn aggregate<A: Aggregate>(self) -> Self {
        self.events::<A::Event>(A::CATEGORY)
    }

    /// With the events of a category, in place of those that it had.
    #[must_use]
    pub fn events<E: Event>(mut self, category: impl Into<String>) -> Self {
        let decoder: EventDecoder<E> = EventDecoder::new();
        self.by_category
            .insert(category.into(), Box::new(Typed(decoder)));
        self
    }
}

impl Payloads for EventTypes {
    fn json(&self, event: &EventRef<'_>) -> Option<Box<RawValue>> {
        SelfDescribing.json(event).or_else(|| {
            let types = self.by_category.get(event.part().category())?;
            types.json(event)
        })
    }
}

impl fmt::Debug for EventTypes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let categories = self.by_category.keys();
        f.debug_set().entries(categories).finish()
    }
}

/// The events of one category.
struct Typed<E>(EventDecoder<E>);

/// An event that upcasters made.
#[derive(Serialize)]
struct Upcasted {
    #[serde(rename = "type")]
    event_type: String,
    payload: Box<RawValue>,
}

impl<E: Event> Payloads for Typed<E> {
    fn json(&self, event: &EventRef<'_>) -> Option<Box<RawValue>> {
        // The application's own code may panic on an event, which is then shown like one that cannot be decoded.
        catch_unwind(AssertUnwindSafe(|| self.decoded(event))).ok()?
    }
}

impl<E: Event> Typed<E> {
    fn decoded(&self, event: &EventRef<'_>) -> Option<Box<RawValue>> {
        let mut made = Vec::new();
        for decoded in self.0.decode(event).ok()? {
            let json = encode_event(PayloadCodec::Json, &decoded).ok()?;
            // Not every value has a form in JSON that means the same: such a one is shown as bytes.
            read_back(&decoded, &json).ok()?;
            made.push(json);
        }
        match made.as_slice() {
            [one] if one.event_type == event.event_type() => content(one),
            several => {
                let upcasted = several.iter().map(|made| {
                    Some(Upcasted {
                        event_type: made.event_type.clone().into_owned(),
                        payload: content(made)?,
                    })
                });
                to_raw_value(&upcasted.collect::<Option<Vec<_>>>()?).ok()
            }
        }
    }
}

/// The payload of an event in the JSON codec.
fn content(event: &NewEvent) -> Option<Box<RawValue>> {
    let text = std::str::from_utf8(&event.payload).ok()?;
    RawValue::from_string(text.to_owned()).ok()
}
