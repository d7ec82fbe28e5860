//! How much larger than its events a data directory is, everything in it counted.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use chronicler::App;
use chronicler::domain::LogSequence;
use chronicler::store::{AllQuery, EventLog, Start};
use futures::{StreamExt, TryStreamExt, stream};
use uuid::Uuid;

use crate::Measured;
use crate::median::median;
use crate::rounds::Scale;
use crate::store::Opened;
use crate::table::{Bar, Figure, Part};
use crate::workload::{Account, Deposit, accounts};

const COMMITS: u64 = 200_000;
const ACCOUNTS: usize = 2_000;
const PAYLOAD_BYTES: u64 = 200;
/// With one byte of amount and one of length that makes 200 bytes.
const MEMO_BYTES: usize = 198;

pub(crate) async fn measure(folder: &Path, scale: &Scale) -> Measured<Figure> {
    let commits = scale.count(COMMITS);
    let (mut ratios, mut journals, mut rest) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..scale.rounds {
        let data = folder.join(format!("data-{round}"));
        let opened = Opened::new(&data).await?;
        deposit(&opened.app, commits).await?;
        let payload = payload_bytes(opened.store.as_ref()).await?;
        if payload != commits * PAYLOAD_BYTES {
            return Err(format!("{commits} events have {payload} bytes of payload").into());
        }
        opened.app.stop().await;
        drop(opened);
        let (all, journal) = (used_bytes(&data)?, used_bytes(&data.join("journal"))?);
        ratios.push(all as f64 / payload as f64);
        journals.push(journal as f64 / commits as f64);
        rest.push((all - journal) as f64 / commits as f64);
        fs::remove_dir_all(&data)?;
    }
    let told = |name, values: &[f64]| Part {
        name,
        value: median(values),
        unit: "bytes/commit",
        bar: Bar::None,
    };
    Ok(Figure {
        main: Part {
            name: "disk",
            value: median(&ratios),
            unit: "x payload",
            bar: Bar::AtMost(2.0),
        },
        others: vec![told("journal", &journals), told("everything else", &rest)],
        what: format!(
            "{commits} commits of one event of {PAYLOAD_BYTES} bytes over {ACCOUNTS} aggregates, each with \
             correlation, cause, principal and one entry more; the blocks that the whole directory takes after \
             closing it"
        ),
    })
}

/// Sends the commands with everything that their metadata can say.
async fn deposit(app: &App, commits: u64) -> Measured<()> {
    let accounts = accounts(ACCOUNTS)?;
    let numbers = stream::iter((0..commits).map(Measured::Ok));
    let send = |number: u64| {
        let account = accounts.get(number as usize % ACCOUNTS).cloned();
        async move {
            let account = account.ok_or("there is no such account")?;
            app.command::<Account>(account, Deposit::with_memo(MEMO_BYTES))
                .correlation_id(Uuid::from_u128(u128::from(number) << 64 | 1))
                .caused_by(Uuid::from_u128(u128::from(number) << 64 | 2))
                .principal("teller-17")
                .metadata("source", "counter")
                .send()
                .await?;
            Ok(())
        }
    };
    numbers.try_for_each_concurrent(1_024, send).await
}

/// The payload bytes of all events in the log.
async fn payload_bytes(log: &dyn EventLog) -> Measured<u64> {
    let mut batches = log.read_all(AllQuery::from(Start::Sequence(LogSequence::ZERO)));
    let mut bytes = 0;
    while let Some(batch) = batches.next().await {
        for commit in &batch? {
            let payloads = commit.events().map(|event| event.payload().len() as u64);
            bytes += payloads.sum::<u64>();
        }
    }
    Ok(bytes)
}

/// What the disk holds for a folder and everything in it: blocks that are reserved count as used, and holes too.
fn used_bytes(folder: &Path) -> Measured<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() {
            used_bytes(&entry.path())?
        } else {
            // In units of 512 bytes whatever the file system's own blocks are.
            metadata.len().max(metadata.blocks() * 512)
        };
    }
    Ok(bytes)
}
