//! Types that change while instances are open: what was journaled is carried out as what it was, or by nobody.

use std::sync::Arc;

use chronicler_domain::{Aggregate, Context, Decided, Decision, Event, Never, Tenant};
use chronicler_runtime::{ManualClock, Runtime, RuntimeBuilder, SendOptions, StopOptions};
use chronicler_sagas::step_keys;
use chronicler_sagas::steps::{Compensable, Define, Definition, Nil, StepSaga, Steps, to};
use chronicler_sagas::{
    Ending, Input, Route, Routes, SagaHandle, SagaStatus, SagaVerb, SagaView, Sagas, SagasBuilder,
    StartFrom,
};
use chronicler_store::MemoryStore;
use serde::{Deserialize, Serialize};

use crate::journey::act;
use crate::parts::Part;
use crate::world::{begins, id, settle};

step_keys! {
    Ship = "ship" -> u64;
}

/// One release: what the stock is told and answers, and what an order begins with.
macro_rules! release {
    (
        $name:ident,
        commands { $($commands:tt)* },
        order $order:expr,
        replies { $($replies:tt)* },
        start $(#[$whole:meta])* { $($(#[$attr:meta])* $field:ident: $type:ty = $value:expr),* }
    ) => {
        mod $name {
            use super::*;

            step_keys! {
                Reserve = "reserve" -> Reply;
                Paid = "paid" -> Payment;
            }

            #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
            $(#[$whole])*
            pub(super) struct Begin { $($(#[$attr])* pub(super) $field: $type),* }

            #[derive(Clone, Debug, Default, Serialize, Deserialize)]
            pub(super) struct Stock { pub(super) did: Vec<String> }

            #[derive(Clone, Debug, Serialize, Deserialize)]
            pub(super) enum StockCommand { $($commands)* }

            #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
            pub(super) enum Reply { $($replies)* }

            #[derive(Clone, Debug, Serialize, Deserialize)]
            pub(super) struct Payment { $($field: $type),* }

            #[derive(Clone, Debug, Serialize, Deserialize)]
            pub(super) struct Did(pub(super) String);

            impl Event for Did {}

            impl Aggregate for Stock {
                const CATEGORY: &'static str = "stock";
                type Command = StockCommand;
                type Event = Did;
                type Reply = Reply;
                type Rejection = Never;

                fn decide(&self, command: StockCommand, _: &Context) -> Decided<Self> {
                    let words = match command {
                        StockCommand::Reserve { sku, units, lot } => {
                            format!("reserve {units} of {sku}, lot {lot}")
                        }
                        StockCommand::Release { units, lot } => format!("release {units} of lot {lot}"),
                        other => format!("{other:?}"),
                    };
                    Ok(Decision::event(Did(words)).reply(Reply::Reserved))
                }

                fn evolve(&mut self, did: &Did) {
                    self.did.push(did.0.clone());
                }
            }

            pub(super) struct Order;

            impl StepSaga for Order {
                const NAME: &'static str = "order";
                type Start = Begin;

                fn routes(on: &mut Routes<Steps<Self>>) {
                    on.event::<Part>(|event, info| match begins(event) {
                        true => Route::start(&info.id),
                        false => Route::ignore(),
                    });
                }

                fn begin(_: &Input) -> Option<Begin> {
                    Some(Begin { $($field: $value),* })
                }

                fn define(steps: Define<Self, Nil, Compensable>) -> Definition<Self> {
                    let release = |units, lot| to::<Stock>("s", StockCommand::Release { units, lot });
                    steps
                        .step(Reserve, |_| to::<Stock>("s", $order), move |_, _| release(3, 7))
                        .wait_for(Paid)
                        .pivot(Ship, |seen| match seen.output(Reserve) {
                            Reply::Reserved => act("shop", "ship what was reserved"),
                            other => act("shop", format!("ship {other:?}")),
                        })
                        .build()
                }
            }

            /// The application of this release.
            pub(super) async fn app(store: &MemoryStore) -> App<Order> {
                let sagas = SagasBuilder::default().saga(Steps::<Order>::of(), StartFrom::Origin);
                let builder = RuntimeBuilder::new(Arc::new(store.clone()))
                    .clock(Arc::new(ManualClock::default()))
                    .aggregate::<Part>()
                    .aggregate::<Stock>();
                let runtime = sagas.register(builder).build().await.unwrap();
                let sagas = sagas.start(&runtime).await.unwrap();
                settle().await;
                App { runtime, sagas, saga: std::marker::PhantomData }
            }
        }
    };
}

release!(first,
    commands { Reserve { sku: String, units: u64, lot: u64 }, Release { units: u64, lot: u64 }, Count },
    order StockCommand::Reserve { sku: "a".to_owned(), units: 3, lot: 7 },
    replies { Reserved, Short },
    start { customer: String = "ann".to_owned(), cents: u64 = 5 });
release!(middle,
    commands { Scrap, Reserve { lot: u64, sku: String, units: u64 }, Count, Release { lot: u64, units: u64 } },
    order StockCommand::Reserve { sku: "a".to_owned(), units: 3, lot: 7 },
    replies { Short, Lost, Reserved },
    start { cents: u64 = 5, customer: String = "ann".to_owned() });
release!(more,
    commands { Reserve { sku: String, units: u64, lot: u64 }, Release { units: u64, lot: u64 }, Count },
    order StockCommand::Reserve { sku: "a".to_owned(), units: 3, lot: 7 },
    replies { Reserved, Short },
    start { customer: String = "ann".to_owned(), cents: u64 = 5, express: bool = false });
release!(other,
    commands { Reserve { sku: String, units: u64, lot: u64 }, Release { units: u64, lot: u64 }, Count },
    order StockCommand::Reserve { sku: "a".to_owned(), units: 3, lot: 7 },
    replies { Reserved, Short },
    start { weight: u32 = 0 });

release!(defaulted,
    commands { Reserve { sku: String, units: u64, lot: u64 }, Release { units: u64, lot: u64 }, Count },
    order StockCommand::Reserve { sku: "a".to_owned(), units: 3, lot: 7 },
    replies { Reserved, Short },
    start { customer: String = "ann".to_owned(), cents: u64 = 5, #[serde(default)] express: bool = true });
release!(renamed,
    commands { Reserve { sku: String, units: u64, lot: u64 }, Release { units: u64, lot: u64 }, Count },
    order StockCommand::Reserve { sku: "a".to_owned(), units: 3, lot: 7 },
    replies { Reserved, Short },
    start { #[serde(alias = "customer")] buyer: String = "ann".to_owned(), cents: u64 = 5 });
release!(reshaped,
    commands { Reserve { sku: String, units: u64, lot: u64 }, Release { units: u64, lot: u64 }, Count },
    order StockCommand::Reserve { sku: "a".to_owned(), units: 3, lot: 7 },
    replies { Reserved, Short },
    start #[serde(from = "super::StoredBegin")] { buyer: String = "ann".to_owned(), price: (u64, String) = (5, "EUR".to_owned()) });

/// What an order of the reshaped release begins with, as it or the first one wrote it.
#[derive(Deserialize)]
struct StoredBegin {
    buyer: Option<String>,
    price: Option<(u64, String)>,
    customer: Option<String>,
    cents: Option<u64>,
}

impl From<StoredBegin> for reshaped::Begin {
    fn from(stored: StoredBegin) -> Self {
        let euros = |cents| (cents, "EUR".to_owned());
        Self {
            buyer: stored.buyer.or(stored.customer).unwrap_or_default(),
            price: stored
                .price
                .unwrap_or_else(|| euros(stored.cents.unwrap_or_default())),
        }
    }
}

struct App<S: StepSaga> {
    runtime: Runtime,
    sagas: Sagas,
    saga: std::marker::PhantomData<S>,
}

impl<S: StepSaga> App<S> {
    fn handle(&self) -> &SagaHandle<Steps<S>> {
        self.sagas.saga::<Steps<S>>().unwrap()
    }

    async fn view(&self) -> SagaView<Steps<S>> {
        let (tenant, id) = (Tenant::default(), id("o"));
        self.handle().get(&tenant, &id).await.unwrap()
    }

    async fn status(&self) -> SagaStatus {
        self.view().await.status
    }

    /// Its payment comes.
    async fn paid(&self, payment: &str) -> Ending {
        let paid = SagaVerb::Signal {
            name: "paid".to_owned(),
            payload: payment.to_owned(),
        };
        let (tenant, o) = (Tenant::default(), id("o"));
        let order = paid.by("ann", "it came");
        self.handle().operate(&tenant, &o, order).await.unwrap();
        settle().await;
        self.ending().await
    }

    async fn ending(&self) -> Ending {
        match self.status().await {
            SagaStatus::Ended { how } => how,
            other => panic!("it has not ended: {other:?}"),
        }
    }

    async fn cancel(&self) -> Ending {
        let (tenant, id) = (Tenant::default(), id("o"));
        let cancelled = self.handle().cancel(&tenant, &id, "not wanted", "ann");
        cancelled.await.unwrap();
        settle().await;
        self.ending().await
    }

    async fn look<A: Aggregate>(&self, name: &str) -> A {
        let (tenant, id) = (Tenant::default(), id(name));
        self.runtime.state::<A>(&tenant, &id).await.unwrap().state
    }

    async fn stop(self) {
        self.sagas.stop().await;
        self.runtime.stop(StopOptions::default()).await;
    }
}

/// A store in which an order of the first release waits for its payment.
async fn waiting() -> MemoryStore {
    let store = MemoryStore::new();
    let app = first::app(&store).await;
    let (tenant, o, options) = (Tenant::default(), id("o"), SendOptions::default());
    let command = crate::parts::PartCommand::Do("begin".to_owned());
    let sent = app.runtime.send::<Part>(&tenant, &o, command, options);
    sent.await.unwrap();
    settle().await;
    assert_eq!(
        app.look::<first::Stock>("s").await.did,
        ["reserve 3 of a, lot 7"]
    );
    app.stop().await;
    store
}

const UNDONE: [&str; 2] = ["reserve 3 of a, lot 7", "release 3 of lot 7"];

#[tokio::test]
async fn c3_a_journaled_undo_stays_that_command_whatever_became_of_its_type() {
    let app = middle::app(&waiting().await).await;
    let view = app.view().await;
    let start = view.state.start().unwrap();
    assert_eq!((start.customer.as_str(), start.cents), ("ann", 5));
    let ending = app.cancel().await;
    assert!(matches!(ending, Ending::Compensated { .. }), "{ending:?}");
    assert_eq!(app.look::<middle::Stock>("s").await.did, UNDONE);
    app.stop().await;
}

#[tokio::test]
async fn c3_what_a_step_gave_is_read_by_name() {
    let app = middle::app(&waiting().await).await;
    assert_eq!(
        app.paid(r#"{"customer":"ann","cents":5}"#).await,
        Ending::Completed
    );
    assert_eq!(
        app.look::<Part>("shop").await.done,
        ["ship what was reserved"]
    );
    app.stop().await;
}

#[tokio::test]
async fn c6_an_instance_whose_beginning_cannot_be_read_any_more_can_be_undone() {
    let app = more::app(&waiting().await).await;
    let view = app.view().await;
    assert_eq!(view.state.start(), None);
    let why = view.state.beginning().unwrap().read().unwrap_err();
    assert!(why.to_string().contains("express"), "{why}");
    app.cancel().await;
    assert_eq!(app.look::<more::Stock>("s").await.did, UNDONE);
    app.stop().await;
    let app = other::app(&waiting().await).await;
    app.cancel().await;
    assert_eq!(app.look::<other::Stock>("s").await.did, UNDONE);
    app.stop().await;
}

#[tokio::test]
async fn g3_an_open_instance_goes_on_with_a_beginning_of_another_shape_that_reads_the_earlier_one()
{
    let shipped = ["ship what was reserved"];
    let app = defaulted::app(&waiting().await).await;
    let start = app.view().await.state.start().cloned().unwrap();
    assert_eq!(
        (start.customer.as_str(), start.cents, start.express),
        ("ann", 5, false)
    );
    let payment = r#"{"customer":"ann","cents":5,"express":false}"#;
    assert_eq!(app.paid(payment).await, Ending::Completed);
    assert_eq!(app.look::<Part>("shop").await.done, shipped);
    app.stop().await;

    let app = renamed::app(&waiting().await).await;
    let start = app.view().await.state.start().cloned().unwrap();
    assert_eq!((start.buyer.as_str(), start.cents), ("ann", 5));
    let payment = r#"{"buyer":"ann","cents":5}"#;
    assert_eq!(app.paid(payment).await, Ending::Completed);
    app.stop().await;

    let store = waiting().await;
    let app = reshaped::app(&store).await;
    let euros = (5, "EUR".to_owned());
    let start = app.view().await.state.start().cloned().unwrap();
    assert_eq!((start.buyer.as_str(), start.price), ("ann", euros.clone()));
    let payment = r#"{"buyer":"ann","price":[5,"EUR"]}"#;
    assert_eq!(app.paid(payment).await, Ending::Completed);
    // And what this release writes it reads as well.
    let (tenant, next, options) = (Tenant::default(), id("next"), SendOptions::default());
    let command = crate::parts::PartCommand::Do("begin".to_owned());
    let sent = app.runtime.send::<Part>(&tenant, &next, command, options);
    sent.await.unwrap();
    settle().await;
    app.stop().await;
    let app = reshaped::app(&store).await;
    let view = app.handle().get(&tenant, &next).await.unwrap();
    let start = view.state.start().unwrap();
    assert_eq!((start.buyer.as_str(), &start.price), ("ann", &euros));
    app.stop().await;
}

#[tokio::test]
async fn g3_a_beginning_that_cannot_be_read_sets_its_instance_aside_until_it_can_be() {
    let store = waiting().await;
    let app = more::app(&store).await;
    let paid = SagaVerb::Signal {
        name: "paid".to_owned(),
        payload: r#"{"customer":"ann","cents":5,"express":false}"#.to_owned(),
    };
    let (tenant, o) = (Tenant::default(), id("o"));
    let told = app.handle().operate(&tenant, &o, paid.by("ann", "it came"));
    let said = told.await.map_err(|error| error.to_string());
    let reason = match (said, app.status().await) {
        (Err(reason), _) | (_, SagaStatus::Quarantined { reason }) => reason,
        other => panic!("{other:?}"),
    };
    assert!(reason.contains("default"), "{reason}");
    app.stop().await;
    let app = defaulted::app(&store).await;
    app.handle().release(&tenant, &o, "ann").await.unwrap();
    settle().await;
    let payment = r#"{"customer":"ann","cents":5,"express":false}"#;
    assert_eq!(app.paid(payment).await, Ending::Completed);
    app.stop().await;
}
