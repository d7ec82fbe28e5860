//! The log as an outsider reads it from the directory.

use std::path::Path;

use chronicler::domain::{Aggregate, GlobalPosition};
use chronicler::store::codec::EventDecoder;
use chronicler::store::journal::JournalReader;
use chronicler::store::{EventRef, Start};

use crate::bank::{Account, AccountEvent, Transfer, TransferEvent};
use crate::ledger::{Found, Happened};

/// The events of the application, in order. Everything between the first commit and the last is read and checked.
pub(crate) fn read(dir: &Path) -> impl Iterator<Item = Found> {
    let reader = JournalReader::open(dir).unwrap();
    let found = reader.verify(&|_| {});
    assert!(found.is_whole(), "{found:?}");
    let mut decoder = Decoder::default();
    let mut last = GlobalPosition::ZERO;
    let commits = reader.commits(Start::Position(GlobalPosition::new(1)));
    commits.flat_map(move |commit| {
        let commit = commit.unwrap();
        let events = commit.events().filter_map(|event| {
            assert_eq!(event.position(), last.next(), "positions have no gaps");
            last = event.position();
            decoder.found(&event)
        });
        events.collect::<Vec<_>>()
    })
}

#[derive(Default)]
struct Decoder {
    accounts: EventDecoder<AccountEvent>,
    transfers: EventDecoder<TransferEvent>,
}

impl Decoder {
    fn found(&mut self, event: &EventRef<'_>) -> Option<Found> {
        let part = event.part();
        let account = || part.id().to_owned();
        let happened: Vec<_> = match part.category() {
            Account::CATEGORY => {
                let events = self.accounts.decode(event).unwrap().into_iter();
                events
                    .map(|event| Happened::OfAccount(account(), event))
                    .collect()
            }
            Transfer::CATEGORY => {
                let events = self.transfers.decode(event).unwrap().into_iter();
                events.map(Happened::OfTransfer).collect()
            }
            _ => return None,
        };
        let [happened] = <[Happened; 1]>::try_from(happened).unwrap();
        Some(Found {
            position: event.position().get(),
            id: event.id(),
            commit: event.commit().commit_id(),
            stream: part.stream_key().to_owned(),
            version: event.version().get(),
            happened,
        })
    }
}
