//! What the codec promises about names, versions and bytes.

use chronicler_domain::{Event, SchemaVersion, Upcasted, Upcasters};
use serde::{Deserialize, Serialize};

use super::{
    CodecError, CodecId, Decoded, EventDecoder, PayloadCodec, check_events, decode, encode_event,
    event_types, read_back,
};

const CODECS: [PayloadCodec; 3] = [
    PayloadCodec::Bincode,
    PayloadCodec::Json,
    PayloadCodec::ByName,
];

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Before {
    Opened,
    Deposited {
        cents: i64,
    },
    Moved(String, u8),
    #[serde(rename = "Named")]
    Renamed(u32),
}

/// The same types in another order, one of them under another Rust name, and one more.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum After {
    New(u8),
    Named(u32),
    Moved(String, u8),
    Deposited { cents: i64 },
    Opened,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Alone {
    at: u64,
}

impl Event for Before {}
impl Event for After {}
impl Event for Alone {}

fn through<A: Event, B: Event>(codec: PayloadCodec, event: &A) -> Result<Decoded<B>, CodecError> {
    let new = encode_event(codec, event).unwrap();
    EventDecoder::<B>::new().decode_parts(
        new.codec,
        &new.event_type,
        new.schema_version,
        &new.payload,
    )
}

#[test]
fn variants_may_be_reordered_added_and_renamed_with_their_name_pinned() {
    for codec in CODECS {
        let pairs = [
            (Before::Opened, After::Opened),
            (
                Before::Deposited { cents: -5 },
                After::Deposited { cents: -5 },
            ),
            (Before::Moved("x".into(), 3), After::Moved("x".into(), 3)),
            (Before::Renamed(9), After::Named(9)),
        ];
        for (before, after) in pairs {
            assert_eq!(through(codec, &before), Ok(Decoded::One(after)));
            assert_eq!(through(codec, &before), Ok(Decoded::One(before)));
        }
        assert_eq!(
            through(codec, &Alone { at: 7 }),
            Ok(Decoded::One(Alone { at: 7 }))
        );
    }
}

#[test]
fn the_bytes_hold_the_content_and_no_variant_index() {
    let bytes = |event| encode_event(PayloadCodec::Bincode, &event).unwrap();
    assert_eq!(&bytes(Before::Opened).payload[..], b"");
    assert_eq!(&bytes(Before::Deposited { cents: -5 }).payload[..], [9]);
    assert_eq!(
        &bytes(Before::Moved("ab".into(), 3)).payload[..],
        [2, b'a', b'b', 3]
    );
    assert_eq!(bytes(Before::Renamed(9)).event_type, "Named");
    let json = encode_event(PayloadCodec::Json, &Before::Deposited { cents: 1 }).unwrap();
    assert_eq!(&json.payload[..], br#"{"cents":1}"#);
}

#[test]
fn an_unknown_type_and_a_newer_version_are_different_errors() {
    assert!(matches!(
        through::<_, Before>(PayloadCodec::Bincode, &After::New(1)),
        Err(CodecError::UnknownType { event_type }) if event_type == "New"
    ));
    let newer = EventDecoder::<Before>::new().decode_parts(
        CodecId::BINCODE,
        "Opened",
        SchemaVersion::new(2),
        b"",
    );
    assert!(matches!(newer, Err(CodecError::Newer { .. })));
    let unknown = EventDecoder::<Before>::new().decode_parts(
        CodecId::BINCODE,
        "Nobody",
        SchemaVersion::new(2),
        b"",
    );
    assert!(
        matches!(&unknown, Err(CodecError::UnknownType { event_type }) if event_type == "Nobody"),
        "whatever its version: {unknown:?}"
    );
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Third {
    Deposited {
        cents: i64,
        currency: String,
        by: Option<String>,
    },
    Closed,
}

#[derive(Serialize, Deserialize)]
struct One {
    cents: i64,
}

#[derive(Serialize, Deserialize)]
struct Two {
    cents: i64,
    currency: String,
}

#[derive(Serialize, Deserialize)]
struct Three {
    cents: i64,
    currency: String,
    by: Option<String>,
}

impl Event for Third {
    const VERSIONS: &'static [(&'static str, u32)] = &[("Deposited", 3)];

    fn upcasters() -> Upcasters {
        Upcasters::new()
            .step("Deposited", 1, |old: One| Two {
                cents: old.cents,
                currency: "EUR".into(),
            })
            .step("Deposited", 2, |old: Two| Three {
                cents: old.cents,
                currency: old.currency,
                by: None,
            })
            .replace("Noise", 1, |(): ()| Vec::new())
            .replace("DepositedAndClosed", 1, |cents: i64| {
                vec![
                    Upcasted::new("Deposited", 1, One { cents }),
                    Upcasted::new("Closed", 1, ()),
                ]
            })
    }
}

#[test]
fn a_chain_of_upcasters_makes_none_one_or_several() {
    assert_eq!(check_events::<Third>(), Ok(()));
    let decoder = EventDecoder::<Third>::new();
    let decode = |codec: PayloadCodec, name: &str, version: u32, payload: &[u8]| {
        decoder
            .decode_parts(codec.id(), name, SchemaVersion::new(version), payload)
            .unwrap()
    };
    let deposited = |currency: &str| Third::Deposited {
        cents: 5,
        currency: currency.into(),
        by: None,
    };
    for codec in CODECS {
        let one = super::encode(codec, &One { cents: 5 }).unwrap();
        assert_eq!(
            decode(codec, "Deposited", 1, &one),
            Decoded::One(deposited("EUR"))
        );
        let two = super::encode(
            codec,
            &Two {
                cents: 5,
                currency: "BRL".into(),
            },
        )
        .unwrap();
        assert_eq!(
            decode(codec, "Deposited", 2, &two),
            Decoded::One(deposited("BRL"))
        );
        let both = super::encode(codec, &5_i64).unwrap();
        let expected = Decoded::Many(vec![deposited("EUR"), Third::Closed]);
        assert_eq!(decode(codec, "DepositedAndClosed", 1, &both), expected);
        let unit = super::encode(codec, &()).unwrap();
        assert_eq!(decode(codec, "Noise", 1, &unit), Decoded::None);
    }
}

#[test]
fn damaged_payloads_are_errors_and_never_panic() {
    let decoder = EventDecoder::<Third>::new();
    let whole = super::encode(
        PayloadCodec::Bincode,
        &Three {
            cents: 1 << 40,
            currency: "EUR".into(),
            by: Some("me".into()),
        },
    )
    .unwrap();
    let decode = |bytes: &[u8]| {
        decoder.decode_parts(CodecId::BINCODE, "Deposited", SchemaVersion::new(3), bytes)
    };
    assert!(decode(&whole).is_ok());
    for cut in 0..whole.len() {
        assert!(decode(&whole[..cut]).is_err(), "cut at {cut}");
    }
    let mut longer = whole.to_vec();
    longer.push(0);
    assert!(decode(&longer).is_err(), "left-over bytes are refused");
    for at in 0..whole.len() {
        for byte in [0, 1, 0x7f, 0xfb, 0xfd, 0xff] {
            let mut bytes = whole.to_vec();
            bytes[at] = byte;
            drop(decode(&bytes));
        }
    }
}

#[test]
fn j18_an_event_that_cannot_be_encoded_is_an_error() {
    #[derive(Deserialize)]
    enum Stubborn {
        Refuses,
    }
    impl Serialize for Stubborn {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("never"))
        }
    }
    impl Event for Stubborn {}
    let refused = encode_event(PayloadCodec::Bincode, &Stubborn::Refuses).unwrap_err();
    assert!(refused.to_string().contains("never"), "{refused}");
}

#[test]
fn hostile_lengths_and_mutated_json_are_errors_and_never_panic() {
    // A string and a list that claim to be longer than any memory.
    let claims = [0xfd, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, b'x'];
    assert!(decode::<String>(CodecId::BINCODE, &claims).is_err());
    assert!(decode::<Vec<u64>>(CodecId::BINCODE, &claims).is_err());
    let nested = "[".repeat(100_000);
    assert!(decode::<serde_json::Value>(CodecId::JSON, nested.as_bytes()).is_err());
    let decoder = EventDecoder::<Before>::new();
    let whole = br#"["ab",3]"#;
    for at in 0..whole.len() {
        for byte in 0..=u8::MAX {
            let mut bytes = whole.to_vec();
            bytes[at] = byte;
            for name in ["Moved", "Opened", "Deposited"] {
                drop(decoder.decode_parts(CodecId::JSON, name, SchemaVersion::FIRST, &bytes));
            }
        }
        let cut = decoder.decode_parts(CodecId::JSON, "Moved", SchemaVersion::FIRST, &whole[..at]);
        assert!(cut.is_err(), "cut at {at}");
    }
}

/// Says that its versions and steps are what `$versions` and `$upcasters` are.
macro_rules! misdescribed {
    ($name:ident, $versions:expr, $upcasters:expr) => {
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        enum $name {
            Deposited { cents: i64 },
        }
        impl Event for $name {
            const VERSIONS: &'static [(&'static str, u32)] = $versions;
            fn upcasters() -> Upcasters {
                $upcasters
            }
        }
    };
}

#[test]
fn what_is_wrong_with_the_description_is_found_at_start() {
    misdescribed!(Gap, &[("Deposited", 3)], {
        Upcasters::new().step("Deposited", 1, |old: One| old)
    });
    misdescribed!(Misspelt, &[("Deposit", 1)], Upcasters::new());
    let wrong = check_events::<Gap>().unwrap_err();
    assert!(wrong.len() == 1 && wrong[0].contains("no upcaster takes version 2"));
    let wrong = check_events::<Misspelt>().unwrap_err();
    assert!(wrong.len() == 1 && wrong[0].contains("\"Deposit\""));

    let payload = super::encode(PayloadCodec::Bincode, &One { cents: 5 }).unwrap();
    let gap = EventDecoder::<Gap>::new().decode_parts(
        CodecId::BINCODE,
        "Deposited",
        SchemaVersion::new(1),
        &payload,
    );
    assert!(
        matches!(&gap, Err(CodecError::Gap { found, .. }) if found.get() == 2),
        "{gap:?}"
    );
}

#[test]
fn upcasters_that_go_round_in_a_circle_end_with_an_error() {
    misdescribed!(Round, &[], {
        Upcasters::new()
            .replace("Ping", 1, |cents: i64| {
                vec![Upcasted::new("Pong", 1, cents)]
            })
            .replace("Pong", 1, |cents: i64| {
                vec![
                    Upcasted::new("Deposited", 1, cents),
                    Upcasted::new("Ping", 1, cents),
                ]
            })
    });
    let payload = super::encode(PayloadCodec::Bincode, &5_i64).unwrap();
    let endless = EventDecoder::<Round>::new().decode_parts(
        CodecId::BINCODE,
        "Ping",
        SchemaVersion::FIRST,
        &payload,
    );
    assert!(
        matches!(endless, Err(CodecError::Endless { .. })),
        "{endless:?}"
    );
}

#[test]
fn an_enum_whose_variants_serde_hides_is_refused_at_start() {
    #[derive(Serialize, Deserialize)]
    #[serde(tag = "kind")]
    enum Tagged {
        Opened { by: u8 },
    }
    impl Event for Tagged {}
    assert_eq!(event_types::<Tagged>(), [] as [&str; 0]);
    let wrong = check_events::<Tagged>().unwrap_err();
    assert!(wrong[0].contains("serde(tag)"), "{wrong:?}");
    assert_eq!(
        event_types::<Before>(),
        ["Opened", "Deposited", "Moved", "Named"]
    );
    assert_eq!(event_types::<Alone>(), ["Alone"]);
    assert_eq!(check_events::<Before>(), Ok(()));
}

#[test]
fn j18_what_could_not_be_read_back_is_not_written() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Noted {
        #[serde(skip_serializing_if = "Option::is_none")]
        note: Option<String>,
        units: u64,
    }
    impl Event for Noted {}
    let noted = |note: Option<&str>| {
        let note = note.map(str::to_owned);
        let noted = Noted { note, units: 3 };
        read_back(
            &noted,
            &encode_event(PayloadCodec::Bincode, &noted).unwrap(),
        )
    };
    let whole = noted(Some("x")).unwrap();
    assert_eq!((whole.note.as_deref(), whole.units), (Some("x"), 3));
    let error = noted(None).unwrap_err().to_string();
    assert!(error.contains("skip_serializing_if"), "{error}");
}

#[test]
fn c4_a_field_left_out_is_not_hidden_by_what_has_the_same_bytes() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Invoiced {
        #[serde(skip_serializing_if = "Option::is_none")]
        discount: Option<u64>,
        lines: Vec<(u64, u64)>,
    }

    impl Event for Invoiced {}

    // Without its discount, and with a line of it, it is the same in bincode.
    let (discount, lines) = (None, vec![(7, 0)]);
    let event = Invoiced { discount, lines };
    let encoded = encode_event(PayloadCodec::Bincode, &event).unwrap();
    let error = read_back(&event, &encoded).unwrap_err().to_string();
    assert!(error.contains("skip_serializing_if"), "{error}");
    super::encode_certainly(PayloadCodec::Bincode, &event).unwrap_err();
    // With one, and by name, it is what it is.
    super::encode_certainly(PayloadCodec::ByName, &event).unwrap();
    let event = Invoiced {
        discount: Some(3),
        ..event
    };
    let encoded = encode_event(PayloadCodec::Bincode, &event).unwrap();
    assert_eq!(read_back(&event, &encoded).unwrap(), event);
}
