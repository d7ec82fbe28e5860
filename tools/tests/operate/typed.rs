//! Mounted in a binary that knows the application's types, payloads are printed as JSON.

use chronicler_domain::{
    Aggregate, Context, Decided, Event, Never, SchemaVersion, StreamId, Timestamp, Upcasters,
};
use chronicler_store::codec::{PayloadCodec, encode_event};
use chronicler_store::{Append, EventLog, Expected, NewEvent};
use chronicler_tools::{EventTypes, Exit, SelfDescribing};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::directory::{Directory, NOON};

#[derive(Clone, Default, Serialize, Deserialize)]
struct Account {
    cents: i64,
}

#[derive(Serialize, Deserialize)]
enum AccountEvent {
    Deposited { cents: i64, currency: String },
    Renamed(String),
    Closed,
}

/// What `Deposited` and `Gone` were once.
#[derive(Serialize, Deserialize)]
enum OldEvent {
    Deposited { cents: i64 },
    Gone { why: String },
}

impl Event for OldEvent {}

#[derive(Serialize, Deserialize)]
struct DepositedV1 {
    cents: i64,
}

#[derive(Serialize, Deserialize)]
struct DepositedV2 {
    cents: i64,
    currency: String,
}

impl Event for AccountEvent {
    const VERSIONS: &'static [(&'static str, u32)] = &[("Deposited", 2)];

    fn upcasters() -> Upcasters {
        Upcasters::new().step("Deposited", 1, |old: DepositedV1| DepositedV2 {
            cents: old.cents,
            currency: "EUR".into(),
        })
    }
}

impl Aggregate for Account {
    const CATEGORY: &'static str = "account";
    type Command = i64;
    type Event = AccountEvent;
    type Reply = ();
    type Rejection = Never;

    fn decide(&self, cents: i64, _: &Context) -> Decided<Self> {
        let currency = "EUR".to_owned();
        Ok(AccountEvent::Deposited { cents, currency }.into())
    }

    fn evolve(&mut self, event: &AccountEvent) {
        if let AccountEvent::Deposited { cents, .. } = event {
            self.cents += cents;
        }
    }
}

/// What `events --json` prints, run as a mounted binary does it.
fn printed(directory: &Directory, payloads: &dyn chronicler_tools::Payloads) -> Vec<Value> {
    let arguments = ["app", "--json", "events"].map(Into::into);
    let arguments = arguments.into_iter().chain([directory.path.clone().into()]);
    let mut out = Vec::new();
    let exit = chronicler_tools::run(arguments, &mut out, payloads);
    assert_eq!(exit, Exit::Done);
    let text = String::from_utf8(out).unwrap();
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[tokio::test]
async fn payloads_of_known_types_are_json_and_others_hexadecimal() {
    let (directory, currency) = (Directory::none(), "CHF".to_owned());
    let new = |event: &AccountEvent| encode_event(PayloadCodec::Bincode, event).unwrap();
    let old = |event: &OldEvent| encode_event(PayloadCodec::Bincode, event).unwrap();
    let events: Vec<NewEvent> = vec![
        new(&AccountEvent::Deposited { cents: 5, currency }),
        new(&AccountEvent::Renamed("rent".into())),
        new(&AccountEvent::Closed),
        old(&OldEvent::Deposited { cents: 7 }),
        old(&OldEvent::Gone {
            why: "moved".into(),
        }),
    ];
    assert_eq!(events[3].schema_version, SchemaVersion::FIRST);
    let store = directory.open();
    let at = Timestamp::from_micros(NOON);
    let stream = |category: &str| StreamId::of(category, "alice").unwrap();
    let append = Append::new(Uuid::from_u128(1), at);
    let append = append.stream(stream("account"), Expected::Any, events.clone());
    let append = append.stream(stream("other"), Expected::Any, events[..1].to_vec());
    store.append(append).await.unwrap();
    store.close().await;

    let typed = printed(&directory, &EventTypes::new().aggregate::<Account>());
    let payloads: Vec<_> = typed.iter().map(|line| line["payload"].clone()).collect();
    assert_eq!(payloads[0], json!({"cents": 5, "currency": "CHF"}));
    assert_eq!(payloads[1], json!("rent"));
    assert_eq!(payloads[2], Value::Null, "a unit has no content");
    assert!(typed[2].get("payload_hex").is_none());
    assert_eq!(
        payloads[3],
        json!({"cents": 7, "currency": "EUR"}),
        "as it is today"
    );
    assert!(
        typed[4]["payload_hex"].is_string(),
        "a type that the application does not know"
    );
    assert!(typed[5]["payload_hex"].is_string(), "another category");

    let untyped = printed(&directory, &SelfDescribing);
    assert!(untyped.iter().all(|line| line["payload_hex"].is_string()));
}
