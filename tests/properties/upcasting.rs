//! A chain of upcasters is its steps one after the other, from whichever version an event was written in.

use chronicler::domain::SchemaVersion;
use chronicler::prelude::*;
use chronicler::store::codec::{Decoded, EventDecoder, PayloadCodec, encode};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use crate::cases;

/// The present shape, version 4.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum PriceEvent {
    Priced {
        amount: i64,
        currency: String,
        tags: Vec<String>,
    },
    Noted(String),
}

/// Version 1 had whole units, version 2 cents, version 3 a currency, version 4 tags.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct V1 {
    units: i32,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct V2 {
    cents: i64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct V3 {
    cents: i64,
    currency: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct V4 {
    amount: i64,
    currency: String,
    tags: Vec<String>,
}

fn second(old: V1) -> V2 {
    V2 {
        cents: i64::from(old.units) * 100,
    }
}

fn third(old: V2) -> V3 {
    let currency = if old.cents % 2 == 0 { "EUR" } else { "USD" };
    V3 {
        cents: old.cents,
        currency: currency.to_owned(),
    }
}

fn fourth(old: V3) -> V4 {
    let tags = (0..old.cents.rem_euclid(3))
        .map(|n| format!("{n}{}", old.currency))
        .collect();
    V4 {
        amount: old.cents,
        currency: old.currency,
        tags,
    }
}

impl Event for PriceEvent {
    const VERSIONS: &'static [(&'static str, u32)] = &[("Priced", 4)];

    fn upcasters() -> Upcasters {
        Upcasters::new()
            .step("Priced", 1, second)
            .step("Priced", 2, third)
            .step("Priced", 3, fourth)
    }
}

#[derive(Clone, Debug)]
enum Written {
    V1(V1),
    V2(V2),
    V3(V3),
    V4(V4),
}

fn written() -> impl Strategy<Value = Written> {
    let text = "[A-Z]{0,4}";
    prop_oneof![
        any::<i32>().prop_map(|units| Written::V1(V1 { units })),
        any::<i64>().prop_map(|cents| Written::V2(V2 { cents })),
        (any::<i64>(), text).prop_map(|(cents, currency)| Written::V3(V3 { cents, currency })),
        (any::<i64>(), text, prop::collection::vec(text, 0..4)).prop_map(
            |(amount, currency, tags)| Written::V4(V4 {
                amount,
                currency,
                tags
            })
        ),
    ]
}

proptest! {
    #![proptest_config(cases(500))]
    #[test]
    fn a_chain_is_its_steps_one_after_the_other(written in written(), json in any::<bool>()) {
        let codec = if json { PayloadCodec::Json } else { PayloadCodec::Bincode };
        let (version, payload, by_hand) = match written {
            Written::V1(old) => (1, encode(codec, &old), fourth(third(second(old)))),
            Written::V2(old) => (2, encode(codec, &old), fourth(third(old))),
            Written::V3(old) => (3, encode(codec, &old), fourth(old)),
            Written::V4(now) => (4, encode(codec, &now), now),
        };
        let V4 { amount, currency, tags } = by_hand;
        let decoder = EventDecoder::<PriceEvent>::new();
        let version = SchemaVersion::new(version);
        let decoded = decoder.decode_parts(codec.id(), "Priced", version, &payload.unwrap()).unwrap();
        let events: Vec<PriceEvent> = match decoded {
            Decoded::None => Vec::new(),
            Decoded::One(event) => vec![event],
            Decoded::Many(events) => events,
        };
        prop_assert_eq!(events, [PriceEvent::Priced { amount, currency, tags }]);
    }

    #[test]
    fn bytes_of_any_version_are_an_event_or_an_error(
        payload in prop::collection::vec(any::<u8>(), 0..64), version in 0..6_u32, codec in 0..4_u8,
    ) {
        let decoder = EventDecoder::<PriceEvent>::new();
        let codec = chronicler::store::codec::CodecId::new(codec);
        drop(decoder.decode_parts(codec, "Priced", SchemaVersion::new(version), &payload));
    }
}
