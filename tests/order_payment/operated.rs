//! The checkout, operated in the middle and killed at every write.

use std::sync::Arc;

use chronicler::prelude::*;
use chronicler::store::MemoryStore;
use chronicler_testkit::ManualClock;

use order_payment::domain::{Order, OrderCommand, OrderEvent, Placement};
use order_payment::sagas::Checkout;

use crate::killed::{Gateway, assert_stock, open_shop, over, placement};
use crate::lives::{Operated, REQUESTED, operated_at_every_write};

step_keys! {
    AtOnce = "at-once" -> ();
}

/// A release of the checkout that takes no event, and whose steps are others.
struct Bad;

impl StepSaga for Bad {
    const NAME: &'static str = Checkout::NAME;
    type Start = Arc<Placement>;

    fn routes(on: &mut Routes<Steps<Self>>) {
        on.event::<Order>(|event, info| match event {
            OrderEvent::Placed(_) => Route::start(&info.id),
            _ => Route::ignore(),
        });
    }

    fn begin(_: &Input) -> Option<Arc<Placement>> {
        None
    }

    fn define(steps: Define<Self, Nil, Compensable>) -> Definition<Self> {
        steps
            .pivot(AtOnce, |order| {
                to::<Order>(order.id(), OrderCommand::Confirm)
            })
            .build()
    }
}

#[derive(Default)]
struct Orders {
    gateway: Gateway,
}

impl Operated for Orders {
    const SAGA: &'static str = Checkout::NAME;
    const LAST: &'static str = "close";

    async fn start(&self, store: Arc<MemoryStore>, clock: &ManualClock, good: bool) -> Option<App> {
        let app = over(store, &self.gateway, clock);
        let app = match good {
            true => app.saga(Steps::<Checkout>::of()),
            false => app.saga(Steps::<Bad>::of()),
        };
        app.start().await.ok()
    }

    async fn request(&self, app: &App, ids: &[&str]) {
        open_shop(app).await;
        for id in ids {
            let place = OrderCommand::Place(placement(id));
            drop(app.send::<Order>(*id, place).await);
        }
    }

    async fn ended_well(&self, app: &App) {
        for id in REQUESTED {
            let order = app.state::<Order>(id).await.unwrap().state;
            let order = serde_json::to_value(&order).unwrap();
            assert_eq!(order["end"], "Closed", "{id}");
            assert_eq!(self.gateway.kept(id), 30, "{id} paid");
        }
        assert_stock(app, REQUESTED.len() as i64).await;
    }
}

#[tokio::test]
async fn m76_m84_orders_that_are_operated_are_paid_and_shipped_once_killed_at_every_write() {
    operated_at_every_write::<Orders>().await;
}
