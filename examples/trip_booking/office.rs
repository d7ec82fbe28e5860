//! The people: who approves trips, and travellers who change their minds.

use chronicler::prelude::*;
use chronicler::sagas::{OpenSaga, OperateError, SagaHandle, SagaVerb};

use crate::generator::{Mood, mood};
use crate::saga::{APPROVAL, TripBooking, WAITS_FOR, Word};

const MANAGER: &str = "the travel office";
const TRAVELLER: &str = "the traveller";

type Failed = Box<dyn std::error::Error>;

/// Says something about every trip that waits for approval, or forgets it.
pub(crate) async fn see_to_approvals(sagas: &SagaHandle<TripBooking>) -> Result<(), Failed> {
    let tenant = Tenant::default();
    for trip in sagas.open().await?.iter().filter(|trip| waits(trip)) {
        let id = AggregateId::new(trip.id())?;
        let by = MANAGER.to_owned();
        let said = match mood(trip.id()) {
            Mood::Approves => say(sagas, &tenant, &id, &Word::Approved { by }).await?,
            Mood::Denies => say(sagas, &tenant, &id, &Word::Denied { by }).await?,
            Mood::Forgets => continue,
            Mood::CallsOff => {
                let reason = "something came up";
                sagas.cancel(&tenant, &id, reason, TRAVELLER).await
            }
        };
        match said {
            Err(refused) if !refused.is_refusal() => return Err(refused.into()),
            // The deadline was quicker: then the trip has said so itself.
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

async fn say(
    sagas: &SagaHandle<TripBooking>,
    tenant: &Tenant,
    id: &AggregateId,
    word: &Word,
) -> Result<Result<(), OperateError>, serde_json::Error> {
    let signal = SagaVerb::Signal {
        name: APPROVAL.to_owned(),
        payload: serde_json::to_string(word)?,
    };
    let said = sagas.operate(tenant, id, signal.by(MANAGER, "")).await;
    Ok(said.map(|_| ()))
}

fn waits(trip: &OpenSaga) -> bool {
    trip.on.iter().any(|on| on == WAITS_FOR)
}
