//! What the codec by name promises: its bytes, what may change, and what may not where it is read strictly.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::codec::{
    ByName, Codec, CodecError, CodecId, PayloadCodec, decode, decode_shaped, encode, encode_shaped,
};
use crate::hex;

fn written<T: Serialize>(value: &T) -> Vec<u8> {
    encode(PayloadCodec::ByName, value).unwrap().to_vec()
}

/// Written as one type, read as another.
fn through<T: DeserializeOwned>(value: &impl Serialize) -> Result<T, CodecError> {
    decode(CodecId::BY_NAME, &written(value))
}

/// The same, of what is derived.
fn strictly<T: DeserializeOwned>(value: &impl Serialize) -> Result<T, String> {
    let bytes = encode_shaped(value).map_err(|error| error.to_string())?;
    decode_shaped(&bytes).map_err(|error| error.to_string())
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Line {
    sku: String,
    units: u16,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Command {
    Reserve,
    Pay { cents: i64, fee: Option<u32> },
    Lines(Vec<Line>),
    Move(u64, f64),
}

/// The bytes are on disk: they never change.
#[test]
fn c3_golden_bytes_of_values_by_name() {
    let hex = |bytes: Vec<u8>| hex::encode(&bytes);
    assert_eq!(hex(written(&Command::Reserve)), "14000752657365727665");
    assert_eq!(
        hex(written(&Command::Pay {
            cents: -5,
            fee: Some(500)
        })),
        "17000350617902000563656e74730604000366656502".to_owned() + "05f403"
    );
    let line = |units| Line {
        sku: "a".to_owned(),
        units,
    };
    assert_eq!(
        hex(written(&Command::Lines(vec![line(1), line(2)]))),
        "1500054c696e65730e02130200".to_owned()
            + "03736b750c01610005756e69747341"
            + "1302020c01610342"
    );
    assert_eq!(
        hex(written(&Command::Move(191, 1.5))),
        "1600044d6f766502ff0a000000000000f83f"
    );
    assert_eq!(
        hex(written(&((), true, 'x', u128::MAX, i128::MIN, 0.5_f32))),
        "1006000".to_owned()
            + "40b7807"
            + &"ff".repeat(16)
            + "08"
            + &"00".repeat(15)
            + "80"
            + "090000003f"
    );
    let map = BTreeMap::from([(1_u8, None::<u8>)]);
    assert_eq!(hex(written(&map)), "11014101");
}

/// Variants and fields in another order, a variant and an optional field more.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Later {
    Scrap,
    Move(u64, f64),
    Pay {
        note: Option<String>,
        #[serde(default)]
        fee: Option<u32>,
        #[serde(alias = "cents")]
        amount: i128,
    },
    Reserve,
}

#[test]
fn c3_variants_and_fields_may_be_reordered_and_added() {
    assert_eq!(through(&Command::Reserve), Ok(Later::Reserve));
    assert_eq!(through(&Command::Move(9, 0.1)), Ok(Later::Move(9, 0.1)));
    let pay = Command::Pay {
        cents: i64::MIN,
        fee: Some(1),
    };
    let later = Later::Pay {
        note: None,
        fee: Some(1),
        amount: i64::MIN.into(),
    };
    assert_eq!(through(&pay), Ok(later));
    let gone = through::<Later>(&Command::Lines(Vec::new())).unwrap_err();
    assert!(gone.to_string().contains("Lines"), "{gone}");
    let absent = through::<Line>(&BTreeMap::from([("sku", "a")])).unwrap_err();
    assert!(absent.to_string().contains("units"), "{absent}");
}

#[test]
fn c3_a_type_that_changed_is_read_as_what_was_written_or_not_at_all() {
    assert_eq!(through::<u64>(&7_u8), Ok(7));
    assert_eq!(through::<i8>(&-7_i64), Ok(-7));
    assert_eq!(through::<Option<u8>>(&7_u8), Ok(Some(7)));
    assert_eq!(through::<u8>(&Some(7_u8)), Ok(7));
    assert_eq!(through::<f64>(&0.1_f32), Ok(f64::from(0.1_f32)));
    assert_eq!(through::<f64>(&(1_u64 << 52)), Ok((1_u64 << 52) as f64));
    for wrong in [
        through::<u8>(&256_u16).is_ok(),
        through::<u64>(&-1_i8).is_ok(),
        through::<u8>(&None::<u8>).is_ok(),
        through::<f32>(&0.1_f64).is_ok(),
        through::<f64>(&((1_u64 << 53) + 1)).is_ok(),
        through::<f64>(&i64::MIN).is_ok(),
        through::<Vec<u8>>(&"text").is_ok(),
        through::<String>(&vec![97_u8]).is_ok(),
        through::<(u8, u8)>(&(1_u8, 2_u8, 3_u8)).is_ok(),
        through::<(u8, u8, u8)>(&(1_u8, 2_u8)).is_ok(),
        through::<bool>(&1_u8).is_ok(),
        through::<Line>(&("a", 1_u16, 2_u8)).is_ok(),
    ] {
        assert!(!wrong);
    }
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Account {
    paid_in: u64,
    paid_out: u64,
    lines: Vec<(u8, Option<u8>)>,
}

#[test]
fn c2_what_is_derived_is_read_as_exactly_the_type_it_was_written_as() {
    #[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
    struct Swapped {
        lines: Vec<(u8, Option<u8>)>,
        paid_out: u64,
        paid_in: u64,
    }
    #[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
    struct Added {
        paid_in: u64,
        paid_out: u64,
        lines: Vec<(u8, Option<u8>)>,
        note: Option<String>,
        #[serde(default)]
        fee: u64,
    }
    #[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
    struct Renamed {
        #[serde(alias = "paid_in")]
        credit: u64,
        #[serde(alias = "paid_out", alias = "debit_old")]
        debit: u64,
        lines: Vec<(u8, Option<u8>)>,
    }
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Wider {
        paid_in: u64,
        paid_out: u64,
        lines: Vec<(u8, u8)>,
    }
    let account = || Account {
        paid_in: 1_200,
        paid_out: 12,
        lines: vec![(1, None), (2, Some(3))],
    };
    let lines = account().lines;
    assert_eq!(strictly(&account()), Ok(account()));
    let swapped = Swapped {
        paid_in: 1_200,
        paid_out: 12,
        lines: lines.clone(),
    };
    assert_eq!(strictly(&account()), Ok(swapped));
    let renamed = || Renamed {
        credit: 1_200,
        debit: 12,
        lines: lines.clone(),
    };
    assert_eq!(strictly(&account()), Ok(renamed()));
    assert_eq!(strictly(&renamed()), Ok(renamed()));
    let said = |wrong: Result<(), String>, word: &str| {
        let wrong = wrong.unwrap_err();
        assert!(wrong.contains(word), "{wrong}");
    };
    said(strictly::<Added>(&account()).map(drop), "note");
    said(strictly::<Account>(&Added::default()).map(drop), "note");
    said(strictly::<Wider>(&account()).map(drop), "Option");
    said(strictly::<Option<Account>>(&account()).map(drop), "option");
    let bincode = encode(PayloadCodec::Bincode, &account()).unwrap();
    let old = decode_shaped::<Account>(&bincode).unwrap_err();
    assert!(old.to_string().contains("earlier release"), "{old}");
}

#[test]
fn c2_a_field_that_was_left_out_is_no_field_that_was_added() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Sparse {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        note: Option<String>,
        #[serde(skip)]
        cache: u8,
        units: u8,
    }
    for note in [None, Some("x".to_owned())] {
        let sparse = || Sparse {
            note: note.clone(),
            cache: 0,
            units: 1,
        };
        assert_eq!(strictly(&sparse()), Ok(sparse()));
        assert_eq!(through(&sparse()), Ok(sparse()));
    }
    let moved: Result<Line, _> = strictly(&Sparse {
        note: None,
        cache: 0,
        units: 1,
    });
    assert!(moved.is_err());
}

#[test]
fn c2_variants_are_known_by_name_and_hidden_shapes_are_refused() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Mode {
        Open,
        Held,
        Shut { at: u8 },
    }
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Now {
        Shut {
            at: u8,
        },
        #[serde(skip)]
        Never,
        Open,
    }
    assert_eq!(strictly(&Mode::Open), Ok(Now::Open));
    assert_eq!(strictly(&Mode::Shut { at: 1 }), Ok(Now::Shut { at: 1 }));
    assert_eq!(strictly(&Now::Open), Ok(Mode::Open));
    assert!(strictly::<Now>(&Mode::Held).is_err());
    assert!(strictly::<Mode>(&Now::Never).is_err());
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(tag = "kind")]
    enum Tagged {
        A { x: u8 },
    }
    assert!(strictly::<Tagged>(&Tagged::A { x: 1 }).is_err());
    assert_eq!(through(&Tagged::A { x: 1 }), Ok(Tagged::A { x: 1 }));
}

#[test]
fn no_bytes_make_it_panic_and_none_take_more_room_than_they_have() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Deep(Option<Box<Deep>>);
    let mut deep = Deep(None);
    for _ in 0..200 {
        deep = Deep(Some(Box::new(deep)));
    }
    assert!(encode(PayloadCodec::ByName, &deep).is_err());
    let nested = vec![super::tag::SOME; 100_000];
    assert!(decode::<Deep>(CodecId::BY_NAME, &nested).is_err());
    assert!(decode::<serde_json::Value>(CodecId::BY_NAME, &nested).is_err());
    let huge = [super::tag::SEQUENCE, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
    assert!(decode::<Vec<u64>>(CodecId::BY_NAME, &huge).is_err());
    let commands = [
        written(&Command::Pay {
            cents: -5,
            fee: None,
        }),
        written(&Command::Lines(vec![
            Line {
                sku: "abc".to_owned(),
                units: 300
            };
            2
        ])),
        written(&Command::Move(u64::MAX, -0.0)),
    ];
    for whole in commands {
        for cut in 0..whole.len() {
            let read = ByName::read(std::marker::PhantomData::<Command>, &whole[..cut]);
            assert!(read.is_err(), "cut at {cut}");
        }
        for at in 0..whole.len() {
            for byte in 0..=u8::MAX {
                let mut bytes = whole.clone();
                bytes[at] = byte;
                drop(decode::<Command>(CodecId::BY_NAME, &bytes));
                drop(decode::<serde_json::Value>(CodecId::BY_NAME, &bytes));
                drop(decode_shaped::<Command>(
                    &[b"\0shaped\x01", &bytes[..]].concat(),
                ));
            }
        }
    }
}
