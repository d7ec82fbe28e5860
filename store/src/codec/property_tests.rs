//! For every codec: what goes in comes out, or is an error that says so. Never another value.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use chronicler_domain::Event;
use proptest::collection::{btree_map, btree_set, hash_map, hash_set, vec};
use proptest::prelude::*;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{PayloadCodec, decode, encode_certainly, encode_event, read_back};

const CODECS: [PayloadCodec; 3] = [
    PayloadCodec::Bincode,
    PayloadCodec::Json,
    PayloadCodec::ByName,
];

/// Bytes as serde has them, which are no sequence.
#[derive(Clone, Debug, PartialEq)]
struct Octets(Vec<u8>);

impl Serialize for Octets {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Octets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Octets;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Octets, E> {
                Ok(Octets(bytes.to_vec()))
            }
        }
        deserializer.deserialize_bytes(Visitor)
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Numbers {
    small: (i8, i16, i32, u8, u16, u32),
    large: (i64, u64, i128, u128),
    floats: (f32, f64),
    others: (bool, char, ()),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
enum Key {
    One,
    Two,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Everything {
    Nothing,
    Numbers(Numbers),
    Pair(String, Option<Option<u8>>),
    Maps {
        by_number: BTreeMap<i64, String>,
        by_large: BTreeMap<u128, u8>,
        by_key: BTreeMap<Key, BTreeSet<char>>,
        unordered: HashMap<String, HashSet<u64>>,
    },
    Octets(Octets),
    Nested(Vec<Everything>),
    Result(Result<u8, String>),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Inner {
    count: u64,
    note: Option<String>,
}

/// Types that serde reads by looking at what comes.
#[derive(Clone, Debug, Serialize, Deserialize)]
enum Hidden {
    Flattened {
        id: u64,
        #[serde(flatten)]
        inner: Inner,
        #[serde(flatten)]
        rest: BTreeMap<String, i64>,
    },
    Tagged(Tagged),
    Adjacent(Adjacent),
    Untagged(Untagged),
    Sparse {
        #[serde(skip_serializing_if = "Option::is_none")]
        note: Option<u64>,
        units: u64,
    },
    Skips(Skips),
    Anything(serde_json::Value),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "kind")]
enum Tagged {
    Map { by_number: BTreeMap<u64, u64> },
    Wide { wide: u128, float: f64 },
    Unit,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", content = "of")]
enum Adjacent {
    Number(i64),
    Pair(u8, f32),
    Unit,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Small(u8),
    Float(f64),
    Text(String),
    Option(Option<Option<bool>>),
    Map(BTreeMap<i32, char>),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Skips {
    First(u64),
    #[serde(skip)]
    Hidden,
    Second(u64),
    Third(u64),
}

impl Event for Everything {}
impl Event for Hidden {}

fn numbers() -> impl Strategy<Value = Numbers> {
    let floats = (
        any::<f32>(),
        prop_oneof![any::<f64>(), any::<u64>().prop_map(f64::from_bits)],
    );
    (
        any::<(i8, i16, i32, u8, u16, u32)>(),
        any::<(i64, u64, i128, u128)>(),
        floats,
        any::<(bool, char)>(),
    )
        .prop_map(|(small, large, floats, (truth, character))| Numbers {
            small,
            large,
            floats,
            others: (truth, character, ()),
        })
}

fn everything() -> impl Strategy<Value = Everything> {
    let key = prop_oneof![Just(Key::One), Just(Key::Two)];
    let maps = (
        btree_map(any::<i64>(), any::<String>(), 0..4),
        btree_map(any::<u128>(), any::<u8>(), 0..4),
        btree_map(key, btree_set(any::<char>(), 0..4), 0..3),
        hash_map(any::<String>(), hash_set(any::<u64>(), 0..9), 0..4),
    );
    let leaf = prop_oneof![
        Just(Everything::Nothing),
        numbers().prop_map(Everything::Numbers),
        any::<(String, Option<Option<u8>>)>()
            .prop_map(|(text, option)| Everything::Pair(text, option)),
        maps.prop_map(
            |(by_number, by_large, by_key, unordered)| Everything::Maps {
                by_number,
                by_large,
                by_key,
                unordered,
            }
        ),
        any::<Vec<u8>>().prop_map(|bytes| Everything::Octets(Octets(bytes))),
        any::<Result<u8, String>>().prop_map(Everything::Result),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        vec(inner, 0..4).prop_map(Everything::Nested)
    })
}

fn hidden() -> impl Strategy<Value = Hidden> {
    prop_oneof![
        (
            any::<u64>(),
            any::<u64>(),
            any::<Option<String>>(),
            btree_map(any::<String>(), any::<i64>(), 0..4)
        )
            .prop_map(|(id, count, note, rest)| Hidden::Flattened {
                id,
                inner: Inner { count, note },
                rest,
            }),
        btree_map(any::<u64>(), any::<u64>(), 0..4)
            .prop_map(|by_number| Hidden::Tagged(Tagged::Map { by_number })),
        any::<(u128, f64)>().prop_map(|(wide, float)| Hidden::Tagged(Tagged::Wide { wide, float })),
        Just(Hidden::Tagged(Tagged::Unit)),
        any::<i64>().prop_map(|number| Hidden::Adjacent(Adjacent::Number(number))),
        any::<(u8, f32)>().prop_map(|(a, b)| Hidden::Adjacent(Adjacent::Pair(a, b))),
        Just(Hidden::Adjacent(Adjacent::Unit)),
        any::<u8>().prop_map(|number| Hidden::Untagged(Untagged::Small(number))),
        any::<f64>().prop_map(|number| Hidden::Untagged(Untagged::Float(number))),
        (0_u8..9).prop_map(|number| Hidden::Untagged(Untagged::Float(number.into()))),
        any::<String>().prop_map(|text| Hidden::Untagged(Untagged::Text(text))),
        any::<Option<Option<bool>>>().prop_map(|option| Hidden::Untagged(Untagged::Option(option))),
        btree_map(any::<i32>(), any::<char>(), 0..4)
            .prop_map(|map| Hidden::Untagged(Untagged::Map(map))),
        any::<(Option<u64>, u64)>().prop_map(|(note, units)| Hidden::Sparse { note, units }),
        any::<u64>().prop_map(|number| Hidden::Skips(Skips::Second(number))),
        any::<u64>().prop_map(|number| Hidden::Skips(Skips::Third(number))),
        any::<(i64, f64)>().prop_map(|(a, b)| Hidden::Anything(serde_json::json!([a, { "b": b }]))),
    ]
}

/// In words, with the order of unordered maps taken away: for f64, words are as exact as bits.
fn words(value: &impl std::fmt::Debug) -> String {
    let mut words: Vec<char> = format!("{value:?}").chars().collect();
    words.sort_unstable();
    words.into_iter().collect()
}

/// The value comes out as it went in; `false` if the codec says that it cannot.
fn comes_out<T>(codec: PayloadCodec, value: &T) -> bool
where
    T: Event + std::fmt::Debug + Serialize + DeserializeOwned,
{
    let payload = encode_certainly(codec, value);
    if let Ok(payload) = &payload {
        let read: T = decode(codec.id(), payload).unwrap();
        assert_eq!(words(&read), words(value), "{codec:?}: {value:?}, {read:?}");
    }
    let event = encode_event(codec, value).and_then(|encoded| read_back(value, &encoded));
    if let Ok(read) = &event {
        assert_eq!(words(read), words(value), "{codec:?}: {value:?}, {read:?}");
    }
    payload.is_ok() && event.is_ok()
}

/// Whether JSON has a word for everything in it.
fn is_json(value: &Everything) -> bool {
    match value {
        Everything::Numbers(numbers) => {
            numbers.floats.0.is_finite() && numbers.floats.1.is_finite()
        }
        Everything::Pair(_, option) => *option != Some(None),
        Everything::Octets(_) => false,
        Everything::Nested(values) => values.iter().all(is_json),
        _ => true,
    }
}

proptest! {
    #[test]
    fn c5_what_goes_into_a_codec_comes_out(value in everything()) {
        for codec in CODECS {
            let comes_out = comes_out(codec, &value);
            let must = codec != PayloadCodec::Json || is_json(&value);
            prop_assert!(comes_out || !must, "{codec:?} refuses {value:?}");
        }
    }

    #[test]
    fn c5_what_serde_hides_comes_out_or_is_refused(value in hidden()) {
        for codec in CODECS {
            comes_out(codec, &value);
        }
    }

    #[test]
    fn c5_a_floating_point_number_comes_out_to_the_last_bit(cents in any::<i32>(), rate in 1_u32..10_000) {
        let computed = f64::from(cents) * 1.1 / f64::from(rate);
        for codec in CODECS {
            let payload = encode_certainly(codec, &computed).unwrap();
            let read: f64 = decode(codec.id(), &payload).unwrap();
            prop_assert_eq!(read.to_bits(), computed.to_bits());
        }
    }
}

#[test]
fn c4_a_variant_that_serde_skips_shifts_no_other_one() {
    let value = Hidden::Skips(Skips::Second(7));
    let refused = encode_event(PayloadCodec::Bincode, &value)
        .and_then(|encoded| read_back(&value, &encoded))
        .unwrap_err();
    assert!(refused.to_string().contains("another value"), "{refused}");
    assert!(encode_certainly(PayloadCodec::Bincode, &value).is_err());
    assert!(comes_out(PayloadCodec::ByName, &value));
    assert!(comes_out(PayloadCodec::Json, &value));
    // The one that is skipped is written by none.
    let skipped = Hidden::Skips(Skips::Hidden);
    for codec in CODECS {
        assert!(encode_event(codec, &skipped).is_err(), "{codec:?}");
    }
}

#[test]
fn c4_a_map_that_is_read_in_another_order_is_the_same_value() {
    let value = Everything::Maps {
        by_number: BTreeMap::new(),
        by_large: BTreeMap::new(),
        by_key: BTreeMap::new(),
        unordered: (0..100)
            .map(|n| (n.to_string(), (0..n).collect()))
            .collect(),
    };
    for codec in CODECS {
        assert!(comes_out(codec, &value), "{codec:?}");
    }
}
